"""One task as the record of its run tells it."""

from __future__ import annotations

import msgspec

from shoal.card import duration
from shoal.events import CellRef

__all__ = ["AttemptRecord", "TaskRecord"]


class AttemptRecord(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a task.

    Args:
        attempt: its number, from 1.
        how: ``value``, ``memo`` (taken from the store), ``failure``, ``lost``, or the task's state while it goes on.
        worker: who ran it; empty if it never started.
        started, ended: epoch seconds; 0.0 if not (yet).
        error: one line; empty if none.
    """

    attempt: int
    how: str
    worker: str
    started: float
    ended: float
    error: str

    def __str__(self) -> str:
        """For people: one line."""
        where = f" on {self.worker}" if self.worker else ""
        took = f" after {duration(self.ended - self.started)}" if self.ended and self.started else ""
        return f"attempt {self.attempt}{where}: {self.how}{took}" + (f": {self.error}" if self.error else "")


class TaskRecord(msgspec.Struct, frozen=True):
    """What is known of a task.

    Args:
        tid: its number.
        label: the app's name.
        status: a name of :data:`shoal.record.runs.STATE_NAMES`.
        executor: the label of where it ran.
        depends_on: the tasks whose values it took.
        submitted, started, ended: epoch seconds, 0.0 if not (yet); of the last attempt.
        worker: who ran the last attempt.
        size: bytes of its values.
        error: one line; empty if none.
        cell: where in a notebook it was made.
        attempts: each attempt that was made, in order.
    """

    tid: int
    label: str
    status: str
    executor: str
    depends_on: tuple[int, ...]
    submitted: float
    started: float
    ended: float
    worker: str
    size: int
    error: str
    cell: CellRef | None
    attempts: tuple[AttemptRecord, ...]

    @property
    def fail_count(self) -> int:
        """How many attempts have failed or were lost."""
        return sum(a.how in ("failure", "lost") for a in self.attempts)
