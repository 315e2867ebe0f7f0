"""The states of a block, and every move between them, as one table.

A (state, event) pair that the table does not list is an :class:`~shoal.errors.InvalidTransition`.
"""

from __future__ import annotations

from enum import Enum

from shoal.errors import InvalidTransition

__all__ = ["BLOCK_MOVES", "LIVE", "BlockEvent", "BlockState", "moved"]


class BlockState(Enum):
    """Where a block is."""

    REQUESTED = "requested"
    """The provider has been asked, and has not answered."""
    PENDING = "pending"
    """The provider has taken the job; nothing of it was heard yet."""
    RUNNING = "running"
    """A manager of it has registered."""
    ENDED = "ended"
    """It ended as it should: drained, or at the end of its pool."""
    FAILED = "failed"
    """It ended otherwise, or never came up."""
    CANCELLED = "cancelled"
    """It was taken back before it ran."""


class BlockEvent(Enum):
    """What happens to a block."""

    ACCEPT = "accept"
    """The provider gave it a job id."""
    ARRIVE = "arrive"
    """A manager of it registered."""
    END = "end"
    """Its job ended, as it should."""
    FAIL = "fail"
    """The provider refused it, or its job ended otherwise, or its workers do not start."""
    CANCEL = "cancel"
    """It is not wanted any more."""


_S, _E = BlockState, BlockEvent
BLOCK_MOVES: dict[tuple[BlockState, BlockEvent], BlockState] = {
    (_S.REQUESTED, _E.ACCEPT): _S.PENDING,
    (_S.REQUESTED, _E.ARRIVE): _S.RUNNING,
    (_S.REQUESTED, _E.END): _S.ENDED,
    (_S.REQUESTED, _E.FAIL): _S.FAILED,
    (_S.REQUESTED, _E.CANCEL): _S.CANCELLED,
    (_S.PENDING, _E.ARRIVE): _S.RUNNING,
    (_S.PENDING, _E.END): _S.ENDED,
    (_S.PENDING, _E.FAIL): _S.FAILED,
    (_S.PENDING, _E.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _E.ACCEPT): _S.RUNNING,
    (_S.RUNNING, _E.ARRIVE): _S.RUNNING,
    (_S.RUNNING, _E.END): _S.ENDED,
    (_S.RUNNING, _E.FAIL): _S.FAILED,
    (_S.RUNNING, _E.CANCEL): _S.ENDED,
}
"""Every move of a block. A manager may register before the provider's answer has been read."""

LIVE = frozenset({BlockState.REQUESTED, BlockState.PENDING, BlockState.RUNNING})
"""States from which a block can still serve."""


def moved(state: BlockState, event: BlockEvent) -> BlockState:
    """The state after ``event`` in ``state``.

    Raises:
        InvalidTransition: the table has no such entry.
    """
    try:
        return BLOCK_MOVES[state, event]
    except KeyError:
        raise InvalidTransition("block", state.value, event.value) from None
