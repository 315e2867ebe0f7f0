"""What goes in and out of the graph machine.

Inputs are facts about tasks (past tense); outputs are orders to the session (imperative).
"""

from __future__ import annotations

import msgspec

from shoal.graph.states import TaskState

__all__ = [
    "AttemptFailed",
    "AttemptStarted",
    "AttemptSucceeded",
    "CancelRequested",
    "Closed",
    "Command",
    "Drop",
    "End",
    "Fact",
    "Launch",
    "TaskSubmitted",
]


class TaskSubmitted(msgspec.Struct, gc=False):
    """A task entered the graph.

    Args:
        tid: its number; larger than all before.
        inputs: the distinct tasks whose values it takes and that have not ended.
        failed_input: an input that has already ended without a value; None if there is none.
        retries: how many attempts it may have beyond the first.
    """

    tid: int
    inputs: tuple[int, ...] = ()
    failed_input: int | None = None
    retries: int = 0


class AttemptStarted(msgspec.Struct, gc=False):
    """An attempt is running."""

    tid: int
    attempt: int


class AttemptSucceeded(msgspec.Struct, gc=False):
    """An attempt ended with its values."""

    tid: int
    attempt: int


class AttemptFailed(msgspec.Struct, gc=False):
    """An attempt ended without values.

    Args:
        tid, attempt: which.
        final: True where another attempt would be no use (the task cannot be sent, say).
    """

    tid: int
    attempt: int
    final: bool = False


class CancelRequested(msgspec.Struct, gc=False):
    """Somebody wants the task not to run."""

    tid: int


class Closed(msgspec.Struct, gc=False):
    """The session ends: every unfinished task is cancelled."""


Fact = TaskSubmitted | AttemptStarted | AttemptSucceeded | AttemptFailed | CancelRequested | Closed


class Launch(msgspec.Struct, gc=False):
    """Give an attempt to the task's executor."""

    tid: int
    attempt: int


class Drop(msgspec.Struct, gc=False):
    """Tell the executor that nobody wants this attempt any more."""

    tid: int
    attempt: int


class End(msgspec.Struct, gc=False):
    """Answer the task's future.

    Args:
        tid: the task.
        state: one of the final states.
        cause: for SKIPPED, the input that ended without a value.
    """

    tid: int
    state: TaskState
    cause: int | None = None


Command = Launch | Drop | End
