"""A run as columns: one row a task, made from the events of its log, incrementally."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

from shoal.events import (
    AttemptEnded,
    AttemptStarted,
    CellRef,
    Event,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskLaunched,
    TaskSubmitted,
)
from shoal.record.tasks import AttemptRecord, TaskRecord

__all__ = [
    "CANCELLED",
    "DONE",
    "FAILED",
    "QUEUED",
    "RUNNING",
    "SKIPPED",
    "STATE_NAMES",
    "WAITING",
    "RunView",
    "state_code",
]

WAITING, QUEUED, RUNNING, DONE, FAILED, SKIPPED, CANCELLED = range(7)
STATE_NAMES = ("waiting", "queued", "running", "done", "failed", "skipped", "cancelled")
"""Names of the state codes, in order."""

_SHOWN_AS = {"delayed": QUEUED, "joining": RUNNING}


def state_code(status: str) -> int:
    """The code for what ``future.task_status()`` says."""
    return _SHOWN_AS[status] if status in _SHOWN_AS else STATE_NAMES.index(status)


_ENDED = {"done": DONE, "failed": FAILED, "skipped": SKIPPED, "cancelled": CANCELLED}


class RunView:
    """The tasks of one run as columns indexed by task id.

    Attributes:
        run: the run's id; empty until its first event.
        began, ended_at: when the run began and ended (epoch seconds, 0.0 unknown).
        label, executor, worker, error: one string a task; ``error`` is one line, empty if none.
        state: one code of ``STATE_NAMES`` a task.
        deps: for each task the tasks whose values it takes.
        submitted, started, ended: epoch seconds, 0.0 unknown; ``started`` and ``ended`` are of the last attempt.
        attempts: how many attempts were made or are under way.
        size: bytes of the values.
        cell: where in the notebook it was made.
        parent: the join app's task whose body made it; -1 for none.
        counts: number of tasks in each state.
        version: grows with every change.
    """

    def __init__(self) -> None:
        self.run = ""
        self.began = 0.0
        self.ended_at = 0.0
        self.label: list[str] = []
        self.executor: list[str] = []
        self.worker: list[str] = []
        self.error: list[str] = []
        self.state = bytearray()
        self.deps: list[tuple[int, ...]] = []
        self.submitted = array("d")
        self.started = array("d")
        self.ended = array("d")
        self.attempts = array("I")
        self.size = array("Q")
        self.cell: list[CellRef | None] = []
        self.parent = array("q")
        self.counts = [0] * len(STATE_NAMES)
        self.version = 0
        self._changes: dict[int, int] = {}  # task -> version of its last change, in order of change
        self._missing: dict[int, int] = {}
        self._dependents: dict[int, list[int]] = {}
        self._failed: dict[int, list[AttemptRecord]] = {}  # attempts that failed; of most tasks there are none

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.state)

    def changed_since(self, version: int) -> list[int]:
        """The tasks that changed after ``version``, ascending."""
        found: list[int] = []
        for tid in reversed(self._changes):
            if self._changes[tid] <= version:
                break
            found.append(tid)
        found.sort()
        return found

    def record(self, tid: int) -> TaskRecord:
        """All that is known of one task.

        Raises:
            IndexError: there is no such task.
        """
        state = STATE_NAMES[self.state[tid]]
        attempts = list(self._failed.get(tid, ()))
        number = self.attempts[tid]
        if self.state[tid] in (RUNNING, DONE) or not attempts:
            last = attempts[-1].attempt if attempts else 0
            if number > last or self.started[tid]:
                ended = self.ended[tid] if self.state[tid] == DONE else 0.0
                how = "value" if self.state[tid] == DONE else state
                attempts.append(
                    AttemptRecord(max(number, last + 1), how, self.worker[tid], self.started[tid], ended, "")
                )
        return TaskRecord(
            tid, self.label[tid], state, self.executor[tid], self.deps[tid], self.submitted[tid], self.started[tid],
            self.ended[tid], self.worker[tid], self.size[tid], self.error[tid], self.cell[tid], tuple(attempts),
        )  # fmt: skip

    def apply(self, events: Iterable[Event]) -> None:
        """Take in the next events of the run's log."""
        for event in events:
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)

    # ------------------------------------------------------------------ one method an event

    def _run_started(self, event: RunStarted) -> None:
        self.run, self.began = event.run, event.time

    def _run_ended(self, event: RunEnded) -> None:
        self.ended_at = event.time

    def _submitted(self, event: TaskSubmitted) -> None:
        tid = event.tid
        if tid < len(self.state):
            return
        while len(self.state) < tid:  # a number that was taken for a submission that did not come about
            self._add(TaskSubmitted(event.time, len(self.state), "", "", [], [], (), b"", b"", b""))
            self._move(len(self.state) - 1, CANCELLED)
        self._add(event)

    def _add(self, event: TaskSubmitted) -> None:
        tid = event.tid
        self.label.append(event.label)
        self.executor.append(event.executor)
        self.worker.append("")
        self.error.append("")
        self.deps.append(tuple(dict.fromkeys(value.task for value in event.values)))
        self.submitted.append(event.time)
        self.started.append(0.0)
        self.ended.append(0.0)
        self.attempts.append(0)
        self.size.append(0)
        self.cell.append(event.cell)
        self.parent.append(event.parent)
        waiting = [dep for dep in event.waiting_for if self.state[dep] < DONE]
        state = WAITING if waiting else QUEUED
        self.state.append(state)
        self.counts[state] += 1
        self._touch(tid)
        if waiting:
            self._missing[tid] = len(waiting)
            for dep in waiting:
                self._dependents.setdefault(dep, []).append(tid)

    def _launched(self, event: TaskLaunched) -> None:
        self.attempts[event.tid] = event.attempt
        self._move(event.tid, QUEUED)

    def _attempt_started(self, event: AttemptStarted) -> None:
        tid = event.tid
        if self.state[tid] < DONE:
            self.worker[tid] = event.worker
            self.started[tid] = event.time
            self._move(tid, RUNNING)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        tid = event.tid
        if self.state[tid] >= DONE:
            return
        self.worker[tid] = event.worker
        self.started[tid], self.ended[tid] = event.started, event.ended
        self.attempts[tid] = max(event.attempt, self.attempts[tid])
        self.size[tid] = event.size
        self.error[tid] = event.error
        if event.kind in ("value", "memo"):
            self._finish(tid, DONE)
        elif event.kind == "joined":
            self._move(tid, RUNNING)
        else:
            record = AttemptRecord(event.attempt, event.kind, event.worker, event.started, event.ended, event.error)
            self._failed.setdefault(tid, []).append(record)
            self._touch(tid)

    def _task_ended(self, event: TaskEnded) -> None:
        tid = event.tid
        self.error[tid] = event.error
        if not self.ended[tid]:
            self.ended[tid] = event.time
        self._finish(tid, _ENDED[event.state])

    # ------------------------------------------------------------------ helpers

    def _finish(self, tid: int, state: int) -> None:
        self._move(tid, state)
        self._missing.pop(tid, None)
        for dependent in self._dependents.pop(tid, ()):
            left = self._missing.get(dependent, 0) - 1
            if left > 0:
                self._missing[dependent] = left
            elif self._missing.pop(dependent, None) is not None and state == DONE:
                self._move(dependent, QUEUED)

    def _move(self, tid: int, state: int) -> None:
        self.counts[self.state[tid]] -= 1
        self.counts[state] += 1
        self.state[tid] = state
        self._touch(tid)

    def _touch(self, tid: int) -> None:
        self.version += 1
        self._changes.pop(tid, None)
        self._changes[tid] = self.version


_HANDLERS: dict[type, Callable[..., None]] = {
    RunStarted: RunView._run_started,
    RunEnded: RunView._run_ended,
    TaskSubmitted: RunView._submitted,
    TaskLaunched: RunView._launched,
    AttemptStarted: RunView._attempt_started,
    AttemptEnded: RunView._attempt_ended,
    TaskEnded: RunView._task_ended,
}
