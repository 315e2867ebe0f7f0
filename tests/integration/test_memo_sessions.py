"""Cached apps in sessions: found again by the next one, and after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shoal
from shoal.memo.spec import Memo

SCRIPT = """
import sys, time
from pathlib import Path
import shoal
from shoal.memo.spec import Memo

folder, pool, hang = Path(sys.argv[1]), sys.argv[2] == "pool", sys.argv[3] == "hang"
executor = shoal.HighThroughputExecutor(max_workers_per_node=2) if pool else shoal.ThreadPoolExecutor(max_threads=2)
FACTOR = 3

@shoal.python_app(cache=True)
def step(x):
    with open(folder / "ran", "a") as file:
        file.write(f"{x}\\n")
    return {"x": x * FACTOR}

@shoal.python_app(cache=True)
def total(parts):
    with open(folder / "ran", "a") as file:
        file.write("total\\n")
    return sum(part["x"] for part in parts)

config = shoal.Config(executors=[executor], run_dir=str(folder / "runs"), memo=Memo(folder=str(folder / "memo")))
with shoal.load(config) as session:
    same = [step(1) for _ in range(10)]
    parts = [step(x) for x in range(5)]
    value = total(parts).result(60)
    assert value == 30, value
    assert [f.result(60) for f in same] == [{"x": 3}] * 10
    deadline = time.monotonic() + 30
    while len([p for p in (folder / "memo").rglob("*") if len(p.name) == 64]) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    print("over", flush=True)
    if hang:
        time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["threads", "pool"])
def test_after_a_kill_what_was_made_is_found(tmp_path: Path, kind: str) -> None:
    """Equal tasks ran once; the second run makes nothing again, inputs by futures included; an edit makes all anew."""
    words = [sys.executable, "-c", SCRIPT, str(tmp_path), kind]
    first = subprocess.Popen([*words, "hang"], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "over\n"
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran) == ["0", "1", "2", "3", "4", "total"]
    again = subprocess.run([*words, "end"], capture_output=True, text=True, timeout=90, check=False)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "ran").read_text().split() == ran
    words[2] = SCRIPT.replace("x * FACTOR", "FACTOR * x")
    edited = subprocess.run([*words, "end"], capture_output=True, text=True, timeout=90, check=False)
    assert edited.returncode == 0, edited.stderr
    assert sorted((tmp_path / "ran").read_text().split()) == sorted([*ran, "0", "1", "2", "3", "4"])


@pytest.mark.parametrize("mode", ["task_exit", "dfk_exit"])
def test_each_gets_a_value_of_its_own(tmp_path: Path, mode: str) -> None:
    """On threads the first one has the object that was made: what is done to it, nobody else sees, then or later."""
    memo = Memo(folder=str(tmp_path / "memo"), checkpoint_mode=mode)
    config = shoal.Config(
        executors=[shoal.ThreadPoolExecutor(max_threads=2)], run_dir=str(tmp_path / "runs"), memo=memo
    )
    gate = tmp_path / "gate"
    with shoal.load(config):

        def make(n: int) -> list[int]:
            while not gate.exists():
                time.sleep(0.001)
            return [n]

        app = shoal.python_app(make, cache=True)
        first, second = app(1), app(1)
        first.add_done_callback(lambda f: f.result().append("spoilt"))
        gate.touch()
        assert first.result(10)[0] == 1
        assert second.result(10) == [1]
        first.result(10).append("spoilt")
        assert app(1).result(10) == [1]
        app(1).result(10).append("spoilt")
        assert app(1).result(10) == [1]
    with shoal.load(config):
        assert shoal.python_app(make, cache=True)(1).result(10) == [1]


@pytest.mark.parametrize("mode", ["task_exit", "periodic", "dfk_exit"])
@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "raise ValueError('as users do')"])
def test_results_are_written_when_the_interpreter_ends(tmp_path: Path, mode: str, end: str) -> None:
    """Though nobody closed the session."""
    text = (
        SCRIPT.partition("config = ")[0]
        + f"""
from shoal.memo.spec import Memo
memo = Memo(folder=str(folder / "memo"), checkpoint_mode={mode!r})
shoal.load(shoal.Config(executors=[executor], run_dir=str(folder / "runs"), memo=memo))
assert step(7).result(60) == {{"x": 21}}
{end}
"""
    )
    for _ in range(2):
        words = [sys.executable, "-c", text, str(tmp_path), "threads", "end"]
        subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    assert (tmp_path / "ran").read_text().split() == ["7"]
