"""A run as the messages of the kernel's feed: a small head, and a binary column for each property that changed.

Up to :data:`MOST_TASKS` tasks are sent one by one, and then only what changed since the last message; above that they
are counted by label, and each message holds all the counts. Either way a message costs what changed, never a JSON
object a task. The reader is ``labextension/src/views/model.ts``. Nothing here knows threads or the time.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

from shoal.record.runs import DONE, STATE_NAMES, RunView

__all__ = ["MOST_GROUPS", "MOST_TASKS", "Encoder", "Message"]

MOST_TASKS = 2000
"""Up to this many tasks are sent one by one."""

MOST_GROUPS = 300
"""Above :data:`MOST_TASKS`: so many groups are sent, the largest ones; the head says how many are left out."""

_WIDTHS = {"u1": "B", "u4": "I", "f8": "d"}
_STATES = len(STATE_NAMES)


class Message(NamedTuple):
    """One message: ``head`` goes as JSON, ``buffers`` as they are, one for each of ``head["columns"]``."""

    head: dict[str, Any]
    buffers: list[bytes]


class Encoder:
    """Follows one session after another, and makes messages of what it saw."""

    def __init__(self) -> None:
        self.seq = 0
        self._start("")

    def _start(self, run: str) -> None:
        self.run = run
        self.ended = False
        self.version = -1
        self.state = bytearray()
        self.labels: dict[str, int] = {}
        self.workers: dict[str, int] = {"": 0}
        self.group = array("I")
        self.group_counts: list[list[int]] = []
        self.group_edges: dict[tuple[int, int], int] = {}
        self.counts = [0] * _STATES
        self.began = self.last = 0.0
        self.before = 0
        self.sent = _Sent()
        self.pending = True
        """Whether something happened that no message has told."""

    @property
    def active(self) -> bool:
        """Whether a task is not over."""
        return not self.ended and sum(self.counts[:DONE]) > 0

    def follow(self, run: str, view: RunView | None, ended: bool) -> None:
        """Take in what changed.

        Args:
            run: the session's run id; empty if there is none. A new one starts from nothing.
            view: its columns.
            ended: whether the session has ended.
        """
        if run != self.run:
            self._start(run)
        self.pending = self.pending or ended != self.ended
        self.ended = ended
        if view is None or view.version == self.version:
            return
        tids = view.changed_since(self.version)
        over = sum(self.counts[DONE:])
        idle = over == len(self.state)
        self.version = view.version
        fresh = [tid for tid in tids if tid >= len(self.state)]
        if fresh and idle:
            self.began, self.before = view.submitted[fresh[0]], over
        for tid in tids:
            self._take(view, tid)
        self.sent.changed.update(tids)
        self.view, self.pending = view, True

    def _take(self, view: RunView, tid: int) -> None:
        state = view.state[tid]
        if tid >= len(self.state):
            group = self.labels.setdefault(view.label[tid], len(self.labels))
            if group == len(self.group_counts):
                self.group_counts.append([0] * _STATES)
            self.group.append(group)
            self.state.append(state)
            for dep in view.deps[tid]:
                edge = (self.group[dep], group)
                if edge[0] != group:
                    self.group_edges[edge] = self.group_edges.get(edge, 0) + 1
        else:
            group = self.group[tid]
            self.group_counts[group][self.state[tid]] -= 1
            self.counts[self.state[tid]] -= 1
        self.state[tid] = state
        self.group_counts[group][state] += 1
        self.counts[state] += 1
        self.workers.setdefault(view.worker[tid], len(self.workers))
        self.last = max(self.last, view.ended[tid])

    # ------------------------------------------------------------------ messages

    @property
    def grouped(self) -> bool:
        """Whether there are too many tasks to send them one by one."""
        return len(self.state) > MOST_TASKS

    def delta(self, now: float) -> Message:
        """The next message for pages that have all before it.

        Args:
            now: seconds since the epoch.
        """
        self.seq += 1
        self.pending = False
        sent, self.sent = self.sent, _Sent(len(self.state), len(self.labels), len(self.workers), fresh=False)
        if self.grouped or sent.fresh:
            return self.snapshot(now)
        return self._tasks("delta", now, sorted(sent.changed), sent)

    def snapshot(self, now: float) -> Message:
        """All there is, as of the last message, for a page that has nothing; does not count as sent.

        Args:
            now: seconds since the epoch.
        """
        if self.grouped:
            return self._groups(now)
        return self._tasks("full", now, range(len(self.state)), _Sent())

    def _head(self, kind: str, now: float) -> dict[str, Any]:
        return {
            "kind": kind,
            "seq": self.seq,
            "run": self.run,
            "mode": "groups" if self.grouped else "tasks",
            "total": len(self.state),
            "counts": list(self.counts),
            "now": now,
            "began": self.began,
            "last": self.last,
            "before": self.before,
            "ended": self.ended,
            "hiddenGroups": 0,
            "hiddenTasks": 0,
            "labels": [],
            "labelBase": 0,
            "workers": [],
            "workerBase": 0,
            "firstNew": 0,
            "errors": {},
        }

    def _tasks(self, kind: str, now: float, tids: Iterable[int], sent: _Sent) -> Message:
        head = self._head(kind, now)
        head.update(labels=list(self.labels)[sent.labels :], labelBase=sent.labels, firstNew=sent.tasks)
        head.update(workers=list(self.workers)[sent.workers :], workerBase=sent.workers)
        tids = array("I", tids)
        if not tids:
            return _message(head, [])
        view = self.view
        head["errors"] = {str(tid): view.error[tid] for tid in tids if view.error[tid]}
        fresh = [view.deps[tid] for tid in tids if tid >= sent.tasks]
        return _message(
            head,
            [
                ("tid", "u4", tids),
                ("group", "u4", [self.group[tid] for tid in tids]),
                ("state", "u1", [self.state[tid] for tid in tids]),
                ("started", "f8", [view.started[tid] for tid in tids]),
                ("ended", "f8", [view.ended[tid] if self.state[tid] >= DONE else 0.0 for tid in tids]),
                ("worker", "u4", [self.workers.get(view.worker[tid], 0) for tid in tids]),
                ("dep_count", "u4", [len(deps) for deps in fresh]),
                ("dep", "u4", [dep for deps in fresh for dep in deps]),
            ],
        )

    def _groups(self, now: float) -> Message:
        head = self._head("full", now)
        sizes = [sum(counts) for counts in self.group_counts]
        largest = sorted(sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)[:MOST_GROUPS])
        place = {group: position for position, group in enumerate(largest)}
        names = list(self.labels)
        head["labels"] = [names[group] for group in largest]
        head["hiddenGroups"] = len(sizes) - len(largest)
        head["hiddenTasks"] = sum(sizes) - sum(sizes[group] for group in largest)
        edges = [(a, b, n) for (a, b), n in self.group_edges.items() if a in place and b in place]
        return _message(
            head,
            [
                ("counts", "u4", [count for group in largest for count in self.group_counts[group]]),
                ("edge_from", "u4", [place[a] for a, _, _ in edges]),
                ("edge_to", "u4", [place[b] for _, b, _ in edges]),
                ("edge_count", "u4", [n for _, _, n in edges]),
            ],
        )


class _Sent:
    """How far pages are: what the next message must add. ``fresh``: they know nothing of this run."""

    __slots__ = ("changed", "fresh", "labels", "tasks", "workers")

    def __init__(self, tasks: int = 0, labels: int = 0, workers: int = 0, fresh: bool = True) -> None:
        self.tasks, self.labels, self.workers, self.fresh = tasks, labels, workers, fresh
        self.changed: set[int] = set()


def _message(head: dict[str, Any], columns: Iterable[tuple[str, str, Iterable[Any]]]) -> Message:
    names: list[tuple[str, str]] = []
    buffers: list[bytes] = []
    for name, kind, values in columns:
        column = array(_WIDTHS[kind], values)
        if sys.byteorder == "big":
            column.byteswap()
        names.append((name, kind))
        buffers.append(column.tobytes())
    head["columns"] = names
    return Message(head, buffers)
