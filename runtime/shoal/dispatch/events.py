"""What the dispatch machine is told (events) and what it orders (commands)."""

from __future__ import annotations

import msgspec

from shoal.outcome import Failure
from shoal.wire.messages import Blob, Message, Result, RunningAttempt, Task

__all__ = [
    "AttemptsEnded",
    "AttemptsEndedElsewhere",
    "AttemptsReturned",
    "AttemptsRunning",
    "BlobArrived",
    "BlobsMissing",
    "CancelRequested",
    "CapacityExpected",
    "CapacityLost",
    "ClientGoneForGood",
    "ClientJoined",
    "ClientLeft",
    "Command",
    "DrainRequested",
    "Event",
    "Key",
    "ManagerDrained",
    "ManagerGone",
    "ManagerHeard",
    "ManagerRegistered",
    "ManagerSuspected",
    "ManagerTimedOut",
    "TasksSubmitted",
    "Ticked",
    "ToClient",
    "ToManager",
]

Key = tuple[int, int, int]
"""An attempt inside a pool: ``(client, tid, attempt)``."""


# --------------------------------------------------------------------------- events


class ClientJoined(msgspec.Struct, frozen=True):
    """A client said hello; it has this number from now on."""

    client: int


class ClientLeft(msgspec.Struct, frozen=True):
    """A client went away, on purpose or not."""

    client: int


class ClientGoneForGood(msgspec.Struct, frozen=True):
    """The process of a client will not come again; its tasks go on, and somebody else takes their results.

    Nobody tries again what fails, and nobody cancels what waits for it.
    """

    client: int


class TasksSubmitted(msgspec.Struct):
    """A client sent attempts to run.

    Args:
        client: which.
        tasks: each with its values, as far as they are not made in the pool.
        restored: the process before had them, and what they wait for.
    """

    client: int
    tasks: list[Task]
    restored: bool = False


class BlobArrived(msgspec.Struct):
    """A client sent a blob."""

    client: int
    blob: Blob


class CancelRequested(msgspec.Struct):
    """A client wants these attempts ended, whether they have begun or not."""

    client: int
    attempts: list[Key]


class ManagerRegistered(msgspec.Struct, frozen=True):
    """A manager joined.

    Args:
        manager: its number; never used twice.
        block: the block it belongs to.
        slots: how many one-core tasks it runs at once.
        name: for messages to people: host, block.
        memory: bytes of memory that its attempts may take in all; 0 if unknown.
        gpus: its accelerators.
    """

    manager: int
    block: int
    slots: int
    name: str
    memory: int = 0
    gpus: int = 0


class ManagerHeard(msgspec.Struct, frozen=True):
    """A manager gave a sign of life; ``window`` as in :class:`~shoal.wire.messages.Heartbeat`."""

    manager: int
    window: int = 0


class ManagerGone(msgspec.Struct, frozen=True):
    """A manager has ended, or is given up. What it had begun is lost.

    Args:
        manager: which.
        reason: for people.
        begun: what may have begun there, where that is known; None leaves it to the order in which it was sent.
    """

    manager: int
    reason: str
    begun: frozenset[Key] | None = None


class DrainRequested(msgspec.Struct, frozen=True):
    """A manager shall finish what it has begun and then end.

    Args:
        manager: which.
        gone: it cannot be told, for its process has ended; :class:`ManagerGone` follows, with the reason.
    """

    manager: int
    gone: bool = False


class AttemptsEnded(msgspec.Struct):
    """A manager sent results."""

    manager: int
    results: list[Result]


class AttemptsEndedElsewhere(msgspec.Struct):
    """Attempts that the machine does not know have ended, and their results are on their way."""

    results: list[Result]


class AttemptsRunning(msgspec.Struct):
    """A manager says which attempts have been running for a moment."""

    manager: int
    attempts: list[RunningAttempt]


class AttemptsReturned(msgspec.Struct):
    """A manager gave attempts back that had not begun; or they were not ``delivered`` to it, since it is gone."""

    manager: int
    attempts: list[Key]
    delivered: bool = True


class BlobsMissing(msgspec.Struct):
    """A manager does not have these blobs any more."""

    manager: int
    digests: list[bytes]


class CapacityLost(msgspec.Struct):
    """There is no manager and none will come: all that waits, and all that comes, ends with ``failure``."""

    failure: Failure


class CapacityExpected(msgspec.Struct, frozen=True):
    """Managers may come again, so tasks wait again."""


class Ticked(msgspec.Struct, frozen=True):
    """Time went by."""


Event = (
    ClientJoined
    | ClientLeft
    | ClientGoneForGood
    | TasksSubmitted
    | BlobArrived
    | CancelRequested
    | ManagerRegistered
    | ManagerHeard
    | ManagerGone
    | DrainRequested
    | AttemptsEnded
    | AttemptsEndedElsewhere
    | AttemptsRunning
    | AttemptsReturned
    | BlobsMissing
    | CapacityLost
    | CapacityExpected
    | Ticked
)


# --------------------------------------------------------------------------- commands


class ToClient(msgspec.Struct):
    """Send ``message`` to a client."""

    client: int
    message: Message


class ToManager(msgspec.Struct):
    """Send ``message`` to a manager."""

    manager: int
    message: Message


class ManagerSuspected(msgspec.Struct, frozen=True):
    """Say that a manager is silent."""

    manager: int
    silent: float


class ManagerTimedOut(msgspec.Struct, frozen=True):
    """A manager was silent for too long: make sure that it ends. It is gone for the machine."""

    manager: int
    reason: str


class ManagerDrained(msgspec.Struct, frozen=True):
    """A draining manager has nothing left: end it."""

    manager: int


Command = ToClient | ToManager | ManagerSuspected | ManagerTimedOut | ManagerDrained
