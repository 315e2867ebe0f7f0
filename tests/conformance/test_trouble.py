"""What every executor does when something goes wrong, and what it says where it cannot do something."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.callbacks import drain
from shoal.errors import ConfigurationError, NotPicklable, SessionClosed, WorkerLost
from shoal.options import TaskOptions
from shoal.serialize import FunctionImage

Maker = Callable[[Path], shoal.Config]

PATIENCE = 30.0
"""Seconds that a task of these tests waits at most for its test."""


def add(a: Any, b: Any = 0) -> Any:
    return a + b


def invert(a: float) -> float:
    return 1 / a


async def doubled(a: int) -> int:
    await asyncio.sleep(0.01)
    return 2 * a


def append(items: list[int]) -> list[int]:
    items.append(1)
    return items


def hold(folder: str, name: str) -> str:
    """Run until the test opens the gate."""
    Path(folder, name).touch()
    by = time.monotonic() + PATIENCE
    while not Path(folder, "gate").exists() and time.monotonic() < by:
        time.sleep(0.01)
    return name


def die_once(marker: str) -> str:
    """End the process, the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(3)
    return "alive"


def fail_twice(folder: str) -> int:
    tries = len(list(Path(folder).iterdir())) + 1
    Path(folder, str(tries)).touch()
    if tries < 3:
        raise OSError(f"try {tries}")
    return tries


def appears(*paths: Path) -> bool:
    """Wait for files."""
    by = time.monotonic() + PATIENCE
    while not all(path.exists() for path in paths):
        if time.monotonic() > by:
            return False
        time.sleep(0.01)
    return True


def test_an_asynchronous_function_is_run_to_its_end(session: shoal.Session) -> None:
    """Its value is what it returns, not a coroutine."""
    assert session.submit(doubled, (4,)).result(30) == 8


def test_a_task_that_exits_has_failed(session: shoal.Session) -> None:
    """SystemExit is an outcome as any other; the executor goes on."""
    error = session.submit(sys.exit, (3,), label="leave").exception(30)
    assert isinstance(error, SystemExit)
    assert session.submit(add, (1,)).result(30) == 1


def test_calls_of_one_task_fail_each_alone(session: shoal.Session) -> None:
    """With ``each``, an item that raises has its own error, and the others their values."""
    options = TaskOptions(each=True, outputs=("0", "1", "2"))
    task = session.enter(FunctionImage(invert), ([(1,), (0,), (4,)],), {}, options)
    assert task.outputs["0"].result(30) == 1
    assert task.outputs["2"].result(30) == 0.25
    assert isinstance(task.outputs["1"].exception(30), ZeroDivisionError)


def test_an_argument_that_cannot_travel_is_named(session: shoal.Session, shared: bool) -> None:
    """At submission, where the caller can do something about it; threads share it instead."""
    lock = threading.Lock()
    if shared:
        assert session.submit(id, (lock,)).result(30) == id(lock)
        return
    with pytest.raises(NotPicklable, match="argument 'a' of add"):
        session.submit(add, (lock,))
    assert session.submit(add, (1,)).result(30) == 1


def test_a_result_that_cannot_travel_is_named(session: shoal.Session, shared: bool) -> None:
    """The task ran; what fails is its result."""
    task = session.submit(threading.Lock, label="make_lock")
    if shared:
        assert task.result(30).acquire()
        return
    with pytest.raises(NotPicklable, match="the result of make_lock"):
        task.result(30)


class Unwilling:
    """Raises what hardly anybody catches when it is pickled."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def test_an_input_that_raises_as_it_is_packed_makes_nobody_wait(session: shoal.Session) -> None:
    """Whatever it raises: its task fails, and the next one runs."""
    for error in (ValueError, SystemExit, KeyboardInterrupt, MemoryError):
        source: futures.Future[Any] = futures.Future()
        source.set_result(Unwilling(error))
        assert session.submit(add, (source,)).exception(PATIENCE) is not None
        assert session.submit(add, (1,)).result(PATIENCE) == 1


def test_a_callback_may_wait_for_a_task(session: shoal.Session) -> None:
    """Also for one that has not begun, and whose input was made in this process."""
    source: futures.Future[int] = futures.Future()
    task = session.submit(add, (source, 1))
    waits, seen = threading.Event(), []

    def callback(_: object) -> None:
        waits.set()
        seen.append(task.result(PATIENCE))

    session.submit(add, (1,)).add_done_callback(callback)
    assert waits.wait(PATIENCE)
    source.set_result(5)
    assert task.result(PATIENCE / 2) == 6
    assert drain(PATIENCE)
    assert seen == [6]


def test_arguments_are_private_unless_they_are_shared(session: shoal.Session, shared: bool) -> None:
    """What a task does to its arguments is seen by its caller only where it runs on Shoal's own threads."""
    items: list[int] = []
    assert session.submit(append, (items,)).result(30) == [1]
    assert items == ([1] if shared else [])


def test_large_values_pass_from_task_to_task(session: shoal.Session) -> None:
    """Also those that travel in parts of their own."""
    big = bytearray(b"x" * 200_000)
    first = session.submit(add, (big, b"y" * 50_000))
    assert session.submit(len, (first,)).result(30) == 250_000
    assert session.submit(add, ([first], [1])).result(30)[1] == 1


