"""Retries: costs, handlers, waits, and the story that is told of them."""

from __future__ import annotations

from typing import Any

from shoal.callbacks import drain
from shoal.engine import RetryPolicy
from shoal.options import Backoff, TaskOptions
from shoal.outcome import Failure, Raised
from shoal.serialize import FunctionImage
from shoal.testing import ManualExecutor


def fail_all(hand: ManualExecutor, error: Exception) -> None:
    for attempt in [hand.launched.pop(0) for _ in range(len(hand.launched))]:
        hand.fail(attempt, Raised(error))


def test_the_attempts_that_failed_are_told(start: Any, hand: ManualExecutor) -> None:
    """The last error carries the others as notes, and the task's record has them all."""
    session = start([hand], policy=RetryPolicy(2))
    task = session.submit(lambda: 1)
    for number in range(3):
        fail_all(hand, OSError(f"trouble {number}"))
    error = task.exception(0)
    assert str(error) == "trouble 2"
    assert error.__notes__ == ["attempt 1 failed: OSError: trouble 0", "attempt 2 failed: OSError: trouble 1"]
    record = task.task
    assert record.status == "failed"
    assert record.fail_count == 3
    assert [a.error for a in record.attempts] == [f"OSError: trouble {n}" for n in range(3)]


def test_a_task_that_succeeds_late_keeps_its_attempts(start: Any, hand: ManualExecutor) -> None:
    """The record shows what failed before."""
    session = start([hand], policy=RetryPolicy(1))
    task = session.submit(lambda: 5)
    fail_all(hand, OSError("once"))
    hand.run_all()
    assert task.result(0) == 5
    assert [a.how for a in task.task.attempts] == ["failure", "value"]
    assert "OSError: once" in str(task.task.attempts[0])


def test_a_handler_says_what_a_failure_costs(start: Any, hand: ManualExecutor) -> None:
    """It gets the exception and the task's record; what costs nothing is tried for ever."""
    seen: list[tuple[str, int]] = []

    def handler(error: BaseException, record: Any) -> float:
        seen.append((type(error).__name__, record.fail_count))
        return 0.0 if isinstance(error, OSError) else 5.0

    session = start([hand], policy=RetryPolicy(1, handler=handler))
    task = session.submit(lambda: 1)
    for _ in range(3):
        fail_all(hand, OSError("free"))
        assert drain(10)
    fail_all(hand, ValueError("dear"))
    assert drain(10)
    assert isinstance(task.exception(0), ValueError)
    assert seen == [("OSError", 1), ("OSError", 2), ("OSError", 3), ("ValueError", 4)]


def test_a_handler_that_raises_fails_the_task(start: Any, hand: ManualExecutor) -> None:
    """With the task's own error: nobody waits for ever because of a broken handler."""
    session = start([hand], policy=RetryPolicy(5, handler=lambda error, record: 1 / 0))
    task = session.submit(lambda: 1)
    fail_all(hand, OSError("own"))
    assert drain(10)
    assert str(task.exception(0)) == "own"


def test_a_lost_attempt_is_retried_and_told(start: Any, hand: ManualExecutor) -> None:
    """Losses count as failures."""
    session = start([hand], policy=RetryPolicy(1))
    task = session.submit(lambda: 2)
    hand.fail(hand.launched.pop(), Failure("X", "worker gone", lost=True))
    hand.run_all()
    assert task.result(0) == 2
    assert [a.how for a in task.task.attempts] == ["lost", "value"]


def test_the_wait_before_another_attempt_grows() -> None:
    """By the factor, up to the most."""
    backoff = Backoff(first=1.0, factor=3.0, most=5.0)
    assert [backoff.delay(n) for n in (1, 2, 3, 500)] == [1.0, 3.0, 5.0, 5.0]


def test_a_delayed_task_is_cancelled_like_any_other(start: Any, hand: ManualExecutor) -> None:
    """Nothing is launched when its time comes."""
    session = start([hand], policy=RetryPolicy(1, Backoff(first=1000.0)))
    task = session.submit(lambda: 2)
    fail_all(hand, OSError("once"))
    assert task.task_status() == "delayed"
    assert task.cancel()
    assert session.wait(0)
    assert hand.launched == []


def test_a_delayed_task_runs_in_its_time(start: Any, hand: ManualExecutor) -> None:
    """Without anybody's doing."""
    session = start([hand])
    options = TaskOptions(retries=1, backoff=Backoff(first=0.01))
    task = session.enter(FunctionImage(lambda: 2), (), {}, options)
    fail_all(hand, OSError("once"))
    for _ in range(2000):
        hand.run_all()
        if session.wait(0.005):
            break
    assert task.result(0) == 2
