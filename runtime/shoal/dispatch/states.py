"""The states of attempts and managers inside a pool, and every move between them, as tables.

A (state, event) pair that a table does not list is an :class:`~shoal.errors.InvalidTransition`.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from shoal.errors import InvalidTransition

__all__ = ["ATTEMPT_MOVES", "MANAGER_MOVES", "AttemptEvent", "AttemptState", "ManagerEvent", "ManagerState", "moved"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


class AttemptState(Enum):
    """Where an attempt is."""

    __hash__ = (
        object.__hash__
    )  # members are singletons; Enum's own is written in Python, and this is asked for each attempt

    QUEUED = "queued"
    """Waits in the pool for a free place."""
    PARKED = "parked"
    """Waits in the pool for a blob that its client has to send again."""
    SENT = "sent"
    """Is with a manager, and may be running."""
    RUNNING = "running"
    """Is known to run."""
    ENDED = "ended"
    """Has its outcome."""


class AttemptEvent(Enum):
    """What happens to an attempt."""

    __hash__ = (
        object.__hash__
    )  # members are singletons; Enum's own is written in Python, and this is asked for each attempt

    PARK = "park"
    UNPARK = "unpark"
    SEND = "send"
    START = "start"
    GIVE_BACK = "give-back"
    END = "end"


class ManagerState(Enum):
    """How a pool regards a manager."""

    UP = "up"
    """Gets tasks."""
    SUSPECT = "suspect"
    """Silent for too long: gets no new tasks."""
    DRAINING = "draining"
    """Gets no new tasks, and ends when it is done."""
    LOST = "lost"
    """Gone."""


class ManagerEvent(Enum):
    """What happens to a manager."""

    HEARD = "heard"
    SILENT = "silent"
    DRAIN = "drain"
    GONE = "gone"


_A, _E = AttemptState, AttemptEvent
ATTEMPT_MOVES: dict[tuple[AttemptState, AttemptEvent], AttemptState] = {
    (_A.QUEUED, _E.PARK): _A.PARKED,
    (_A.QUEUED, _E.SEND): _A.SENT,
    (_A.QUEUED, _E.END): _A.ENDED,
    (_A.PARKED, _E.UNPARK): _A.QUEUED,
    (_A.PARKED, _E.END): _A.ENDED,
    (_A.SENT, _E.START): _A.RUNNING,
    (_A.SENT, _E.GIVE_BACK): _A.QUEUED,
    (_A.SENT, _E.END): _A.ENDED,
    (_A.RUNNING, _E.END): _A.ENDED,
}
"""Every move of an attempt."""

_M, _W = ManagerState, ManagerEvent
MANAGER_MOVES: dict[tuple[ManagerState, ManagerEvent], ManagerState] = {
    (_M.UP, _W.HEARD): _M.UP,
    (_M.UP, _W.SILENT): _M.SUSPECT,
    (_M.UP, _W.DRAIN): _M.DRAINING,
    (_M.UP, _W.GONE): _M.LOST,
    (_M.SUSPECT, _W.HEARD): _M.UP,
    (_M.SUSPECT, _W.SILENT): _M.SUSPECT,
    (_M.SUSPECT, _W.DRAIN): _M.DRAINING,
    (_M.SUSPECT, _W.GONE): _M.LOST,
    (_M.DRAINING, _W.HEARD): _M.DRAINING,
    (_M.DRAINING, _W.SILENT): _M.DRAINING,
    (_M.DRAINING, _W.DRAIN): _M.DRAINING,
    (_M.DRAINING, _W.GONE): _M.LOST,
}
"""Every move of a manager."""


def moved(machine: str, moves: dict[tuple[S, E], S], state: S, event: E) -> S:
    """The state after ``event`` in ``state``.

    Raises:
        InvalidTransition: the table has no such entry.
    """
    try:
        return moves[state, event]
    except KeyError:
        raise InvalidTransition(machine, state.value, event.value) from None
