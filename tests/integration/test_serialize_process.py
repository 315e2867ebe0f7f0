"""Blobs and payloads suffice: another process, in another directory, runs the task from them alone."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

import shoal
from shoal.outcome import Failure, Payload
from shoal.serialize import FunctionImage, pack, pack_call, unpack, unpack_failure

RUNTIME = str(Path(shoal.__file__).parents[1])

WORKER = """
import sys
before = set(sys.modules)
from shoal.serialize import Rebuilder, pack, pack_failure, unpack, unpack_call
from shoal.outcome import Payload
loaded = sorted(set(sys.modules) - before)
import msgspec
code, code_blob, captures, body, inputs = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=tuple[bytes, bytes, bytes, Payload, list[Payload]])
values, failure = None, None
try:
    rebuilder = Rebuilder()
    rebuilder.add(code, code_blob)
    function = rebuilder.function(code, captures)
    args, kwargs = unpack_call(body, [unpack(item) for item in inputs])
    values = pack(function(*args, **kwargs))
except BaseException as error:
    failure = pack_failure(error, "<string>")
sys.stdout.buffer.write(msgspec.msgpack.encode((loaded, "cloudpickle" in sys.modules, values, failure)))
"""

NOTEBOOK = """
import functools, math
import concurrent.futures
import mine_helpers
from mine_helpers import Model
n, items = 2, [1, 2]
class Point:
    scale = 3
    def __init__(self, x): self.x = x
    def scaled(self): return helper(self.x) * self.scale
class Failed(Exception):
    def __init__(self, a, b): super().__init__(a)
def helper(x, y=1, *, z=[4]): return x * n + y + len(z)
@functools.lru_cache
def fib(i): return i if i < 2 else fib(i - 1) + fib(i - 2)
def f(point, table, fail=False):
    if fail:
        raise Failed("told", point)
    return {"point": point, "scaled": point.scaled(), "same": type(point) is Point, "fib": fib(30), "items": items,
            "model": Model(mine_helpers.twice(4)), "table": table, "pi": math.floor(math.pi),
            "futures": concurrent.futures.Future.__name__, "main": __name__}
def plain(x): return x + 1
"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """The names of a notebook beside which a module lies; unloaded again afterwards."""
    (tmp_path / "mine_helpers.py").write_text(
        "import mine_deeper\nclass Model:\n    def __init__(self, v): self.v = v\ndef twice(x): return mine_deeper.TWO * x\n"
    )
    (tmp_path / "mine_deeper.py").write_text("TWO = 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(NOTEBOOK, "<cell>", "exec"), names)
    yield names
    for name in ("mine_helpers", "mine_deeper"):
        sys.modules.pop(name, None)


CLIENTS = ("image", "places", "codes", "modules", "inline")


def run(
    function: Any, args: tuple[Any, ...], inputs: list[Any], where: Path
) -> tuple[list[str], bool, Any, Failure | None]:
    """Run one call in a process of its own."""
    body, futures = pack_call(args, {}, "f")
    assert len(futures) == len(inputs)
    snapshot = FunctionImage(function).snapshot()
    message = (snapshot.code, snapshot.code_blob, snapshot.captures_blob, body, [pack(value) for value in inputs])
    where.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", WORKER],
        input=msgspec.msgpack.encode(message),
        capture_output=True,
        cwd=where,
        env={**os.environ, "PYTHONPATH": RUNTIME},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.msgpack.decode(done.stdout, type=tuple[list[str], bool, Payload | None, Failure | None])


def test_a_task_runs_from_its_blobs_alone(notebook, tmp_path):
    """Notebook classes, local modules, captured values and inputs all arrive; the results are of the notebook's classes."""
    future = Future()
    _, _, values, failure = run(
        notebook["f"], (notebook["Point"](5), [future, {"k": future}]), [{"a": 1}], tmp_path / "there"
    )
    assert failure is None, failure and failure.traceback
    value = unpack(values)
    assert type(value["point"]) is notebook["Point"]
    assert type(value["model"]) is notebook["Model"]
    assert value["model"].v == 8
    assert value["scaled"] == 36
    assert value["same"] is True
    assert value["fib"] == 832040
    assert value["table"] == [{"a": 1}, {"k": {"a": 1}}]
    assert (value["items"], value["pi"], value["futures"], value["main"]) == ([1, 2], 3, "Future", "__main__")
    assert isinstance(notebook["mine_helpers"], ModuleType)


def test_a_failure_comes_home_with_the_cells_lines(notebook, tmp_path):
    """The exception is of the notebook's class, and its remote traceback shows the cell's source."""
    import linecache

    linecache.cache["<cell>"] = (1, None, NOTEBOOK.splitlines(keepends=True), "<cell>")
    try:
        _, _, _, failure = run(notebook["f"], (notebook["Point"](5), None, True), [], tmp_path / "there")
    finally:
        del linecache.cache["<cell>"]
    assert failure is not None
    error = unpack_failure(failure)
    assert type(error) is notebook["Failed"]
    assert str(error) == "told"
    assert 'raise Failed("told", point)' in str(error.__cause__)


def test_a_worker_loads_only_what_it_needs(notebook, tmp_path):
    """A plain task needs neither cloudpickle nor the client's half nor the machinery of futures on the worker."""
    loaded, cloudpickle, values, failure = run(notebook["plain"], (1,), [], tmp_path / "there")
    assert failure is None
    assert unpack(values) == 2
    assert not cloudpickle
    unwanted = {"cloudpickle", "concurrent.futures", "logging", *(f"shoal.serialize.{part}" for part in CLIENTS)}
    assert unwanted & set(loaded) == set()
