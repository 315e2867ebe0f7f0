"""The session over an executor that does what the test says."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from shoal.engine import RetryPolicy
from shoal.errors import DependencyError, NoSession, SessionClosed, WorkerLost
from shoal.events import CellRef
from shoal.outcome import Failure, Raised
from shoal.session import Session
from shoal.testing import ManualExecutor


class Thing:
    """An object whose life can be watched."""


def test_a_dependent_is_launched_with_the_values_of_its_inputs(session: Session, hand: ManualExecutor) -> None:
    """Values go in by reference: nothing of the first task is kept but its value."""
    first = session.submit(lambda: [1])
    second = session.submit(lambda x: x + [2], (first,))
    assert [a.tid for a in hand.launched] == [0]
    hand.run_all()
    assert second.result() == [1, 2]
    assert session.pending() == 0


def test_a_failed_attempt_is_retried_as_often_as_said(start: Any, hand: ManualExecutor) -> None:
    """The session's retries hold unless the task says otherwise."""
    session = start([hand], policy=RetryPolicy(1))
    twice = session.submit(lambda: 1)
    once = session.submit(lambda: 1, retries=0)
    for _ in range(2):
        for attempt in [hand.launched.pop(0) for _ in range(len(hand.launched))]:
            hand.fail(attempt, Raised(OSError("flaky")))
    assert isinstance(once.exception(0), OSError)
    assert isinstance(twice.exception(0), OSError)
    assert hand.launched == []
    view = session.view()
    assert list(view.attempts) == [2, 1]
    session.close()


def test_an_attempt_that_was_lost_is_logged_as_lost(session: Session, hand: ManualExecutor) -> None:
    """The failure carries the ShoalError that names what was lost."""
    task = session.submit(lambda: 1)
    hand.fail(hand.launched.pop(), Failure.of(WorkerLost("f (task 0)", "host/7", "signal 9"), lost=True))
    with pytest.raises(Exception, match="signal 9"):
        task.result(0)


def test_a_task_known_to_run_is_not_cancelled(session: Session, hand: ManualExecutor) -> None:
    """cancel() tells the truth."""
    task = session.submit(lambda: 5)
    attempt = hand.launched.pop()
    hand.begin(attempt)
    assert task.running()
    assert not task.cancel()
    hand.run(attempt)
    assert task.result(0) == 5
    assert not task.cancel()


def test_a_queued_task_is_cancelled_and_dropped(session: Session, hand: ManualExecutor) -> None:
    """Its executor is told, and its late result changes nothing."""
    task = session.submit(lambda: 5)
    assert task.cancel()
    assert hand.dropped == [(0, 1)]
    hand.run(hand.launched.pop())
    assert task.cancelled()


def test_closing_answers_every_future(start: Any, hand: ManualExecutor) -> None:
    """Waiting and queued ones alike, and the session refuses what comes later."""
    session = start([hand])
    first = session.submit(lambda: 1)
    second = session.submit(lambda x: x, (first,))
    assert session.close() == 2
    assert isinstance(first.exception(0), SessionClosed)
    assert isinstance(second.exception(0), SessionClosed)
    assert hand.closed
    with pytest.raises(NoSession):
        session.submit(lambda: 1)
    assert session.close() == 0


def test_placement_is_by_load(start: Any) -> None:
    """With a choice, a task goes where fewer attempts stand for each slot."""
    left, right = ManualExecutor("left"), ManualExecutor("right")
    session = start([left, right])
    for _ in range(10):
        session.submit(lambda: 1)
    assert (len(left.launched), len(right.launched)) == (5, 5)
    session.submit(lambda: 1, executors="right")
    assert len(right.launched) == 6
    session.close()


def test_holding_the_last_future_of_a_chain_keeps_no_other_result_alive(session: Session, hand: ManualExecutor) -> None:
    """What a finished task was given is let go."""
    first = session.submit(Thing)
    second = session.submit(lambda thing: 1, (first,))
    hand.run_all()
    watch = weakref.ref(first.result())
    del first
    gc.collect()
    assert watch() is None
    assert second.result() == 1


def test_a_future_of_an_ended_session_can_be_an_input(start: Any, hand: ManualExecutor, session: Session) -> None:
    """A value that was made yesterday is still a value."""
    other_hand = ManualExecutor()
    other = start([other_hand])
    old = other.submit(lambda: 20)
    other_hand.run_all()
    other.close()
    new = session.submit(lambda x: x + 1, (old,))
    hand.run_all()
    assert new.result(0) == 21


def test_what_a_task_prints_reaches_its_submitter(session: Session, hand: ManualExecutor) -> None:
    """By stream, in order."""
    seen: list[tuple[str, str]] = []
    session.submit(lambda: 1, on_output=lambda stream, text: seen.append((stream, text)))
    hand.write(hand.launched[0], "stdout", "one\n")
    hand.write(hand.launched[0], "stderr", "two\n")
    hand.run_all()
    session.close()
    assert seen == [("stdout", "one\n"), ("stderr", "two\n")]


def test_the_cell_of_a_task_is_in_its_record(session: Session, hand: ManualExecutor) -> None:
    """Where it was made is logged with it."""
    cell = CellRef("abc", 4, 2)
    session.submit(lambda: 1, cell=cell)
    hand.run_all()
    assert session.view().cell == [cell]


def test_a_skipped_task_says_the_path(session: Session, hand: ManualExecutor) -> None:
    """From the direct input to the one that failed first."""

    def broken() -> Any:
        raise ValueError("root")

    first = session.submit(broken, label="load")
    second = session.submit(lambda x: x, (first,), label="clean")
    third = session.submit(lambda x: x, (second,), label="fit")
    hand.run_all()
    error = third.exception(0)
    assert isinstance(error, DependencyError)
    assert error.path == ("clean (task 1)", "load (task 0)")
    assert isinstance(error.__cause__, ValueError)
    assert session.view().error[2].startswith("input clean (task 1) <- load (task 0) failed: ValueError")


class Interrupting(ManualExecutor):
    """Ctrl-C comes while an attempt is launched."""

    interrupt = False

    def launch(self, attempts: Any) -> None:
        super().launch(attempts)
        if self.interrupt:
            raise KeyboardInterrupt


def test_an_interrupted_submission_is_taken_back(start: Any) -> None:
    """Nobody holds its future, so nobody waits for it; the run goes on and can be viewed."""
    hand = Interrupting()
    session = start([hand])
    first = session.submit(lambda: 1)
    hand.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        session.submit(lambda: 2)
    hand.interrupt = False
    last = session.submit(lambda x: x + 1, (first,))
    hand.run_all()
    assert last.result(0) == 2
    assert session.wait(0)
    assert [session.view().state[t] for t in (0, 1, 2)] == [3, 6, 3]
    session.close()
