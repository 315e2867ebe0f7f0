"""What every executor promises, through the public API."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.errors import DependencyError, NoSession, SessionClosed, SessionReplaced, UnknownExecutor


def add(a: Any, b: Any = 0) -> Any:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


def total(tree: Any) -> int:
    if isinstance(tree, dict):
        return sum(total(k) + total(v) for k, v in tree.items())
    if isinstance(tree, list | tuple | set | frozenset):
        return sum(total(item) for item in tree)
    return int(tree)


def test_a_call_gives_its_value(session: shoal.Session) -> None:
    """The plain case, with positional and keyword arguments."""
    assert session.submit(add, (1,), {"b": 2}).result(30) == 3


def test_futures_anywhere_in_arguments_are_replaced(session: shoal.Session) -> None:
    """Lists, tuples, sets and dicts, nested, as keys too."""
    one, two = session.submit(add, (1,)), session.submit(add, (2,))
    tree = [one, (two, {one: [two]}), {one, 10}, {"5": {"6": two}}]
    numbers = [one, (two, {3: [two]}), {one, 10}, {5: {6: two}}]
    assert session.submit(total, (numbers,)).result(30) == 1 + 2 + (3 + 2) + (1 + 10) + (5 + 6 + 2)
    assert session.submit(len, (tree,)).result(30) == 4


def test_a_future_of_another_library_is_awaited(session: shoal.Session) -> None:
    """Any concurrent.futures.Future may be an input; its failure reaches the task."""
    foreign: concurrent.futures.Future[int] = concurrent.futures.Future()
    task = session.submit(add, (foreign, 1))
    assert not task.done()
    foreign.set_result(41)
    assert task.result(30) == 42
    broken: concurrent.futures.Future[int] = concurrent.futures.Future()
    task = session.submit(add, (broken, 1))
    broken.set_exception(KeyError("gone"))
    with pytest.raises(DependencyError) as caught:
        task.result(30)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_failure_arrives_as_its_own_type(session: shoal.Session) -> None:
    """``except ValueError`` works as at home, and the message is the original's."""
    with pytest.raises(ValueError, match="no such thing"):
        session.submit(fail, ("no such thing",)).result(30)


def test_a_failed_input_skips_what_needs_it(session: shoal.Session) -> None:
    """The dependent names the path to the root; its cause is the root failure."""
    broken = session.submit(fail, ("root",), label="load")
    middle = session.submit(add, (broken, 1), label="clean")
    last = session.submit(add, (middle, 1), label="fit")
    error = last.exception(30)
    assert isinstance(error, DependencyError)
    assert "clean" in str(error)
    assert "load" in str(error)
    assert "ValueError: root" in str(error)
    assert isinstance(error.__cause__, ValueError)
    assert last.task_status() == "skipped"
    late = session.submit(add, (broken, 1))
    assert isinstance(late.exception(30), DependencyError)


def test_a_future_can_be_awaited(session: shoal.Session) -> None:
    """From an event loop, several at once."""

    async def main() -> list[int]:
        return await asyncio.gather(*(session.submit(add, (i, 1)) for i in range(5)))

    assert asyncio.run(main()) == [1, 2, 3, 4, 5]


def test_the_tools_of_concurrent_futures_work(session: shoal.Session) -> None:
    """Wait and as_completed take these futures, mixed with others."""
    futures = [session.submit(add, (i,)) for i in range(10)]
    done, pending = concurrent.futures.wait(futures, timeout=30)
    assert len(done) == 10
    assert not pending
    assert sorted(f.result() for f in concurrent.futures.as_completed(futures, timeout=30)) == list(range(10))


def test_callbacks_run_off_the_receive_thread(session: shoal.Session) -> None:
    """A callback may wait for another task; one that raises harms nobody."""
    seen: list[int] = []
    finished = threading.Event()

    def wait_inside(future: Any) -> None:
        seen.append(session.submit(add, (future.result(), 1)).result(30))
        finished.set()

    first = session.submit(add, (1,))
    first.add_done_callback(lambda _: 1 / 0)
    first.add_done_callback(wait_inside)
    assert finished.wait(30)
    assert seen == [2]


