"""Adapters over executors of other libraries: what they need of them, and what happens when these fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures as standard
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.errors import (
    ConfigurationError,
    DependencyError,
    NoSession,
    PoolLost,
    PoolStartFailed,
    TaskUnreadable,
    WorkerLost,
)
from shoal.executors import adapter
from shoal.executors.adapter import ConcurrentExecutor
from shoal.executors.ipyparallel import IPyParallelExecutor
from shoal.place import in_task
from shoal.serialize import FunctionImage


def add(a: Any, b: Any = 0) -> Any:
    return a + b


def fail(text: str) -> None:
    raise LookupError(text)


def place() -> tuple[int, bool]:
    return os.getpid(), in_task()


def processes(workers: int = 2) -> standard.ProcessPoolExecutor:
    return standard.ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver"))


Load = Callable[..., shoal.Session]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads a session over one adapter."""

    def loaded(executor: Any, **options: Any) -> shoal.Session:
        if not isinstance(executor, IPyParallelExecutor):
            executor = ConcurrentExecutor(executor=executor, **options)
        return shoal.load(shoal.Config(executors=[executor], run_dir=tmp_path / "runs"))

    yield loaded
    shoal.clear()


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    by = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < by
        time.sleep(0.01)


class Odd(standard.Executor):
    """An executor that does as the test says."""

    def __init__(self, submit: Callable[..., Any]) -> None:
        self.calls = 0
        self.ended = 0
        self._submit = submit

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.ended += 1


# --------------------------------------------------------------------------- whose executor it is


def test_a_running_executor_is_left_running(load: Load) -> None:
    """It belongs to whoever made it; its threads are no tasks of ours afterwards."""
    with standard.ThreadPoolExecutor(1) as mine:
        session = load(mine, max_workers=1)
        assert session.submit(place).result(20) == (os.getpid(), True)
        shoal.clear()
        assert mine.submit(place).result(20) == (os.getpid(), False)


