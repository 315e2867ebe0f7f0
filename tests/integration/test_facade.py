"""Shoal as the executor of other libraries."""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.concurrent import run_on_executor

import shoal
from shoal.errors import ConfigurationError, NotPicklable
from shoal.facade import Executor
from shoal.futures import TaskFuture
from shoal.serialize import FunctionImage


def square(x: int) -> int:
    return x * x


def invert(x: int) -> float:
    return 1 / x


@pytest.fixture
def config(tmp_path: Path) -> shoal.Config:
    """Two threads."""
    return shoal.Config(executors=[shoal.ThreadPoolExecutor(max_threads=2)], run_dir=tmp_path)


@pytest.fixture
def executor(config: shoal.Config) -> Iterator[Executor]:
    """An executor with a session of its own."""
    with Executor(config) as made:
        yield made


def test_calls_are_tasks(executor: Executor) -> None:
    """Submit gives a task's future, which is one of concurrent.futures; errors keep their type."""
    future = executor.submit(square, 4)
    assert isinstance(future, TaskFuture)
    assert future.result(10) == 16
    assert executor.submit(int, "ff", base=16).result(10) == 255
    with pytest.raises(ZeroDivisionError):
        executor.submit(invert, 0).result(10)
    assert executor.submit(square, executor.submit(square, 2)).result(10) == 16


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map_gives_results_in_order(executor: Executor, chunksize: int) -> None:
    """Whatever the size of the chunks; the shortest iterable counts."""
    assert list(executor.map(square, range(10), chunksize=chunksize)) == [x * x for x in range(10)]
    assert list(executor.map(pow, [2, 3, 4], [3, 2], chunksize=chunksize)) == [8, 9]
    assert list(executor.map(square, [], chunksize=chunksize)) == []


@pytest.mark.parametrize("chunksize", [1, 2])
def test_map_raises_when_the_turn_comes_and_cancels_the_rest(executor: Executor, chunksize: int) -> None:
    """The results before it are given."""
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    results = executor.map(invert, [1, 2, 0, gate, gate], chunksize=chunksize)
    assert next(results) == 1
    assert next(results) == 0.5
    if chunksize == 1:
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert not list(results)
    results.close()  # type: ignore[attr-defined]
    executor.shutdown(cancel_futures=True)


def test_map_may_take_only_so_long(executor: Executor) -> None:
    """TimeoutError counts from the call; what is left is cancelled."""
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    results = executor.map(square, [1, gate], timeout=0.1)
    assert next(results) == 1
    with pytest.raises(TimeoutError):
        next(results)
    assert list(results) == []


def test_a_chunk_of_less_than_one_call_is_refused(executor: Executor) -> None:
    """As in the standard library."""
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(square, [1], chunksize=0)


def test_its_own_session_ends_with_it(config: shoal.Config) -> None:
    """At the end of the block all is done, and the session is closed; the current session is not touched."""
    with Executor(config) as executor:
        futures = [executor.submit(time.sleep, 0.05) for _ in range(4)]
        session = futures[0].owner  # type: ignore[attr-defined]
    assert all(future.done() and future.exception() is None for future in futures)
    assert session.closed is not None
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map(square, [1])
    executor.shutdown()


def test_a_session_that_was_given_goes_on(config: shoal.Config) -> None:
    """Given one, or using the current one."""
    with shoal.load(config) as session:
        with Executor(session) as executor:
            assert executor.submit(square, 3).result(10) == 9
        with Executor() as executor:
            assert executor.submit(square, 3).owner is session._engine  # type: ignore[attr-defined]
        assert not session.closed
    shoal.clear()


def test_shutdown_waits_for_its_own_calls_only(config: shoal.Config) -> None:
    """Another task of the session may still wait."""
    with shoal.load(config) as session:
        gate: concurrent.futures.Future[int] = concurrent.futures.Future()
        other = session.submit(square, (gate,))
        executor = Executor(session)
        mine = executor.submit(time.sleep, 0.1)
        executor.shutdown()
        assert mine.done()
        assert not other.done()
        gate.set_result(2)
    shoal.clear()


def test_shutdown_can_cancel_what_has_not_begun(config: shoal.Config) -> None:
    """What runs goes on to its end."""
    executor = Executor(config)
    gates = [threading.Event(), threading.Event()]
    begun = [threading.Event(), threading.Event()]

    def hold(number: int) -> int:
        begun[number].set()
        assert gates[number].wait(20)
        return number

    running = [executor.submit(hold, number) for number in range(2)]
    assert all(event.wait(10) for event in begun)
    queued = [executor.submit(square, 2) for _ in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in queued)
    assert not any(future.done() for future in running)
    for gate in gates:
        gate.set()
    assert [future.result(10) for future in running] == [0, 1]


def test_shutdown_need_not_wait(config: shoal.Config) -> None:
    """It returns at once, and what was submitted ends all the same."""
    executor = Executor(config)
    futures = [executor.submit(time.sleep, 0.2) for _ in range(4)]
    began = time.monotonic()
    executor.shutdown(wait=False)
    assert time.monotonic() - began < 0.2
    assert [future.result(10) for future in futures] == [None] * 4


