"""Nothing pends for ever: wherever a task is when something dies, its future is answered, by a value or a named error."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.errors import (
    DependencyError,
    ManagerLost,
    PoolLost,
    PoolStartFailed,
    ShoalError,
    WorkerLost,
    WorkerStartFailed,
)
from shoal.executors.pooled import PoolExecutor
from tests.integration.conftest import eventually

SOON = 8.0
"""Seconds within which everything has to be answered; what is asked for takes parts of one on an idle machine."""

LOST = {"worker": WorkerLost, "manager": ManagerLost, "pool": PoolLost}


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def run(code: str) -> str:
    exec(code)
    return "fine"


def command(process: psutil.Process) -> list[str]:
    """Its command line; empty once it is gone."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def dead(process: psutil.Process) -> bool:
    """Whether it is gone, or a zombie; it may go, being reaped by its parent, between two questions."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Scene:
    """A session whose pool has one worker, and the processes of that pool."""

    def __init__(self, session: shoal.Session) -> None:
        self.session = session
        self.executor: PoolExecutor = session.executors["htex"]  # type: ignore[assignment]

    def processes(self, role: str) -> list[psutil.Process]:
        root = psutil.Process(self.executor.connection.pid)
        if role == "pool":
            return [root]
        return [p for p in root.children(recursive=True) if f"shoal.node.{role}" in command(p)]

    def process(self, role: str) -> psutil.Process:
        found: list[psutil.Process] = []
        assert eventually(lambda: found.extend(self.processes(role)) or found)
        return found[0]

    def kill(self, role: str) -> None:
        """Kill it, and wait until it is dead: what is sent to one that is just dying may be lost with it."""
        process = self.process(role)
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: dead(process))

    @contextmanager
    def stopped(self, role: str) -> Iterator[psutil.Process]:
        """Within the block that process does nothing."""
        process = self.process(role)
        process.suspend()
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@pytest.fixture
def scenes(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    shoal.clear()

    def start(**provider: Any) -> Scene:
        htex = shoal.HighThroughputExecutor(max_workers_per_node=1, provider=shoal.LocalProvider(**provider))
        return Scene(shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path), retries=0)))

    yield start
    shoal.clear()


def answer(future: Any) -> Any:
    """The value of a future, or its error: one of the named ones."""
    error = future.exception(SOON)
    assert error is None or isinstance(error, ShoalError)
    return error if error is not None else future.result()


parts = pytest.mark.parametrize("dies", ["worker", "manager", "pool"])


@parts
def test_running_and_waiting_for_it(scenes: Callable[..., Scene], dies: str) -> None:
    """What runs is lost by name; what waits in the session for its value does not run, and says why; so does a chain."""
    scene = scenes()
    running = scene.session.submit(nap, (60,))
    chain = [scene.session.submit(nap, (running,))]
    chain += [scene.session.submit(nap, (chain[0],))]
    queued = scene.session.submit(nap, (0,))
    assert eventually(running.running)
    scene.kill(dies)
    assert isinstance(answer(running), LOST[dies])
    assert all(isinstance(answer(f), DependencyError) for f in chain)
    assert answer(queued) == 0


def test_in_the_outbox_before_the_pool_answered(scenes: Callable[..., Scene]) -> None:
    """Tasks of a pool that dies before it has said a word fail as of a pool that did not start; else they run in the next."""
    scene = scenes()
    scene.process("pool").suspend()
    tasks = [scene.session.submit(nap, (0,)) for _ in range(100)]
    scene.kill("pool")
    answers = [answer(f) for f in tasks]
    assert answers == [0] * 100 or {type(a) for a in answers} == {PoolStartFailed}


@pytest.mark.parametrize("dies", ["block", "pool"])
def test_queued_in_a_pool_that_has_no_worker_yet(scenes: Callable[..., Scene], tmp_path: Path, dies: str) -> None:
    """The block dies before its manager is up: tasks fail with how it ended; the pool dies: they run in the next one."""
    once = tmp_path / "once"
    scene = scenes(worker_init=f"if mkdir {once} || test {dies} = block; then sleep 60; fi")
    tasks = [scene.session.submit(nap, (0,)) for _ in range(10)]
    assert eventually(lambda: scene.executor.status().queued == 10)
    pool = scene.process("pool")
    assert eventually(lambda: pool.children() and once.exists())
    (pool if dies == "pool" else pool.children()[0]).send_signal(signal.SIGKILL)
    answers = [answer(f) for f in tasks]
    assert answers == [0] * 10 if dies == "pool" else {type(a) for a in answers} == {WorkerStartFailed}


@pytest.mark.parametrize("dies", ["manager", "pool"])
def test_parked_in_the_pool_for_a_blob(scenes: Callable[..., Scene], monkeypatch: Any, dies: str) -> None:
    """The code is missing and asked for: nobody's end changes anything once the code is there."""
    scene = scenes()
    assert answer(scene.session.submit(nap, (0,))) == 0
    asked: list[bytes] = []
    monkeypatch.setattr(scene.executor, "_new_blobs", lambda *_: [])
    monkeypatch.setattr(scene.executor, "blobs", lambda digests: asked.extend(digests) or [])
    parked = scene.session.submit(run, ("pass",))
    assert eventually(lambda: asked)
    monkeypatch.undo()
    before = [m.pid for m in scene.executor.status().managers]
    scene.kill(dies)
    if dies == "manager":
        # What is sent to one that is just dying may be lost with it.
        assert eventually(lambda: [m.pid for m in scene.executor.status().managers] not in ([], before))
        for blob in scene.executor.blobs(asked):
            scene.executor._link.order(blob)
    assert answer(parked) == "fine"