def test_an_executor_that_was_made_for_the_session_ends_with_it(load: Load) -> None:
    """Its processes are gone soon after."""
    session = load(processes)
    pid, inside = session.submit(place).result(20)
    assert inside
    assert pid != os.getpid()
    shoal.clear()
    wait_until(lambda: not psutil.pid_exists(pid))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"executor": 5}, "executor"),
        ({"executor": processes, "max_workers": 0}, "max_workers"),
        ({"executor": processes, "label": " "}, "label"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    """When the spec is made."""
    with pytest.raises(ConfigurationError, match=named):
        ConcurrentExecutor(**options)


# --------------------------------------------------------------------------- how tasks get there


def test_code_that_is_large_is_sent_to_who_needs_it(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a process; then only its digest travels."""
    monkeypatch.setattr(adapter, "_LARGE", 10)
    with processes(1) as mine:
        sent: list[bool] = []

        def submit(fn: Any, task: Any, code: Any, *others: Any) -> Any:
            sent.append(code is not None)
            return mine.submit(fn, task, code, *others)

        session = load(Odd(submit), max_workers=1)
        offset = 5
        plus = FunctionImage(lambda x: x + offset)
        assert [session.submit(plus, (i,)).result(20) for i in range(3)] == [5, 6, 7]
        assert sent == [False, True, False, False]


def test_few_tasks_are_given_at_a_time(load: Load) -> None:
    """The others wait here, where they can be cancelled, and where nothing can take them down."""
    given: list[standard.Future[Any]] = []

    def submit(*_: Any) -> Any:
        given.append(standard.Future())
        return given[-1]

    session = load(Odd(submit), max_workers=2)
    tasks = [session.submit(add, (i,)) for i in range(20)]
    wait_until(lambda: len(given) == 5)
    assert all(task.cancel() for task in tasks[5:])
    assert all(task.cancel() for task in tasks[:5])
    assert all(future.cancelled() for future in given)


def test_a_slow_submit_holds_nobody(load: Load) -> None:
    """The session submits, cancels and ends while it stands there."""
    gate = threading.Event()

    def submit(*_: Any) -> Any:
        gate.wait(20)
        return standard.Future()

    session = load(Odd(submit), max_workers=1)
    began = time.monotonic()
    tasks = [session.submit(add, (i,)) for i in range(10)]
    assert tasks[-1].cancel()
    assert time.monotonic() - began < 2
    gate.set()


def test_a_task_that_runs_for_long_is_seen_running(load: Load, tmp_path: Path) -> None:
    """And who ran it is in the record."""

    def hold(gate: str) -> None:
        while not Path(gate).exists():
            time.sleep(0.01)

    session = load(processes, max_workers=2)
    task = session.submit(hold, (str(tmp_path / "gate"),))
    wait_until(lambda: task.task_status() == "running")
    (tmp_path / "gate").touch()
    task.result(20)
    host, pid = session.view().worker[task.tid].split("/")
    assert host == os.uname().nodename
    assert int(pid) != os.getpid()


# --------------------------------------------------------------------------- when it fails


def test_a_broken_executor_answers_all_and_is_not_used_again(load: Load) -> None:
    """A running one cannot be made anew: what it had and what waits fails by name, and later tasks too."""
    with processes() as mine:
        session = load(mine, max_workers=2)
        crash = session.submit(os._exit, (3,), label="crash", retries=3)
        tasks = [session.submit(add, (i,)) for i in range(50)]
        errors = [task.exception(20) for task in [crash, *tasks]]
        assert isinstance(errors[0], WorkerLost | PoolLost)
        assert all(error is None or isinstance(error, WorkerLost | PoolLost) for error in errors)
        wait_until(lambda: not session.usable())
        assert isinstance(session.submit(add, (1,)).exception(20), PoolLost)
        assert any("BrokenProcessPool" in text for text in session.trouble)


def test_an_executor_that_was_made_is_made_again(load: Load) -> None:
    """What it had fails by name, or is tried again; what waited here goes to the new one."""
    session = load(processes, max_workers=2)
    crash = session.submit(os._exit, (3,), label="crash")
    tasks = [session.submit(add, (i,), retries=1) for i in range(30)]
    assert isinstance(crash.exception(20), WorkerLost)
    assert [task.result(20) for task in tasks] == list(range(30))
    assert session.usable()


def test_what_cannot_be_made_is_said(load: Load) -> None:
    """The reason is in the error of each task."""

    def broken() -> Any:
        raise OSError("no such host")

    session = load(broken)
    with pytest.raises(PoolStartFailed, match="no such host"):
        session.submit(add, (1,)).result(20)
    assert isinstance(session.submit(add, (1,)).exception(20), PoolStartFailed)
    assert not session.usable()


def test_a_submit_that_raises_fails_its_task(load: Load) -> None:
    """Only that one; a retry is another try."""
    with standard.ThreadPoolExecutor(1) as mine:
        errors: list[Exception] = [ValueError("not now"), ValueError("not now")]

        def submit(*args: Any) -> Any:
            if errors:
                raise errors.pop()
            return mine.submit(*args)

        session = load(Odd(submit), max_workers=1)
        with pytest.raises(WorkerLost, match="not now"):
            session.submit(add, (1,)).result(20)
        assert session.submit(add, (1,), retries=1).result(20) == 1


def test_what_somebody_else_cancels_is_answered(load: Load) -> None:
    """The owner of an executor may end it while it has our tasks."""
    given: list[standard.Future[Any]] = []

    def submit(*_: Any) -> Any:
        given.append(standard.Future())
        return given[-1]

    task = load(Odd(submit), max_workers=1).submit(add, (1,))
    wait_until(lambda: bool(given))
    given[0].cancel()
    with pytest.raises(WorkerLost, match="somebody else"):
        task.result(20)


def test_a_place_without_shoal_is_named(load: Load) -> None:
    """Where what runs tasks cannot be imported, trying again does not help."""

    def submit(*_: Any) -> Any:
        future: standard.Future[Any] = standard.Future()
        future.set_exception(ModuleNotFoundError("No module named 'shoal'"))
        return future

    session = load(Odd(submit))
    with pytest.raises(TaskUnreadable, match="No module named 'shoal'"):
        session.submit(add, (1,), retries=5).result(20)


# --------------------------------------------------------------------------- ipyparallel


def kin() -> set[int]:
    """The processes that have come from this one."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_a_cluster_starts_and_ends_with_the_session(load: Load) -> None:
    """A graph with dependencies runs on its engines; errors keep their type; a lost engine is named, and the last one too."""
    before = kin()
    session = load(IPyParallelExecutor(engines=2))
    base = 100
    first = [session.submit(lambda x: x + base, (i,)) for i in range(20)]
    assert session.submit(sum, (first,)).result(90) == sum(range(100, 120))
    broken = session.submit(fail, ("gone",))
    assert isinstance(broken.exception(20), LookupError)
    assert isinstance(session.submit(add, (broken,)).exception(20), DependencyError)
    pid, inside = session.submit(place).result(20)
    assert inside
    assert pid in kin() - before

    task = session.submit(time.sleep, (60,), label="long")
    time.sleep(0.5)
    assert not task.cancel()
    idle, _ = session.submit(place).result(20)  # the engine that does not sleep
    (busy,) = _engines(before) - {idle}
    os.kill(busy, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="long .*EngineError"):
        task.result(60)
    assert session.submit(place).result(20) == (idle, True)

    last = session.submit(os._exit, (1,))
    behind = session.submit(add, (1,))
    assert isinstance(last.exception(60), WorkerLost | PoolLost)
    assert isinstance(behind.exception(60), PoolLost)
    wait_until(lambda: not session.usable())
    shoal.clear()
    wait_until(lambda: kin() <= before)


def _engines(before: set[int]) -> set[int]:
    found = [psutil.Process(pid) for pid in kin() - before]
    return {process.pid for process in found if "ipyparallel.engine" in process.cmdline()}


def test_a_controller_that_goes_away_is_noticed(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected to a running cluster: what it had is answered, also when nothing there says a word."""
    import ipyparallel

    monkeypatch.setattr("shoal.executors.ipyparallel._SILENCE", 3.0)
    before = kin()
    cluster = ipyparallel.Cluster(n=1, profile_dir=str(tmp_path / "profile"), log_level=30)
    cluster.start_cluster_sync()
    schedulers: list[psutil.Process] = []
    try:
        (file,) = Path(tmp_path, "profile", "security").glob("ipcontroller-*-client.json")
        session = load(IPyParallelExecutor(connection_file=str(file)))
        assert session.submit(add, (1, 2)).result(60) == 3
        task = session.submit(time.sleep, (30,))
        time.sleep(0.3)
        controller = _controller(before)
        schedulers = controller.children(recursive=True)
        controller.kill()
        with pytest.raises(PoolLost, match="controller"):
            task.result(30)
    finally:
        shoal.clear()
        cluster.stop_cluster_sync()
        for process in schedulers:  # which nobody else ends now
            process.kill()


def _controller(before: set[int]) -> psutil.Process:
    found = psutil.Process().children(recursive=True)
    return next(p for p in found if p.pid not in before and "ipyparallel.controller" in p.cmdline())


def test_a_session_may_end_while_its_cluster_comes_up(load: Load) -> None:
    """Nothing of it stays."""
    before = kin()
    session = load(IPyParallelExecutor(engines=1))
    task = session.submit(add, (1,))
    wait_until(lambda: bool(kin() - before))
    shoal.clear()
    assert task.done()
    with pytest.raises(NoSession):
        session.submit(add, (1,))
    wait_until(lambda: kin() <= before)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"connection_file": "/nowhere/client.json"}, "no controller of ipyparallel is running"),
        ({"engines": 1, "start_timeout": 0.05}, "0 of 1 engines came up|connection request timed out"),
    ],
)
def test_a_cluster_that_does_not_come_up_is_said(load: Load, options: dict[str, Any], reason: str) -> None:
    """In the error of each task, and nothing of it stays."""
    before = kin()
    with pytest.raises(PoolStartFailed, match=reason):
        load(IPyParallelExecutor(**options)).submit(add, (1,)).result(60)
    shoal.clear()
    wait_until(lambda: kin() <= before)


def test_a_missing_ipyparallel_says_what_to_install(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the load, before anything starts."""
    monkeypatch.setattr("shoal.executors.ipyparallel.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install ipyparallel"):
        load(IPyParallelExecutor(engines=1))


@pytest.mark.parametrize(
    "options",
    [
        {"engines": 0},
        {"engines": 1, "cluster": "mine"},
        {"engines": 1, "connection_file": "client.json"},
        {"connection_file": "client.json", "profile": "mpi"},
        {"start_timeout": 0},
    ],
)
def test_options_of_ipyparallel_that_contradict_each_other_are_refused(options: dict[str, Any]) -> None:
    """Either a cluster of its own, or one that runs."""
    with pytest.raises(ConfigurationError):
        IPyParallelExecutor(**options)
