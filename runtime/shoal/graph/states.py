"""The states of a task in the graph.

The codes of the first seven are those of the run's columns (:mod:`shoal.record.runs`); there a delayed task shows as queued,
a joining one as running.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ENDED", "TaskState"]


class TaskState(IntEnum):
    """Where a task stands."""

    WAITING = 0
    """Some of its inputs have not been made yet."""
    QUEUED = 1
    """An attempt was given to its executor."""
    RUNNING = 2
    """An attempt is known to be running."""
    DONE = 3
    FAILED = 4
    SKIPPED = 5
    """An input failed or was cancelled."""
    CANCELLED = 6
    DELAYED = 7
    """An attempt failed, and the next one waits for its time."""
    JOINING = 8
    """Its function has returned futures, and it waits for these."""


ENDED = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED})
"""The final states."""