@parts
def test_at_a_manager_and_not_begun(scenes: Callable[..., Scene], dies: str) -> None:
    """Short tasks that wait behind one that is not: they run elsewhere, unless they may have begun."""
    scene = scenes()
    shoal.wait([scene.session.submit(run, ("pass",)) for _ in range(200)])
    tasks = [scene.session.submit(run, (code,)) for code in ["import time; time.sleep(60)"] + ["pass"] * 40]
    assert eventually(tasks[0].running)
    scene.kill(dies)
    answers = [answer(f) for f in tasks]
    lost = [a for a in answers if a != "fine"]
    assert isinstance(answers[0], LOST[dies])
    assert {type(a) for a in lost} == {LOST[dies]}
    assert len(lost) < len(tasks)


@pytest.mark.parametrize(
    ("dies", "stopped"),
    [("worker", "manager"), ("manager", "pool"), ("pool", "pool")],
    ids=["worker", "manager", "pool"],
)
def test_with_its_result_under_way(scenes: Callable[..., Scene], tmp_path: Path, dies: str, stopped: str) -> None:
    """The sender of a result dies before the receiver has read it: it arrives, or the loss is named."""
    scene = scenes()
    assert answer(scene.session.submit(nap, (0,))) == 0
    flag, out = tmp_path / "go", tmp_path / "done"
    wait = (
        f"import time, os\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)\nopen({str(out)!r}, 'w').close()"
    )
    task = scene.session.submit(run, (wait,))
    assert eventually(task.running)
    with scene.stopped(stopped):
        flag.touch()
        assert eventually(out.exists)
        threading.Event().wait(0.2)  # the result leaves, and lies in a socket
        scene.kill(dies)
    found = answer(task)
    assert found == "fine" or isinstance(found, LOST[dies])
    later = answer(scene.session.submit(nap, (0,)))
    assert later == 0


@parts
def test_cancelled_while_everything_ends(scenes: Callable[..., Scene], dies: str) -> None:
    """A cancelled task is cancelled at once, whatever happens to those who are to end it."""
    scene = scenes()
    running = scene.session.submit(nap, (60,))
    assert eventually(running.running)
    process = scene.process(dies)
    running.cancel()
    with suppress(psutil.NoSuchProcess):  # the worker may have been ended for it by now
        process.send_signal(signal.SIGKILL)
    assert eventually(running.done, SOON)
    later = answer(scene.session.submit(nap, (0,)))
    assert later == 0 or isinstance(later, LOST[dies])
