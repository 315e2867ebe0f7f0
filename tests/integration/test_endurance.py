"""A pool of the session's own that is killed: it is started again, and nothing is lost but what may have been running."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.errors import ConfigurationError, PoolLost
from shoal.executors.pooled import PoolExecutor
from tests.integration.conftest import eventually

SOON = 20.0


def step(out: str, name: str, gate: str = "") -> str:
    """Leave a mark, then wait until the gate is open."""
    with open(out, "a") as file:
        file.write(name + "\n")
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    return name


def marks(path: Path) -> Counter[str]:
    """How often each task has begun."""
    return Counter(path.read_text().split()) if path.exists() else Counter()


class Scene:
    """A session with one worker, and where its tasks leave marks."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        shoal.clear()
        self.out, self.gate = tmp_path / "out", tmp_path / "gate"
        retries = options.pop("retries", 0)
        htex = shoal.HighThroughputExecutor(max_workers_per_node=1, **options)
        self.session = shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path), retries=retries))
        self.executor: PoolExecutor = self.session.executors["htex"]  # type: ignore[assignment]

    def step(self, name: str, gated: bool = False) -> Any:
        return self.session.submit(step, (str(self.out), name, str(self.gate) if gated else ""))

    def kill(self, number: int = signal.SIGKILL) -> int:
        pid = self.executor.connection.pid
        os.kill(pid, number)
        return pid

    def renewed(self, before: int) -> bool:
        """Whether another process of the pool answers."""
        return eventually(lambda: self.executor.connection.pid != before and self.executor.status().name)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    yield lambda **options: Scene(tmp_path, **options)
    shoal.clear()


def test_what_had_not_begun_is_sent_again(scene: Callable[..., Scene], capfd: Any) -> None:
    """The running task is lost by name, and each of those behind it runs once; it is said once."""
    it = scene()
    running = it.step("running", gated=True)
    queued = [it.step(f"queued-{i}") for i in range(30)]
    assert eventually(lambda: marks(it.out)["running"])
    it.kill()
    assert [f.result(SOON) for f in queued] == [f"queued-{i}" for i in range(30)]
    with pytest.raises(PoolLost, match="signal 9"):
        running.result(SOON)
    found = marks(it.out)
    assert found["running"] == 1
    assert {found[f"queued-{i}"] for i in range(30)} == {1}
    shoal.clear()
    said = capfd.readouterr().err
    assert said.count("It is started again: 1 tasks that may have been running are lost, 30 others") == 1


def test_what_may_have_been_running_runs_again_as_retries_allow(scene: Callable[..., Scene]) -> None:
    """A second attempt of it, after the first was lost; its future gets the value."""
    it = scene(retries=1)
    running = it.step("running", gated=True)
    assert eventually(lambda: marks(it.out)["running"])
    it.kill()
    assert eventually(lambda: marks(it.out)["running"] == 2)
    it.gate.touch()
    assert running.result(SOON) == "running"
    assert it.session.view().attempts[running.tid] == 2


def test_many_tasks_and_large_values_survive_a_kill(scene: Callable[..., Scene]) -> None:
    """Code, captured variables, arguments and inputs that were made here or there are sent again: all values are right."""
    it = scene(retries=1)
    table = bytes(100_000)
    first = it.session.submit(lambda n: bytes(n), (500_000,))
    assert len(first.result(SOON)) == 500_000
    many = [it.session.submit(lambda i, a, t=None: (i, len(a), len(table)), (i, first)) for i in range(200)]
    big = it.session.submit(len, (bytes(3_000_000),))
    it.kill()
    assert [f.result(60) for f in many] == [(i, 500_000, 100_000) for i in range(200)]
    assert big.result(SOON) == 3_000_000


