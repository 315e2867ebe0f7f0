"""How sessions begin and end: side by side, in blocks, by Ctrl-C, with loops that submit without end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal import Config, HighThroughputExecutor, ThreadPoolExecutor

THREADS = [ThreadPoolExecutor(max_threads=2)]


@shoal.python_app
def where() -> int:
    """The process that runs the task."""
    return os.getpid()


def run_dir_of(future: Any) -> str:
    """The run that a future belongs to."""
    return str(future.owner.session.run_id)


def test_sessions_live_side_by_side(tmp_path: Path) -> None:
    """Inside its block a session is used by all apps; outside, the current one is."""
    outer = shoal.load(Config(executors=THREADS, run_dir=str(tmp_path)))
    try:
        with shoal.new_session(Config(executors=THREADS, run_dir=str(tmp_path))) as inner:
            assert inner.run_id != outer.run_id
            assert run_dir_of(where()) == inner.run_id
        assert inner.closed
        assert not outer.closed
        future = where()
        assert run_dir_of(future) == outer.run_id
        assert future.result() == os.getpid()
    finally:
        shoal.clear()


def test_an_app_can_be_bound_to_a_session(tmp_path: Path) -> None:
    """It uses that one, whichever is current."""
    config = Config(executors=THREADS, run_dir=str(tmp_path))
    with shoal.new_session(config) as mine, shoal.new_session(config) as other:
        bound = shoal.python_app(os.getpid, session=mine)
        assert run_dir_of(bound()) == mine.run_id
        assert run_dir_of(where()) == other.run_id


def test_a_session_that_ended_gives_way_to_the_current_one(tmp_path: Path) -> None:
    """Apps in its block do not fail for it."""
    shoal.load(Config(executors=THREADS, run_dir=str(tmp_path)))
    try:
        with shoal.new_session(Config(executors=THREADS, run_dir=str(tmp_path))) as inner:
            inner.close()
            assert run_dir_of(where()) == shoal.current().run_id
    finally:
        shoal.clear()


def script(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """Start a script that says when its tasks run."""
    path = tmp_path / "script.py"
    path.write_text(body)
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )


def gone(processes: list[psutil.Process], seconds: float = 15.0) -> bool:
    """Whether these processes end."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


WAITING = """
import shoal, time, threading
shoal.load(shoal.Config(executors=[shoal.HighThroughputExecutor(max_workers_per_node=2)]))

@shoal.python_app
def long():
    import time
    time.sleep(600)

futures = [long() for _ in range(4)]
while not any(f.running() for f in futures):
    time.sleep(0.01)
try:
    print("running", flush=True)
    futures[0].result()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    {after}
"""


@pytest.mark.parametrize("after", ["futures[1].result()", "raise"])
def test_ctrl_c_once_or_twice_ends_a_script_and_leaves_no_process(tmp_path: Path, after: str) -> None:
    """The first interrupts the waiting and the tasks live; the second does again; then all processes end."""
    program = script(tmp_path, WAITING.format(after=after))
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "running\n"
        family = psutil.Process(program.pid).children(recursive=True)
        assert len(family) >= 4
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == "interrupted\n"
        if after != "raise":
            assert all(p.is_running() for p in family), "an interrupted wait ends nothing"
            program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=30)
    finally:
        program.kill()
        program.wait()
    assert "KeyboardInterrupt" in errors
    assert gone(family)


def test_ctrl_c_while_the_session_ends_leaves_no_process(tmp_path: Path) -> None:
    """However impatient somebody is."""
    program = script(tmp_path, WAITING.format(after="import os, signal; raise"))
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "running\n"
        family = psutil.Process(program.pid).children(recursive=True)
        for _ in range(20):
            program.send_signal(signal.SIGINT)
            time.sleep(0.01)
        program.communicate(timeout=30)
    finally:
        program.kill()
        program.wait()
    assert gone(family)


ENDLESS = """
import shoal, resource
shoal.load(shoal.Config(
    executors=[shoal.HighThroughputExecutor(max_workers_per_node=1)], max_outstanding=500))

@shoal.python_app
def nap(n):
    import time
    time.sleep(0.2)

print("submitting", flush=True)
n = 0
try:
    while True:
        nap(n)
        n += 1
except KeyboardInterrupt:
    print(n, shoal.current().pending(), flush=True)
"""


def test_a_loop_without_end_is_held_says_so_and_can_be_interrupted(tmp_path: Path) -> None:
    """No more than ``max_outstanding`` tasks are unfinished at any time."""
    program = script(tmp_path, ENDLESS)
    try:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline() == "submitting\n"
        assert "500 tasks are unfinished" in program.stderr.readline()
        program.send_signal(signal.SIGINT)
        submitted, pending = map(int, program.stdout.readline().split())
        program.communicate(timeout=30)
    finally:
        program.kill()
        program.wait()
    assert pending <= 500
    assert submitted <= 600


def test_holding_the_last_future_of_a_chain_keeps_no_other_value(tmp_path: Path) -> None:
    """Ten values of a megabyte each go as soon as nobody can ask for them."""
    import gc

    @shoal.python_app
    def grow(before: bytes) -> bytes:
        return before + b"x"

    executors = [HighThroughputExecutor(max_workers_per_node=1)]
    with shoal.new_session(Config(executors=executors, run_dir=str(tmp_path))):
        last = grow(b"x" * (1 << 20))
        for _ in range(10):
            last = grow(last)
        assert len(last.result()) == (1 << 20) + 11
        gc.collect()
        from shoal.outcome import Packed

        kept = [o for o in gc.get_objects() if isinstance(o, shoal.TaskFuture) and isinstance(o.outcome, Packed)]
        assert kept == [last]
