"""Cached apps in sessions: found again by the next one, and after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