def test_several_outputs_are_futures_by_name(session: shoal.Session) -> None:
    """Each may be an input by itself; the task's own result is the mapping."""
    task = session.submit(lambda: {"a": 1, "b": [2]}, outputs=("a", "b"))
    joined = session.submit(add, (task.outputs["b"], [3]))
    assert joined.result(30) == [2, 3]
    assert task.outputs["a"].result(30) == 1
    assert task.result(30) == {"a": 1, "b": [2]}
    missing = session.submit(lambda: {"a": 1}, outputs=("a", "b"))
    with pytest.raises(shoal.ShoalError, match="output b"):
        missing.outputs["b"].result(30)


def test_a_chain_and_a_fan(session: shoal.Session) -> None:
    """Long dependencies and wide ones."""
    link = session.submit(add, (0,))
    for _ in range(200):
        link = session.submit(add, (link, 1))
    assert link.result(60) == 200
    root = session.submit(add, (1,))
    leaves = [session.submit(add, (root, i)) for i in range(300)]
    assert session.submit(sum, (leaves,)).result(60) == 300 + sum(range(300))


def test_a_waiting_task_can_be_cancelled(session: shoal.Session) -> None:
    """Cancelling ends it and what needs it; the input is not touched."""
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    waiting = session.submit(add, (gate, 1))
    dependent = session.submit(add, (waiting, 1))
    assert waiting.cancel()
    assert waiting.cancelled()
    assert isinstance(dependent.exception(30), DependencyError)
    gate.set_result(1)
    assert not session.submit(add, (1,)).result(30) == 0


def test_an_unknown_label_names_those_that_exist(session: shoal.Session) -> None:
    """The message lists the labels of the session."""
    with pytest.raises(UnknownExecutor, match=next(iter(session.executors))):
        session.submit(add, (1,), executors=["nowhere"])


def test_a_timeout_is_a_timeout(session: shoal.Session) -> None:
    """Waiting ends in TimeoutError, and the task goes on."""
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    task = session.submit(add, (gate, 1))
    with pytest.raises(TimeoutError):
        task.result(0.01)
    gate.set_result(1)
    assert task.result(30) == 2


def test_the_log_tells_the_run(session: shoal.Session) -> None:
    """Labels, states, dependencies and workers of tasks are in the run's columns."""
    first = session.submit(add, (1,), label="first")
    second = session.submit(add, (first, 1), label="second")
    second.result(30)
    view = session.view()
    assert view.label[second.tid] == "second"
    assert view.deps[second.tid] == (first.tid,)
    assert view.state[second.tid] == 3
    assert view.worker[second.tid]
    assert 0 < view.submitted[second.tid] <= view.ended[second.tid] + 1


def test_the_same_configuration_gives_the_same_session(maker: Callable[[Path], shoal.Config], tmp_path: Path) -> None:
    """A load cell may be run again; a different one replaces the session and answers its futures."""
    shoal.clear()
    first = shoal.load(maker(tmp_path))
    assert shoal.load(maker(tmp_path)) is first
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    pending = first.submit(add, (gate, 1))
    second = shoal.load(maker(tmp_path / "other"))
    assert second is not first
    with pytest.raises(SessionReplaced):
        pending.result(30)
    with pytest.raises(NoSession):
        first.submit(add, (1,))
    assert second.submit(add, (1,)).result(30) == 1
    shoal.clear()


def test_the_end_of_a_block_waits_and_clear_does_not(maker: Callable[[Path], shoal.Config], tmp_path: Path) -> None:
    """``with`` waits for its tasks; ``clear`` answers unfinished ones with SessionClosed."""
    shoal.clear()
    with shoal.load(maker(tmp_path)) as session:
        futures = [session.submit(time.sleep, (0.05,)) for _ in range(4)]
    assert all(future.done() and future.exception() is None for future in futures)
    session = shoal.load(maker(tmp_path))
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    pending = session.submit(add, (gate, 1))
    shoal.clear()
    with pytest.raises(SessionClosed):
        pending.result(30)


