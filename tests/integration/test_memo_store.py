"""The store of results between processes: together, killed at any moment, and from the command line."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shoal.memo.store import MemoStore
from shoal.serialize import pack

GIB = 1 << 30

WRITER = """
import sys
from pathlib import Path
from shoal.memo.store import MemoStore
from shoal.outcome import Payload
store = MemoStore(Path(sys.argv[1]), int(sys.argv[2]))
print("ready", flush=True)
number = 0
while number != int(sys.argv[3]):
    key = (number % 40).to_bytes(4, "big") * 8
    store.put(key, f"app {number % 40}", [Payload(bytes([number % 40]) * 30_000, (bytes([number % 40]) * 200_000,))])
    number += 1
print("done", flush=True)
"""

KEY_OF = """
import linecache
from shoal.memo.key import start_key
import numpy as np, enum, pathlib
from dataclasses import dataclass
text = '''
import math
LIMIT = {"a": {1, 2, "x"}, "b": np.arange(4)}
class Shape:
    def __init__(self, n): self.n = n; self.tags = {"p", "q", n}
def helper(x): return x + len(LIMIT)
def f(a, *, b=None): return helper(a), math.sin(a), Shape
'''
linecache.cache["<c>"] = (len(text), None, text.splitlines(True), "<c>")
space = {"__name__": "__main__", "np": np}
exec(compile(text, "<c>", "exec"), space)
print(start_key(space["f"], ({"z", "y", 1, None}, ), {"b": [space["Shape"](3), pathlib.Path("x"), np.float64(2)]}, "f").parts[0].hex())
"""


def check(store: MemoStore, at_least: int = 0) -> None:
    """Whatever is found is right."""
    found = 0
    for number in range(40):
        values = store.get(number.to_bytes(4, "big") * 8)
        if values is not None:
            assert isinstance(values, list)
            assert bytes(values[0].head) == bytes([number]) * 30_000
            assert bytes(values[0].buffers[0]) == bytes([number]) * 200_000
            found += 1
    assert found >= at_least
    assert {entry.label for entry in store.entries()} <= {f"app {number}" for number in range(40)}


def writer(folder: Path, limit: int, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(folder), str(limit), str(count)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_write_the_same_keys_do_no_harm(tmp_path: Path) -> None:
    """Three writers and a reader; all is there in the end, and nothing half."""
    folder = tmp_path / "memo"
    writers = [writer(folder, GIB, 200) for _ in range(3)]
    store = MemoStore(folder, GIB)
    while any(process.poll() is None for process in writers):
        check(store)
    assert [process.wait(10) for process in writers] == [0, 0, 0]
    check(store, at_least=40)
    assert [path for path in folder.rglob(".new-*") if path.is_file()] == []


def test_processes_keep_the_store_within_its_limit_together(tmp_path: Path) -> None:
    """Each sees after a while what the other has stored."""
    folder = tmp_path / "memo"
    limit = 3_000_000
    for process in [writer(folder, limit, 600) for _ in range(2)]:
        assert process.wait(60) == 0
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 2 * limit
    check(MemoStore(folder, limit), at_least=5)


def test_a_writer_killed_at_any_moment_leaves_a_readable_store(tmp_path: Path) -> None:
    """Fifteen times; what it had begun is removed later."""
    folder = tmp_path / "memo"
    store = MemoStore(folder, GIB)
    for round_number in range(15):
        process = writer(folder, GIB, -1)
        time.sleep(0.02 + 0.003 * round_number)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        check(store)
    for path in folder.rglob(".new-*"):
        os.utime(path, (1, 1))
    check(store, at_least=10)
    assert list(folder.rglob(".new-*")) == []


def test_keys_are_the_same_in_every_process() -> None:
    """Whatever the order in which it hashes text."""
    found = set()
    for seed in ("0", "1", "2"):
        words = [sys.executable, "-c", KEY_OF]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=environment).stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == 64


# --------------------------------------------------------------------------- the command line


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shoal.cli", "memo", *words, "--folder", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with three results of two apps, one of them old."""
    folder = tmp_path / "memo"
    store = MemoStore(folder, GIB)
    for number, label in enumerate(("fit", "fit", "score")):
        store.put(bytes([number]) * 32, label, [pack(b"x" * 1_000_000)])
    os.utime(folder / "00" / ("00" * 32), (time.time() - 10 * 86_400,) * 2)
    return folder


def test_results_are_listed_by_app_and_one_by_one(folder: Path, tmp_path: Path) -> None:
    """With their number, their size and when they were used."""
    listed = run(folder, "list")
    assert listed.returncode == 0, listed.stderr
    assert "3 results, 3 MB (limit 10 GB" in listed.stdout
    assert str(folder) in listed.stdout.replace("\n", "")
    rows = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "2" in rows["fit"].split()
    assert "2 MB" in rows["fit"]
    assert "1 MB" in rows["score"]
    entries = run(folder, "list", "--entries").stdout
    assert "0000000000000000" in entries
    assert "10 d ago" in entries
    assert "No results are kept" in run(tmp_path / "none", "list").stdout
    assert not (tmp_path / "none").exists()


def test_results_are_cleared_by_app_by_age_and_all(folder: Path) -> None:
    """It says how much; without --yes it asks, and where nobody can be asked it refuses."""
    refused = run(folder, "clear")
    assert refused.returncode == 1
    assert "say --yes" in refused.stderr
    wrong = run(folder, "clear", "--older", "soon", "--yes")
    assert wrong.returncode == 1
    assert "7d" in wrong.stderr
    assert "No such results" in run(folder, "clear", "--app", "nobody", "--yes").stdout
    assert "removed 1 result, 1 MB" in run(folder, "clear", "--older", "7d", "--yes").stdout
    assert "removed 1 result, 1 MB" in run(folder, "clear", "--app", "fit", "--yes").stdout
    assert "removed 1 result, 1 MB" in run(folder, "clear", "--yes").stdout
    assert list(MemoStore(folder, GIB).entries()) == []


@pytest.mark.parametrize(("answer", "left"), [("n", 3), ("y", 0)])
def test_on_a_terminal_it_asks(folder: Path, answer: str, left: int) -> None:
    """And takes no for an answer."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "shoal.cli", "memo", "clear", "--folder", str(folder)]
    process = subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, text=True)
    os.write(ours, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "Remove 3 results, 3 MB" in out
    assert ("Nothing was removed." in out) == (left == 3)
    assert len(list(MemoStore(folder, GIB).entries())) == left
