"""What goes in and out of the graph machine.

Inputs are facts about tasks (past tense); outputs are orders to the session (imperative).
"""

from __future__ import annotations

import msgspec

from shoal.graph.states import TaskState

__all__ = [
    "AttemptFailed",
    "AttemptJoined",
    "AttemptStarted",
    "AttemptSucceeded",
    "CancelRequested",
    "Closed",
    "Command",
    "Delay",
    "DelayOver",
    "Drop",
    "End",
    "Fact",
    "InputFailed",
    "Join",
    "Joined",
    "Launch",
    "TaskSubmitted",
]


class TaskSubmitted(msgspec.Struct, gc=False):
    """A task entered the graph.

    Args:
        tid: its number; larger than all before.
        inputs: the distinct tasks whose values it takes and that have not ended.
        failed_input: an input that has already ended without a value; None if there is none.
        retries: the failures that it may have before it fails, as the sum of their costs.
    """

    tid: int
    inputs: tuple[int, ...] = ()
    failed_input: int | None = None
    retries: float = 0


class AttemptStarted(msgspec.Struct, gc=False):
    """An attempt is running."""

    tid: int
    attempt: int


class AttemptSucceeded(msgspec.Struct, gc=False):
    """An attempt ended with its values.

    Args:
        tid, attempt: which.
        flawed: some of its values are failures; another attempt is made while there is budget for it.
    """

    tid: int
    attempt: int
    flawed: bool = False


class AttemptFailed(msgspec.Struct, gc=False):
    """An attempt ended without values.

    Args:
        tid, attempt: which.
        final: True where another attempt would be no use (the task cannot be sent, say).
        cost: what it takes from the budget of retries.
        delay: seconds to wait before another attempt.
    """

    tid: int
    attempt: int
    final: bool = False
    cost: float = 1.0
    delay: float = 0.0


class AttemptJoined(msgspec.Struct, gc=False):
    """An attempt ended, and its value depends on tasks that it named.

    Args:
        tid, attempt: which.
        inputs: the distinct tasks to wait for.
        failed_input: one of them that has already ended without a value; None if there is none.
    """

    tid: int
    attempt: int
    inputs: tuple[int, ...] = ()
    failed_input: int | None = None


class Joined(msgspec.Struct, gc=False):
    """All tasks that a joining task waited for have ended with values; or ``cause`` has none for it after all."""

    tid: int
    cause: int | None = None


class InputFailed(msgspec.Struct, gc=False):
    """An input of a task that is to be launched ended well, but has no value for this one."""

    tid: int
    cause: int


class DelayOver(msgspec.Struct, gc=False):
    """The time before another attempt has passed; ``attempt`` is the one that failed."""

    tid: int
    attempt: int


class CancelRequested(msgspec.Struct, gc=False):
    """Somebody wants the task not to run.

    Args:
        tid: which.
        stopped: its attempt, if one is under way, has been stopped; False if it runs and cannot be.
    """

    tid: int
    stopped: bool = True


class Closed(msgspec.Struct, gc=False):
    """The session ends: every unfinished task is cancelled."""


Fact = (
    TaskSubmitted
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | AttemptJoined
    | Joined
    | InputFailed
    | DelayOver
    | CancelRequested
    | Closed
)


class Launch(msgspec.Struct, gc=False):
    """Give an attempt to the task's executor."""

    tid: int
    attempt: int


class Drop(msgspec.Struct, gc=False):
    """Tell the executor that nobody wants this attempt any more."""

    tid: int
    attempt: int


class Delay(msgspec.Struct, gc=False):
    """Say ``DelayOver(tid, attempt)`` after so many seconds."""

    tid: int
    attempt: int
    seconds: float


class Join(msgspec.Struct, gc=False):
    """Look whether the values that a joining task waited for are all there, and answer with ``Joined``."""

    tid: int


class End(msgspec.Struct, gc=False):
    """Answer the task's future.

    Args:
        tid: the task.
        state: one of the final states.
        cause: for SKIPPED, the input that ended without a value; for a FAILED join, the task that it joined.
    """

    tid: int
    state: TaskState
    cause: int | None = None


Command = Launch | Drop | Delay | Join | End
