"""The states of a task in the graph, and its transition table's shape.

The codes are those of the run's columns (:mod:`shoal.record.runs`): what the views show is what the machine does.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ENDED", "TaskState"]


class TaskState(IntEnum):
    """Where a task stands. The last four are final."""

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


ENDED = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED})
"""The final states."""
