"""Where tasks go, how they are cancelled, and how submissions are held."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from shoal.errors import ConfigurationError, UnknownExecutor
from shoal.options import TaskOptions
from shoal.resources import Resources
from shoal.serialize import FunctionImage
from shoal.session import Session
from shoal.testing import ManualExecutor


def test_a_running_task_is_cancelled_where_it_can_be_stopped(session: Session, hand: ManualExecutor) -> None:
    """Its executor is asked first."""
    hand.stops = True
    task = session.submit(lambda: 5)
    hand.begin(hand.launched.pop())
    assert task.cancel()
    assert task.cancelled()
    assert hand.dropped == [(0, 1)]


def test_a_task_goes_where_its_needs_are_met(start: Any) -> None:
    """Labels or not: an executor that lacks something is not chosen."""
    small, large = ManualExecutor("small"), ManualExecutor("large")
    small.missing = "2 gpus: it has none"
    session = start([small, large])
    for _ in range(3):
        session.submit(lambda: 1, resources=Resources(gpus=2))
    assert (len(small.launched), len(large.launched)) == (0, 3)
    with pytest.raises(ConfigurationError, match="'small': 2 gpus: it has none"):
        session.submit(lambda: 1, resources=Resources(gpus=2), executors="small")


def test_an_executor_that_is_gone_is_not_chosen_if_there_is_another(start: Any) -> None:
    """It would only fail there."""
    gone, there = ManualExecutor("gone"), ManualExecutor("there")
    session = start([gone, there])
    gone.closed = True
    session.submit(lambda: 1)
    assert len(there.launched) == 1


def test_an_unknown_label_is_named(session: Session) -> None:
    """With those that there are."""
    with pytest.raises(UnknownExecutor, match="manual"):
        session.submit(lambda: 1, executors=["nowhere"])


@pytest.mark.parametrize(
    ("option", "value"),
    [("retries", -1), ("retries", "x"), ("walltime", 0), ("walltime", "soon"), ("label", ""), ("executors", 5)],
)
def test_options_that_cannot_be_are_refused(session: Session, option: str, value: Any) -> None:
    """By name, before anything is submitted."""
    with pytest.raises(ConfigurationError, match=option):
        session.submit(lambda: 1, **{option: value})
    assert session.pending() == 0


def test_a_loop_without_end_is_held(start: Any, hand: ManualExecutor) -> None:
    """At most so many tasks are unfinished; it goes on as they end."""
    session = start([hand], max_outstanding=10)
    most, futures = [], []

    def submit_many() -> None:
        for n in range(50):
            futures.append(session.submit(lambda n=n: n))
            most.append(session.pending())

    thread = threading.Thread(target=submit_many)
    thread.start()
    while thread.is_alive():
        hand.run_all()
        thread.join(0.002)
    hand.run_all()
    assert max(most) <= 10
    assert [f.result(0) for f in futures] == list(range(50))


def test_who_does_not_want_to_be_held_is_not(start: Any, hand: ManualExecutor) -> None:
    """A cell magic must return at once."""
    session = start([hand], max_outstanding=2)
    for _ in range(5):
        session.submit(lambda: 1, hold=False)
    assert session.pending() == 5


def test_an_event_loop_is_not_held(start: Any, hand: ManualExecutor) -> None:
    """It has others to serve."""
    session = start([hand], max_outstanding=2)

    async def submit_many() -> int:
        for _ in range(5):
            session.submit(lambda: 1)
        return session.pending()

    assert asyncio.run(submit_many()) == 5


def test_the_body_of_a_join_is_not_held(start: Any, hand: ManualExecutor) -> None:
    """What waits may depend on it."""
    session = start([hand], max_outstanding=2)
    joined = session.enter(
        FunctionImage(lambda: [session.submit(lambda n=n: n) for n in range(6)]), (), {}, TaskOptions(join=True)
    )
    for _ in range(2000):
        hand.run_all()
        if session.wait(0.005):
            break
    assert joined.result(0) == list(range(6))


def test_a_callback_is_not_held(start: Any, hand: ManualExecutor) -> None:
    """All other callbacks wait behind it."""
    session = start([hand], max_outstanding=1)
    first = session.submit(lambda: 1)
    submitted = threading.Event()

    def submit_more(_: object) -> None:
        for _ in range(3):
            session.submit(lambda: 2)
        submitted.set()

    first.add_done_callback(submit_more)
    hand.run(hand.launched.pop())
    assert submitted.wait(10)


def test_who_is_held_is_let_go_when_nothing_can_move_without_it(start: Any, hand: ManualExecutor) -> None:
    """All tasks wait for a future that the held thread itself would settle."""
    from concurrent.futures import Future

    session = start([hand], max_outstanding=3)
    own: Future[int] = Future()
    futures = [session.submit(lambda x: x, (own,)) for _ in range(5)]
    assert session.pending() == 5
    own.set_result(1)
    hand.run_all()
    assert [f.result(10) for f in futures] == [1] * 5


def test_text_of_a_task_is_kept_by_attempt(session: Session, hand: ManualExecutor) -> None:
    """The future has what the last attempt printed, by stream."""
    task = session.submit(lambda: 1, retries=1)
    first = hand.launched.pop()
    hand.write(first, "stdout", "first ")
    hand.write(first, "stdout", "try")
    assert task.stdout == "first try"
    from shoal.outcome import Raised

    hand.fail(first, Raised(OSError("again")))
    hand.write(hand.launched[0], "stderr", "second")
    hand.run_all()
    assert (task.stdout, task.stderr) == ("", "second")


@pytest.mark.parametrize("memory", [True, "lots", -1, 1.5])
def test_sizes_that_are_none_are_refused(memory: object) -> None:
    """A truth value is no number of bytes, either."""
    with pytest.raises(ConfigurationError, match=r"Resources\.memory"):
        Resources(memory=memory)  # type: ignore[arg-type]