def test_a_script_that_ends_has_its_calls_done(tmp_path: Path) -> None:
    """The interpreter waits for what was submitted before ``shutdown(wait=False)``, as with the standard library's."""
    script = f"""
import time, shoal
from shoal.facade import Executor
def write(n):
    time.sleep(0.3)
    open({str(tmp_path)!r} + f"/{{n}}", "w").close()
executor = Executor(shoal.Config(executors=[shoal.ThreadPoolExecutor(max_threads=2)], run_dir={str(tmp_path)!r} + "/runs"))
for n in range(4):
    executor.submit(write, n)
executor.shutdown(wait=False)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert all((tmp_path / str(n)).exists() for n in range(4))


def test_event_loops_take_it(executor: Executor) -> None:
    """Run_in_executor, wrap_future, gather; cancelling the wrapper cancels the task."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        made = [loop.run_in_executor(executor, square, n) for n in range(5)]
        values: list[Any] = await asyncio.gather(*made)
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(executor, invert, 0)
        gate: concurrent.futures.Future[int] = concurrent.futures.Future()
        task = executor.submit(square, gate)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(task), 0.05)
        await asyncio.sleep(0.05)
        return [values, task.cancelled()]

    assert asyncio.run(main()) == [[0, 1, 4, 9, 16], True]


def test_the_tools_of_concurrent_futures_take_its_futures(executor: Executor) -> None:
    """Wait and as_completed, mixed with futures of others."""
    foreign: concurrent.futures.Future[int] = concurrent.futures.Future()
    foreign.set_result(7)
    futures = [foreign, *(executor.submit(square, n) for n in range(50))]
    assert len(concurrent.futures.wait(futures, timeout=10).done) == 51
    assert {future.result() for future in concurrent.futures.as_completed(futures, timeout=10)} >= {7, 2401}


def test_a_library_that_takes_an_executor_takes_it(executor: Executor) -> None:
    """Tornado's decorator, for one."""

    class Service:
        def __init__(self) -> None:
            self.executor = executor

        @run_on_executor
        def slow(self, x: int) -> int:
            return x + 1

    async def main() -> int:
        value: int = await Service().slow(1)  # type: ignore[misc]
        return value

    assert asyncio.run(main()) == 2


def test_a_function_is_looked_at_once_and_never_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Submitting one function many times makes one image of it, and what it captures is what it is at each call."""
    made: list[str] = []
    factor = [10]

    def scaled(x: int) -> int:
        return factor[0] * x

    original = FunctionImage.__init__

    def counted(self: FunctionImage, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self.label)

    monkeypatch.setattr(FunctionImage, "__init__", counted)
    adapter = shoal.Config(executors=[_adapter()], run_dir=tmp_path)
    with Executor(adapter) as executor:
        before = list(executor.map(scaled, range(20)))
        factor[0] = 100
        after = list(executor.map(scaled, range(20)))
        assert made == ["scaled"]
        assert before == [10 * x for x in range(20)]
        assert after == [100 * x for x in range(20)]
        assert list(executor.map(square, range(20), chunksize=6)) == [x * x for x in range(20)]
        with pytest.raises(NotPicklable):
            executor.submit(square, threading.Lock())  # type: ignore[arg-type]


def _adapter() -> Any:
    from shoal.executors.adapter import ConcurrentExecutor

    return ConcurrentExecutor(executor=_processes, max_workers=2)


def _processes() -> concurrent.futures.Executor:
    import multiprocessing

    return concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("forkserver"))


def test_inside_a_task_its_calls_run_in_place(config: shoal.Config) -> None:
    """No task waits for a worker that it keeps busy itself."""

    def outer(n: int) -> list[int]:
        with Executor() as inner:
            return list(inner.map(square, range(n), chunksize=2))

    with shoal.load(config), Executor() as executor:
        assert [future.result(20) for future in [executor.submit(outer, 4) for _ in range(8)]] == [[0, 1, 4, 9]] * 8
    shoal.clear()


def test_options_hold_for_every_call(config: shoal.Config) -> None:
    """Retries, resources, labels of executors; a wrong one is named."""
    tries: list[int] = []

    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError
        return len(tries)

    with Executor(config, "threads", retries=2) as executor:
        assert executor.submit(flaky).result(10) == 3
    for wrong in ({"where": 5}, {"retries": -1}, {"walltime": 0}, {"executors": 5}):
        with pytest.raises(ConfigurationError):
            Executor(**wrong)  # type: ignore[arg-type]
    with (
        Executor(config, resources=shoal.Resources(gpus=1)) as executor,
        pytest.raises(ConfigurationError, match="gpus"),
    ):
        executor.submit(flaky)
    with Executor(config) as executor, pytest.raises(ConfigurationError, match="called"):
        executor.submit(5)  # type: ignore[arg-type]