def test_a_chain_that_waits_in_the_pool_goes_on(scene: Callable[..., Scene]) -> None:
    """Dependents that were sent before their inputs were known: each attempt begins at most once."""
    it = scene(retries=5)

    def link(value: int, out: str) -> int:
        with open(out, "a") as file:
            file.write(f"link-{value}\n")
        time.sleep(0.002)
        return value + 1

    future = it.session.submit(link, (0, str(it.out)))
    futures = [future]
    for _ in range(300):
        future = it.session.submit(link, (future, str(it.out)))
        futures.append(future)
    for count in (30, 150):
        assert eventually(lambda count=count: len(marks(it.out)) >= count)
        before = it.executor.connection.pid
        assert it.renewed(it.kill())
        assert before != it.executor.connection.pid
    assert [f.result(60) for f in futures] == list(range(1, 302))
    attempts, begun = it.session.view().attempts, marks(it.out)
    assert all(begun[f"link-{i}"] <= attempts[future.tid] for i, future in enumerate(futures))


def test_a_stopped_manager_is_ended_before_anything_runs_again(scene: Callable[..., Scene]) -> None:
    """It cannot see that its pool is gone; no attempt runs in two places at a time."""
    it = scene(retries=1)
    running = it.step("running", gated=True)
    assert eventually(lambda: marks(it.out)["running"])
    (manager,) = [psutil.Process(m.pid) for m in it.executor.status().managers]
    manager.suspend()
    workers = manager.children(recursive=True)
    it.kill()
    assert eventually(lambda: marks(it.out)["running"] == 2)
    assert not [p for p in (manager, *workers) if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    it.gate.touch()
    assert running.result(SOON) == "running"


def test_a_pool_that_dies_again_and_again_is_given_up(scene: Callable[..., Scene]) -> None:
    """After as many restarts as allowed without a result between, everybody gets PoolLost."""
    it = scene(restarts=2, retries=10, provider=shoal.LocalProvider(worker_init="sleep 60"))
    task = it.step("never")
    assert eventually(lambda: it.executor.status(SOON).queued == 1)
    for _ in range(2):
        assert it.renewed(it.kill())
    it.kill()
    assert isinstance(task.exception(SOON), PoolLost)
    assert eventually(lambda: not it.session.usable())
    assert isinstance(it.step("later").exception(SOON), PoolLost)


def test_results_between_falls_are_a_new_beginning(scene: Callable[..., Scene]) -> None:
    """A pool that works in between may fall more often."""
    it = scene(restarts=1)
    for i in range(3):
        assert it.step(f"{i}").result(SOON) == f"{i}"
        assert it.renewed(it.kill())
    assert it.step("last").result(SOON) == "last"


def test_no_restarts_if_none_are_wanted(scene: Callable[..., Scene]) -> None:
    """With restarts=0 a lost pool is the end, for queued tasks, too."""
    it = scene(restarts=0, retries=3)
    tasks = [it.step("one", gated=True), it.step("two")]
    assert eventually(tasks[0].running)
    it.kill()
    assert all(isinstance(task.exception(SOON), PoolLost) for task in tasks)
    with pytest.raises(ConfigurationError, match="restarts"):
        shoal.HighThroughputExecutor(restarts=-1)


def test_a_pool_that_was_stopped_is_not_started_again(scene: Callable[..., Scene]) -> None:
    """Somebody has ended it on purpose: its tasks are told so."""
    it = scene(retries=3)
    task = it.step("one", gated=True)
    assert eventually(task.running)
    it.kill(signal.SIGTERM)
    with pytest.raises(PoolLost, match="SIGTERM"):
        task.result(SOON)
    assert not it.session.usable()


def test_cancelling_and_closing_while_the_pool_comes_back(scene: Callable[..., Scene]) -> None:
    """A task that is cancelled meanwhile does not run, and closing at any moment leaves no process."""
    it = scene()
    running = it.step("running", gated=True)
    dropped, kept = it.step("dropped"), it.step("kept")
    assert eventually(running.running)
    it.kill()
    assert dropped.cancel()
    assert kept.result(SOON) == "kept"
    assert "dropped" not in marks(it.out)
    it.step("again", gated=True)
    folder = it.executor.connection.folder
    it.kill()
    shoal.clear()
    left = [p for p in psutil.process_iter(["cmdline"]) if any(folder in word for word in p.info["cmdline"] or ())]
    assert eventually(lambda: not [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
