"""Tasks of earlier sessions that this one takes over."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from shoal.errors import ConfigurationError, DependencyError, NoSession, SessionClosed, SessionLost, WorkerLost
from shoal.events import CellRef, TaskSubmitted
from shoal.executors.earlier import News
from shoal.executors.executor import Ended
from shoal.outcome import Failure, Packed
from shoal.record.log import LogReader
from shoal.serialize import pack
from shoal.session import Session
from shoal.testing import ManualExecutor


def ended(*values: Any, failure: Failure | None = None) -> Ended:
    """As a pool tells it, with the numbers of another session."""
    return Ended(77, 3, [Packed(pack(value)) for value in values], failure, "host/7", 10.0, 12.0)


def test_it_is_a_task_like_others(session: Session, hand: ManualExecutor) -> None:
    """It is pending until it ends; dependents wait for it and get its value; the record has all of it."""
    end: Future[Ended] = Future()
    task = session.take_over("fit", end, cell=CellRef("abc", 4), executor="htex")
    after = session.submit(lambda x: x + 1, (task,))
    assert (task.task_status(), after.task_status(), session.pending()) == ("queued", "waiting", 2)
    assert not session.wait(0)
    end.set_result(ended(41))
    assert isinstance(task.outcome, Packed), "it is not unpickled on the way"
    hand.run_all()
    assert (task.result(0), after.result(0), session.pending()) == (41, 42, 0)
    record = session.view().record(task.tid)
    assert (record.label, record.status, record.executor, record.worker) == ("fit", "done", "htex", "host/7")
    assert (record.started, record.ended, record.cell) == (10.0, 12.0, CellRef("abc", 4))


def test_its_outputs_have_their_names(session: Session) -> None:
    """As those of a task with named outputs; the log has the names."""
    end: Future[Ended] = Future()
    task = session.take_over("cell", end, outputs=("x", "y"))
    end.set_result(ended(1, 2))
    assert {name: output.result(0) for name, output in task.outputs.items()} == task.result(0) == {"x": 1, "y": 2}
    session.view()
    (made,) = [e for e in LogReader(session.run_dir / "events.log").read() if isinstance(e, TaskSubmitted)]
    assert made.outputs == ("x", "y")


def test_outputs_that_do_not_fit_fail_it(session: Session) -> None:
    """Nothing hangs, and it is said how many there are."""
    end: Future[Ended] = Future()
    task = session.take_over("cell", end, outputs=("x", "y"))
    end.set_result(ended(1, 2, 3))
    with pytest.raises(ConfigurationError, match="3"):
        task.outputs["x"].result(0)


def test_failures_are_final(start: Any, hand: ManualExecutor) -> None:
    """What failed there fails here, without another attempt, whatever the session's retries; dependents are skipped."""
    from shoal.engine import RetryPolicy

    session = start([hand], policy=RetryPolicy(3))
    lost: Future[Ended] = Future()
    task = session.take_over("fit", lost)
    after = session.submit(lambda x: x, (task,))
    lost.set_result(ended(failure=Failure.of(WorkerLost("fit (task 77)", "host/7", "signal 9"), lost=True)))
    with pytest.raises(Exception, match="signal 9"):
        task.result(0)
    assert isinstance(after.exception(0), DependencyError)
    broken: Future[Ended] = Future()
    other = session.take_over("fit", broken)
    broken.set_exception(OSError("gone"))
    assert isinstance(other.exception(0), OSError)
    assert session.pending() == 0


def test_one_that_is_lost_says_what_to_do(session: Session) -> None:
    """An error in the place of the future: the task has ended with it, as failed."""
    error = SessionLost("fit (task 3)", "the value of 'data'", "run its cell again: %rerun")
    task = session.take_over("fit", error, outputs=("model", "score"))
    with pytest.raises(SessionLost, match=r"fit \(task 3\).*'data'.*%rerun"):
        task.outputs["model"].result(0)
    assert task.task_status() == "failed"
    assert session.view().record(task.tid).status == "failed"


def test_news_arrive_also_those_of_before(session: Session) -> None:
    """That it runs and what it prints: at once what was told before, in order; then the rest."""
    news, heard = News(), []
    news.tell_started("host/7", 5.0)
    news.tell_printed("stdout", "one ")
    task = session.take_over("fit", news, on_output=lambda stream, text: heard.append((stream, text)))
    assert (task.task_status(), task.stdout) == ("running", "one ")
    news.tell_printed("stderr", "careful")
    news.tell_printed("stdout", "two")
    news.set_result(ended(1))
    assert (task.stdout, task.stderr, news.text("stdout")) == ("one two", "careful", "one two")
    assert session.printed(task.tid)["stdout"] == "one two"
    from shoal.callbacks import drain

    assert drain(10.0)
    assert heard == [("stdout", "one "), ("stderr", "careful"), ("stdout", "two")]
    assert session.view().record(task.tid).worker == "host/7"


def test_cancelling_asks_where_it_runs(session: Session) -> None:
    """A yes cancels it here, a no leaves it; without anybody to ask it cannot be cancelled."""
    asked: list[bool] = []
    ends: list[Future[Ended]] = [Future() for _ in range(3)]

    def answer(whether: bool) -> bool:
        asked.append(whether)
        return whether

    yes = session.take_over("yes", ends[0], cancel=lambda: answer(True))
    no = session.take_over("no", ends[1], cancel=lambda: answer(False))
    alone = session.take_over("alone", ends[2])
    assert (yes.cancel(), no.cancel(), alone.cancel()) == (True, False, False)
    assert asked == [True, False]
    for end in ends:
        end.set_result(ended(1))
    assert yes.cancelled()
    assert (no.result(0), alone.result(0)) == (1, 1)


def test_closing_answers_it(start: Any, hand: ManualExecutor) -> None:
    """What comes later changes nothing, and a session that has ended takes nothing over."""
    session = start([hand])
    end: Future[Ended] = Future()
    task = session.take_over("fit", end)
    assert session.close() == 1
    assert isinstance(task.exception(0), SessionClosed)
    end.set_result(ended(1))
    with pytest.raises(NoSession):
        session.take_over("fit", Future())