def test_a_task_that_fails_is_tried_again(session: shoal.Session, tmp_path: Path) -> None:
    """As often as it may."""
    assert session.submit(fail_twice, (str(tmp_path),), retries=2).result(30) == 3


def test_a_task_is_cancelled_before_it_runs(session: shoal.Session, tmp_path: Path) -> None:
    """One that waits for a worker never runs; the others are not touched."""
    holding = [session.submit(hold, (str(tmp_path), f"running {i}")) for i in range(2)]
    assert appears(tmp_path / "running 0", tmp_path / "running 1")
    queued = [session.submit(hold, (str(tmp_path), f"queued {i}")) for i in range(12)]
    assert queued[-1].cancel()
    assert queued[-1].cancelled()
    (tmp_path / "gate").touch()
    assert [task.result(30) for task in holding] == ["running 0", "running 1"]
    assert [task.result(30) for task in queued[:-1]] == [f"queued {i}" for i in range(11)]
    assert not (tmp_path / "queued 11").exists()


def test_cancelling_what_runs_stops_it_or_says_no(session: shoal.Session, stoppable: bool, tmp_path: Path) -> None:
    """True only where it is really stopped. What cannot be stopped ends as if nobody had asked."""
    task = session.submit(hold, (str(tmp_path), "running"))
    assert appears(tmp_path / "running")
    assert task.cancel() is stoppable
    assert task.cancelled() is stoppable
    if not stoppable:
        (tmp_path / "gate").touch()
        assert task.result(30) == "running"
    assert session.submit(add, (1,)).result(30) == 1


# Elsewhere a task cannot end its worker without ending more; what becomes of engines is in the tests of adapters.
PROCESSES = pytest.mark.parametrize("kind", ["pool", "adapted processes"], indirect=True, scope="module")


@PROCESSES
def test_a_lost_worker_fails_its_task_by_name(session: shoal.Session) -> None:
    """The error says that the process ended; the next task finds a new one."""
    error = session.submit(os._exit, (3,), label="crash").exception(30)
    assert isinstance(error, WorkerLost)
    assert "crash" in str(error)
    assert session.submit(add, (1,)).result(30) == 1


@PROCESSES
def test_a_lost_worker_is_a_reason_to_try_again(session: shoal.Session, tmp_path: Path) -> None:
    """Retries count for lost workers too."""
    assert session.submit(die_once, (str(tmp_path / "died"),), retries=1).result(30) == "alive"


def test_what_an_executor_lacks_is_said_before_anything_runs(session: shoal.Session) -> None:
    """A plain task can run anywhere; one that needs more accelerators than any host has runs nowhere."""
    (executor,) = session.executors.values()
    assert executor.lacks(shoal.Resources()) == ""
    if executor.kind != "pool":
        assert "gpus" in executor.lacks(shoal.Resources(gpus=2))
        with pytest.raises(ConfigurationError, match="gpus"):
            session.submit(add, (1,), resources=shoal.Resources(gpus=2))


def test_a_walltime_is_kept_or_refused(session: shoal.Session) -> None:
    """Where it cannot be kept the submission says so, and what can."""
    (executor,) = session.executors.values()
    if executor.kind == "pool":
        with pytest.raises(TimeoutError):
            session.submit(time.sleep, (20,), walltime=0.3).result(30)
        return
    with pytest.raises(ConfigurationError, match="walltime.*HighThroughputExecutor"):
        session.submit(add, (1,), walltime=1.0)


def test_executors_have_no_blocks_or_scale_them(session: shoal.Session) -> None:
    """Scaling what has no blocks is refused in words."""
    (executor,) = session.executors.values()
    assert executor.status().name
    if executor.kind != "pool":
        with pytest.raises(ConfigurationError, match="block"):
            executor.scale(2)


def test_the_end_of_a_session_answers_every_task(maker: Maker, tmp_path: Path) -> None:
    """Running, queued or waiting: each future gets SessionClosed, at once."""
    shoal.clear()
    session = shoal.load(maker(tmp_path / "runs"))
    running = [session.submit(hold, (str(tmp_path), f"running {i}")) for i in range(2)]
    assert appears(tmp_path / "running 0", tmp_path / "running 1")
    queued = [session.submit(add, (i,)) for i in range(20)]
    waiting = [session.submit(add, (future, 1)) for future in queued]
    began = time.monotonic()
    shoal.clear()
    (tmp_path / "gate").touch()  # what cannot be stopped ends now
    assert time.monotonic() - began < 20
    for future in [*running, *queued, *waiting]:
        assert isinstance(future.exception(1), SessionClosed)


def test_one_graph_runs_on_several_executors(every_maker: dict[str, Maker], tmp_path: Path) -> None:
    """A value passes from each to each, small or large."""
    shoal.clear()
    executors = [made(tmp_path).executors[0] for made in every_maker.values()]
    with shoal.load(shoal.Config(executors=executors, run_dir=tmp_path)) as session:
        labels = list(session.executors)
        assert len(labels) == len(every_maker)
        value = session.submit(add, (b"a" * 20_000, b"b" * 20_000), executors=labels[0])
        for label in [*labels, *reversed(labels)]:
            value = session.submit(add, (value, b"c"), executors=label)
        assert len(value.result(60)) == 40_000 + 2 * len(labels)
        assert set(session.view().executor) == set(labels)
    shoal.clear()
