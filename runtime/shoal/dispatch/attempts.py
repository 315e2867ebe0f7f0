"""What the machine remembers of attempts, clients and managers."""

from __future__ import annotations

from collections import deque
from math import ceil

from shoal.dispatch.events import Key
from shoal.dispatch.states import AttemptState, ManagerState
from shoal.wire.messages import Task

__all__ = ["Attempt", "Client", "Manager"]

_QUEUED = AttemptState.QUEUED


class Attempt:
    """One attempt that has no outcome yet."""

    __slots__ = ("cores", "key", "load", "manager", "state", "task")

    def __init__(self, key: Key, task: Task) -> None:
        self.key = key
        self.task = task
        self.state = _QUEUED
        self.manager: Manager | None = None
        cores = task.cores
        self.cores = 1 if cores == 1.0 else max(1, ceil(cores))
        self.load = 0.0
        """Seconds that it was expected to take when it was sent; 0.0 if long or unknown."""


class Client:
    """One client: what waits, by priority, and how many cores its attempts hold."""

    __slots__ = ("_lines", "_order", "cores", "number", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.cores = 0
        self.waiting = 0
        self._lines: dict[int, deque[Attempt]] = {}
        self._order: list[int] = []

    def push(self, attempt: Attempt, first: bool = False) -> None:
        """Queue an attempt behind (or before) those of its priority."""
        line = self._lines.get(attempt.task.priority)
        if line is None:
            line = self._lines[attempt.task.priority] = deque()
            self._order = sorted(self._lines, reverse=True)
        if first:
            line.appendleft(attempt)
        else:
            line.append(attempt)
        self.waiting += 1

    def first(self) -> Attempt | None:
        """The next attempt; those that ended while they waited are dropped on the way."""
        while self._order:
            line = self._lines[self._order[0]]
            while line:
                attempt = line[0]
                if attempt.state is _QUEUED and attempt.manager is None:
                    return attempt
                line.popleft()
            del self._lines[self._order.pop(0)]
        return None

    def pop(self) -> None:
        """Take the attempt that ``first`` gave."""
        self._lines[self._order[0]].popleft()
        self.waiting -= 1

    def drop(self) -> list[Attempt]:
        """Empty the queue; returns what was in it."""
        left = [a for p in self._order for a in self._lines[p] if a.state is _QUEUED]
        self._lines, self._order, self.waiting = {}, [], 0
        return left


class Manager:
    """One manager: what it has, in the order in which it was sent, and how much more it may get."""

    __slots__ = (
        "block",
        "free",
        "heard",
        "known",
        "load",
        "longs",
        "moved",
        "name",
        "number",
        "outstanding",
        "slots",
        "state",
        "window",
    )

    def __init__(self, number: int, block: int, slots: int, name: str, now: float) -> None:
        self.number = number
        self.block = block
        self.slots = slots
        self.name = name
        self.state = ManagerState.UP
        self.free = slots
        """Cores not spoken for; negative when attempts wait there behind others."""
        self.longs = 0
        """Cores of attempts that are long, or may be."""
        self.load = 0.0
        """Seconds of work of the other attempts there."""
        self.outstanding: dict[Key, Attempt] = {}
        self.known: set[bytes] = set()
        self.window = 0
        """How many attempts its workers may have, as it last said; 0 while it has no workers."""
        self.heard = now
        self.moved = now
        """When it last ended or gave back an attempt."""

    def may_have_begun(self) -> list[tuple[Attempt, bool]]:
        """All that it has, each with whether a worker may have begun it.

        Managers hand out in the order in which they were sent to, and as many results as they have slots may have been
        on their way when they were lost.
        """
        running = AttemptState.RUNNING
        edge = self.window + self.slots if self.window else 0
        return [(a, i < edge or a.state is running) for i, a in enumerate(self.outstanding.values())]
