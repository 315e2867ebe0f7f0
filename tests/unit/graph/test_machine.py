"""The graph machine, without any I/O."""

from __future__ import annotations

import pytest

from shoal.errors import InvalidTransition
from shoal.graph.commands import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Closed,
    Drop,
    End,
    Launch,
    TaskSubmitted,
)
from shoal.graph.machine import TABLE, GraphMachine
from shoal.graph.states import ENDED, TaskState


def test_a_task_without_inputs_is_launched_at_once() -> None:
    """Submission of an independent task launches its first attempt."""
    machine = GraphMachine()
    assert machine.handle(TaskSubmitted(0)) == [Launch(0, 1)]
    assert machine.state(0) is TaskState.QUEUED


def test_a_task_waits_for_all_its_inputs() -> None:
    """The last input to end launches the dependent."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1))
    assert machine.handle(TaskSubmitted(2, inputs=(0, 1))) == []
    assert machine.state(2) is TaskState.WAITING
    assert machine.handle(AttemptSucceeded(0, 1)) == [End(0, TaskState.DONE)]
    assert machine.handle(AttemptSucceeded(1, 1)) == [End(1, TaskState.DONE), Launch(2, 1)]


def test_an_input_that_ended_already_is_not_waited_for() -> None:
    """Inputs unknown to the machine have ended with a value (the session says when one failed)."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(AttemptSucceeded(0, 1))
    assert machine.handle(TaskSubmitted(1, inputs=(0,))) == [Launch(1, 1)]


def test_a_failure_skips_everything_downstream_naming_the_direct_input() -> None:
    """Each skipped task names the input through which the failure reached it."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1, inputs=(0,)))
    machine.handle(TaskSubmitted(2, inputs=(1,)))
    assert machine.handle(AttemptFailed(0, 1)) == [
        End(0, TaskState.FAILED),
        End(1, TaskState.SKIPPED, 0),
        End(2, TaskState.SKIPPED, 1),
    ]
    assert len(machine) == 0


def test_a_task_with_a_failed_input_is_skipped_at_submission() -> None:
    """What has already failed is never waited for."""
    assert GraphMachine().handle(TaskSubmitted(5, failed_input=3)) == [End(5, TaskState.SKIPPED, 3)]


def test_retries_launch_further_attempts_and_then_fail() -> None:
    """With two retries there are three attempts."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=2))
    assert machine.handle(AttemptFailed(0, 1)) == [Launch(0, 2)]
    assert machine.handle(AttemptFailed(0, 2)) == [Launch(0, 3)]
    assert machine.handle(AttemptFailed(0, 3)) == [End(0, TaskState.FAILED)]


def test_a_final_failure_is_not_retried() -> None:
    """What would fail again in the same way is not tried again."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=5))
    assert machine.handle(AttemptFailed(0, 1, final=True)) == [End(0, TaskState.FAILED)]


def test_the_late_value_of_an_earlier_attempt_ends_the_task() -> None:
    """A value is a value: the attempt that replaced the slow one is dropped."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=1))
    machine.handle(AttemptFailed(0, 1))
    assert machine.handle(AttemptSucceeded(0, 1)) == [End(0, TaskState.DONE), Drop(0, 2)]


def test_the_late_failure_of_an_earlier_attempt_is_ignored() -> None:
    """An attempt that was given up cannot fail its task a second time."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=1))
    machine.handle(AttemptFailed(0, 1))
    assert machine.handle(AttemptFailed(0, 1)) == []
    assert machine.state(0) is TaskState.QUEUED


def test_cancelling_a_queued_task_drops_its_attempt_and_skips_dependents() -> None:
    """A cancelled input fails those that need it."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1, inputs=(0,)))
    assert machine.handle(CancelRequested(0)) == [Drop(0, 1), End(0, TaskState.CANCELLED), End(1, TaskState.SKIPPED, 0)]


def test_a_running_task_is_not_cancelled() -> None:
    """The caller sees that no end follows."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(AttemptStarted(0, 1))
    assert machine.handle(CancelRequested(0)) == []
    assert machine.state(0) is TaskState.RUNNING


def test_closing_ends_every_task_once() -> None:
    """Whatever is unfinished is answered."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1, inputs=(0,)))
    assert machine.handle(Closed()) == [Drop(0, 1), End(0, TaskState.CANCELLED), End(1, TaskState.CANCELLED)]


def test_news_of_an_ended_task_is_dropped() -> None:
    """Late reports change nothing."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(AttemptSucceeded(0, 1))
    for fact in (AttemptSucceeded(0, 1), AttemptFailed(0, 1), AttemptStarted(0, 1), CancelRequested(0)):
        assert machine.handle(fact) == []


def test_task_numbers_only_grow() -> None:
    """A number cannot come twice: the log and the views count on it."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(3))
    with pytest.raises(InvalidTransition):
        machine.handle(TaskSubmitted(3))


def test_an_attempt_cannot_end_before_it_was_launched() -> None:
    """A waiting task has no attempts: news of one is an error, not silently taken."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1, inputs=(0,)))
    with pytest.raises(InvalidTransition):
        machine.handle(AttemptSucceeded(1, 1))


def test_the_table_is_total() -> None:
    """Each unfinished state has an entry, or a named error, for each fact; ended states have none."""
    facts = (AttemptStarted, AttemptSucceeded, AttemptFailed, CancelRequested)
    missing = {
        (state, fact) for state in TaskState if state not in ENDED for fact in facts if (state, fact) not in TABLE
    }
    assert missing == {(TaskState.WAITING, f) for f in (AttemptStarted, AttemptSucceeded, AttemptFailed)}
    assert not [entry for entry in TABLE if entry[0] in ENDED]