def test_a_task_with_several_outputs_is_an_input_as_a_mapping(session: shoal.Session) -> None:
    """Given whole, it is all its outputs; also when it comes from another session."""
    task = session.submit(lambda: {"a": 1, "b": [2]}, outputs=("a", "b"))
    assert session.submit(lambda x: x, (task,)).result(30) == {"a": 1, "b": [2]}
    assert session.submit(lambda x: x, ([task.outputs["b"], task],)).result(30) == [[2], {"a": 1, "b": [2]}]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"outputs": "scores"}, "outputs"),
        ({"outputs": ("a", "a")}, "outputs"),
        ({"outputs": (1, 2)}, "outputs"),
        ({"outputs": [["a"]]}, "outputs"),
        ({"label": 5}, "label"),
        ({"retries": "3"}, "retries"),
        ({"retries": -1}, "retries"),
        ({"executors": None}, "executors"),
    ],
)
def test_an_option_that_cannot_be_is_refused_and_harms_nothing(
    session: shoal.Session, options: dict[str, Any], named: str
) -> None:
    """The error names the option; the next task runs, and the run can be viewed."""
    with pytest.raises(shoal.ShoalError, match=named):
        session.submit(add, (1,), **options)
    assert session.submit(add, (1,)).result(30) == 1
    assert len(session.view()) > 0


def test_what_is_no_function_is_refused(session: shoal.Session) -> None:
    """At once, not on a worker."""
    with pytest.raises(shoal.ShoalError, match="called"):
        session.submit(5)  # type: ignore[arg-type]


def test_text_that_is_not_unicode_stops_nothing(session: shoal.Session) -> None:
    """A file name that does not decode may be in an error or a label."""
    with pytest.raises(ValueError, match="bad"):
        session.submit(fail, ("bad \udcff",), label="read \udcff").result(30)
    assert session.submit(add, (1,)).result(30) == 1
    assert session.view().label[-1] == "add"


def test_apps_inside_tasks_run_in_place(session: shoal.Session) -> None:
    """Recursion needs no more workers than there are."""

    @shoal.python_app
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1).result() + fib(n - 2).result()

    assert [f.result(30) for f in [fib(6) for _ in range(4)]] == [8] * 4


def test_a_callback_that_exits_harms_nobody(session: shoal.Session) -> None:
    """SystemExit in a callback is the callback's own affair."""
    first = session.submit(add, (1,))
    first.add_done_callback(lambda _: exit(3))
    first.result(30)

    async def main() -> int:
        return await session.submit(add, (5,))

    assert asyncio.run(main()) == 5
    seen = threading.Event()
    first.add_done_callback(lambda _: seen.set())
    assert seen.wait(10)


def test_awaiting_a_task_that_raised_stop_iteration_ends(session: shoal.Session) -> None:
    """As in any coroutine it becomes a RuntimeError; nothing hangs."""

    def empty() -> None:
        next(iter([]))

    async def main() -> None:
        await asyncio.wait_for(session.submit(empty), 10)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(main())


def test_a_cancelled_await_cancels_its_task(session: shoal.Session) -> None:
    """As asyncio's own futures do."""
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    task = session.submit(add, (gate, 1))

    async def main() -> None:
        await asyncio.wait_for(task, 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert task.cancelled()
    gate.set_result(1)


def test_a_future_of_another_library_that_nobody_needs_is_not_waited_for(session: shoal.Session) -> None:
    """wait() is about tasks."""
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    session.submit(add, (gate, 1)).cancel()
    assert session.wait(10)
    assert session.pending() == 0


@pytest.mark.parametrize(
    "bad",
    [
        lambda _: shoal.load(5),
        lambda _: shoal.load(shoal.Config(executors=[shoal.HighThroughputExecutor(pool="typo")])),
        lambda folder: shoal.load(shoal.Config(run_dir=folder / "file" / "runs")),
    ],
    ids=["no config", "no such pool", "no folder"],
)
def test_a_load_that_fails_leaves_the_session_alone(
    bad: Callable[[Path], Any], threads_maker: Callable[[Path], shoal.Config], tmp_path: Path
) -> None:
    """The mistake is named, and what runs goes on."""
    (tmp_path / "file").touch()
    shoal.clear()
    session = shoal.load(threads_maker(tmp_path))
    with pytest.raises(shoal.ShoalError):
        bad(tmp_path)
    assert shoal.current() is session
    assert session.submit(add, (1,)).result(30) == 1
    shoal.clear()
