"""The graph machine, without any I/O."""

from __future__ import annotations

import pytest

from shoal.errors import InvalidTransition
from shoal.graph.commands import (
    AttemptFailed,
    AttemptJoined,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Closed,
    Delay,
    DelayOver,
    Drop,
    End,
    InputFailed,
    Join,
    Joined,
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


def test_cancelling_a_queued_task_skips_dependents() -> None:
    """A cancelled input fails those that need it; its attempt was stopped before."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1, inputs=(0,)))
    assert machine.handle(CancelRequested(0)) == [End(0, TaskState.CANCELLED), End(1, TaskState.SKIPPED, 0)]


def test_a_running_task_that_cannot_be_stopped_is_not_cancelled() -> None:
    """The caller sees that no end follows."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(AttemptStarted(0, 1))
    assert machine.handle(CancelRequested(0, stopped=False)) == []
    assert machine.state(0) is TaskState.RUNNING
    assert machine.handle(CancelRequested(0)) == [End(0, TaskState.CANCELLED)]


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


def test_costs_are_taken_from_the_budget() -> None:
    """Half a retry lasts for a failure that costs half."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=1))
    assert machine.handle(AttemptFailed(0, 1, cost=0.5)) == [Launch(0, 2)]
    assert machine.handle(AttemptFailed(0, 2, cost=0.5)) == [Launch(0, 3)]
    assert machine.handle(AttemptFailed(0, 3, cost=0.1)) == [End(0, TaskState.FAILED)]


def test_an_attempt_can_be_delayed() -> None:
    """The wait is ordered, and its end launches the next attempt."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=1))
    assert machine.handle(AttemptFailed(0, 1, delay=2.5)) == [Delay(0, 1, 2.5)]
    assert machine.state(0) is TaskState.DELAYED
    assert machine.attempt(0) == 0
    assert machine.handle(DelayOver(0, 1)) == [Launch(0, 2)]


def test_a_value_that_comes_late_ends_a_delayed_task() -> None:
    """It was given up as lost, and was not."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=1))
    machine.handle(AttemptFailed(0, 1, delay=2.5))
    assert machine.handle(AttemptSucceeded(0, 1)) == [End(0, TaskState.DONE)]
    assert machine.handle(DelayOver(0, 1)) == []


def test_a_join_ends_with_what_it_joined() -> None:
    """The last task to end makes the session look at the values; then the join is done, and what waited for it runs."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1))
    machine.handle(TaskSubmitted(2, inputs=(1,)))
    assert machine.handle(AttemptJoined(1, 1, inputs=(0,))) == []
    assert machine.state(1) is TaskState.JOINING
    assert machine.handle(AttemptSucceeded(0, 1)) == [End(0, TaskState.DONE), Join(1)]
    assert machine.handle(Joined(1)) == [End(1, TaskState.DONE), Launch(2, 1)]


def test_a_join_of_nothing_unfinished_is_looked_at_at_once() -> None:
    """Whatever it returned has its values already."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    assert machine.handle(AttemptJoined(0, 1)) == [Join(0)]


def test_a_join_fails_with_a_task_that_it_joined() -> None:
    """It is not skipped, for it has run; what waits for it is."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1))
    machine.handle(TaskSubmitted(2, inputs=(1,)))
    machine.handle(AttemptJoined(1, 1, inputs=(0,)))
    assert machine.handle(AttemptFailed(0, 1)) == [
        End(0, TaskState.FAILED),
        End(1, TaskState.FAILED, 0),
        End(2, TaskState.SKIPPED, 1),
    ]


def test_a_join_that_would_wait_for_itself_fails() -> None:
    """Nothing pends for ever: neither a join of itself, nor of what waits for it."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1, inputs=(0,)))
    assert machine.handle(AttemptJoined(0, 1, inputs=(1,))) == [
        End(0, TaskState.FAILED, 1),
        End(1, TaskState.SKIPPED, 0),
    ]
    machine.handle(TaskSubmitted(2))
    assert machine.handle(AttemptJoined(2, 1, inputs=(2,))) == [End(2, TaskState.FAILED, 2)]


def test_flawed_values_are_tried_again_while_there_is_budget() -> None:
    """The last attempt's values count, flawed as they are."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0, retries=1))
    assert machine.handle(AttemptSucceeded(0, 1, flawed=True)) == [Launch(0, 2)]
    assert machine.handle(AttemptSucceeded(0, 2, flawed=True)) == [End(0, TaskState.DONE)]


def test_a_task_whose_input_has_nothing_for_it_is_skipped() -> None:
    """The input ended well as a whole: one element of a map failed."""
    machine = GraphMachine()
    machine.handle(TaskSubmitted(0))
    machine.handle(TaskSubmitted(1, inputs=(0,)))
    machine.handle(TaskSubmitted(2, inputs=(1,)))
    assert machine.handle(AttemptSucceeded(0, 1, flawed=True)) == [End(0, TaskState.DONE), Launch(1, 1)]
    assert machine.handle(InputFailed(1, 0)) == [End(1, TaskState.SKIPPED, 0), End(2, TaskState.SKIPPED, 1)]


def test_the_table_is_total() -> None:
    """Each unfinished state has an entry, or a named error, for each fact; ended states have none."""
    facts = (AttemptStarted, AttemptSucceeded, AttemptFailed, AttemptJoined, CancelRequested)
    missing = {
        (state, fact) for state in TaskState if state not in ENDED for fact in facts if (state, fact) not in TABLE
    }
    assert missing == {(TaskState.WAITING, f) for f in facts if f is not CancelRequested}
    assert not [entry for entry in TABLE if entry[0] in ENDED]
    answers = {entry for entry in TABLE if entry[1] in (DelayOver, Joined, InputFailed)}
    assert answers == {
        (TaskState.DELAYED, DelayOver),
        (TaskState.JOINING, Joined),
        (TaskState.QUEUED, InputFailed),
    }, "what the session answers comes in the state that asked for it"
