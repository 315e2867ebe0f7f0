"""What the machine remembers of attempts, clients and managers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain, islice
from math import ceil
from typing import NamedTuple

from shoal.dispatch.events import Key, ManagerRegistered
from shoal.dispatch.states import AttemptState, ManagerState
from shoal.wire.messages import Task

__all__ = ["LOOK", "Attempt", "Client", "Line", "Manager", "Needs", "Needy"]

_QUEUED = AttemptState.QUEUED

LOOK = 64
"""Lines of a client that are looked at in one go, the oldest of the highest priority first."""


class Needs(NamedTuple):
    """What an attempt takes of a manager while it is there: cores, bytes of memory, accelerators."""

    cores: int
    memory: int
    gpus: int


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


class Needy(Attempt):
    """An attempt that needs memory or accelerators."""

    __slots__ = ("aside", "claim", "needs", "since")

    def __init__(self, key: Key, task: Task) -> None:
        super().__init__(key, task)
        self.needs = Needs(self.cores, max(0, task.memory), max(0, task.gpus))
        self.since = -1.0
        """When its turn had come for the first time; below 0 before that."""
        self.aside = False
        """Whether it has stepped aside, since there was no room for it then."""
        self.claim: Manager | None = None
        """The manager that is being cleared for it."""


class Line:
    """Attempts of one client with one priority and the same needs that stepped aside, in the order of their turns."""

    __slots__ = ("_attempts",)

    def __init__(self) -> None:
        self._attempts: deque[Needy] = deque()

    def push(self, attempt: Needy, first: bool) -> None:
        """Queue an attempt."""
        if first:
            self._attempts.appendleft(attempt)
        else:
            self._attempts.append(attempt)

    def first(self) -> Needy | None:
        """The next attempt; those that ended while they waited are dropped on the way."""
        attempts = self._attempts
        while attempts:
            attempt = attempts[0]
            if attempt.state is _QUEUED:
                return attempt
            attempts.popleft()
        return None

    def remove(self, attempt: Needy) -> None:
        """Take an attempt out; it is at the front, or near it."""
        self._attempts.remove(attempt)

    def waiting(self) -> list[Attempt]:
        """All that waits here."""
        return [a for a in self._attempts if a.state is _QUEUED]


class Client:
    """One client: what waits, by priority, and how many cores its attempts hold."""

    __slots__ = ("_aside", "_lines", "_order", "cores", "number", "untried", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.cores = 0
        self.waiting = 0
        self.untried: list[Line] = []
        """Lines to be looked at now, the next one last: they go before others of their priority."""
        self._lines: dict[int, deque[Attempt]] = {}
        self._order: list[int] = []
        self._aside: dict[int, dict[Needs, Line]] = {}

    def push(self, attempt: Attempt, first: bool = False) -> None:
        """Queue an attempt behind (or before) those of its priority."""
        line = self.line(attempt.task.priority)
        if first:
            line.appendleft(attempt)
        else:
            line.append(attempt)
        self.waiting += 1

    def line(self, priority: int) -> deque[Attempt]:
        """The queue of that priority; whoever adds to it counts what is ``waiting``, too."""
        line = self._lines.get(priority)
        if line is None:
            line = self._lines[priority] = deque()
            self._order = sorted(self._lines, reverse=True)
        return line

    def first(self) -> Attempt | None:
        """The next attempt; those that ended while they waited are dropped on the way."""
        found = None
        while self._order:
            line = self._lines[self._order[0]]
            while line:
                attempt = line[0]
                if attempt.state is _QUEUED and attempt.manager is None:
                    found = attempt
                    break
                line.popleft()
            if found is not None:
                break
            del self._lines[self._order.pop(0)]
        return self._either(found) if self.untried else found

    def pop(self) -> None:
        """Take the attempt that ``first`` gave, unless that had stepped aside."""
        self._lines[self._order[0]].popleft()
        self.waiting -= 1

    def pop_alike(self, task: Task, most: int) -> list[Attempt]:
        """Take those that come next, as long as they need one core and the same blobs as a task that was just taken.

        Args:
            task: that one.
            most: how many at most.
        """
        line = self._lines[self._order[0]]
        code, captures = task.code, task.captures
        found: list[Attempt] = []
        while line and len(found) < most:
            attempt = line[0]
            if attempt.cores != 1 or attempt.state is not _QUEUED or attempt.manager is not None:
                break
            if attempt.task.code != code or attempt.task.captures != captures or type(attempt) is Needy:
                break
            found.append(line.popleft())
        self.waiting -= len(found)
        return found

    def drop(self) -> list[Attempt]:
        """Empty the queue; returns what was in it."""
        left = [a for p in self._order for a in self._lines[p] if a.state is _QUEUED]
        left += [a for line in self._all_lines() for a in line.waiting()]
        self._lines, self._order, self.waiting = {}, [], 0
        self._aside, self.untried = {}, []
        return left

    # ------------------------------------------------------------------ what stepped aside

    def step_aside(self, attempt: Needy, first: bool = False) -> None:
        """Let those behind an attempt go on; it waits in a line of its like."""
        attempt.aside = True
        lines = self._aside.setdefault(attempt.task.priority, {})
        line = lines.get(attempt.needs)
        if line is None:
            line = lines[attempt.needs] = Line()
        line.push(attempt, first)
        self.waiting += 1

    def come_forward(self, attempt: Needy) -> None:
        """Take an attempt that stepped aside: there is room for it."""
        attempt.aside = False
        self._aside[attempt.task.priority][attempt.needs].remove(attempt)
        self.waiting -= 1

    def has_like(self, attempt: Needy) -> bool:
        """Whether others of the same needs and priority have stepped aside."""
        line = self._aside.get(attempt.task.priority, {}).get(attempt.needs)
        return line is not None and line.first() is not None

    def lines(self) -> list[Line]:
        """The first lines, highest priority and oldest first; empty ones are forgotten."""
        for priority in list(self._aside):
            lines = self._aside[priority]
            for needs in [n for n, line in islice(lines.items(), LOOK) if line.first() is None]:
                del lines[needs]
            if not lines:
                del self._aside[priority]
        return list(islice(self._all_lines(), LOOK))

    @property
    def many_lines(self) -> bool:
        """Whether it has more lines than are looked at in one go."""
        return sum(map(len, self._aside.values())) > LOOK

    def _either(self, queued: Attempt | None) -> Attempt | None:
        """The next attempt, where there are lines to be looked at and this is the next in the queue."""
        while self.untried:
            attempt = self.untried[-1].first()
            if attempt is not None:
                return attempt if queued is None or attempt.task.priority >= queued.task.priority else queued
            self.untried.pop()
        return queued

    def _all_lines(self) -> chain[Line]:
        return chain.from_iterable(self._aside[p].values() for p in sorted(self._aside, reverse=True))


class Manager:
    """One manager: what it has, in the order in which it was sent, and how much more it may get."""

    __slots__ = (
        "_recalls",
        "block",
        "claim",
        "free",
        "gpus",
        "gpus_left",
        "heard",
        "kept",
        "known",
        "load",
        "longs",
        "memory",
        "memory_left",
        "moved",
        "name",
        "number",
        "outstanding",
        "shelf",
        "slots",
        "state",
        "window",
    )

    def __init__(self, event: ManagerRegistered, now: float) -> None:
        self.number = event.manager
        self.block = event.block
        self.slots = event.slots
        self.name = event.name
        self.memory = self.memory_left = event.memory
        self.gpus = self.gpus_left = event.gpus
        self.state = ManagerState.UP
        self.free = event.slots
        """Cores not spoken for; negative when attempts wait there behind others, or a claim waits for cores."""
        self.shelf = 0
        """The bucket of free cores in which it lies (see ``places``): as many as ``free``, or were before it got more."""
        self.claim: Needy | None = None
        """The attempt for which it is being cleared. What is left of memory and accelerators is counted without what
        that needs, so it can be negative."""
        self.kept = 0
        """Cores kept for the claim; ``free`` is counted without them."""
        self.longs = 0
        """Cores of attempts that are long, or may be."""
        self.load = 0.0
        """Seconds of work of the other attempts there."""
        self.outstanding: dict[Key, Attempt] = {}
        self._recalls: deque[set[Key]] = deque()
        self.known: set[bytes] = set()
        self.window = 0
        """How many attempts its workers may have, as it last said; 0 while it has no workers."""
        self.heard = now
        """When it last gave a sign of life, by the clock of the machine, which stands still while that does not run."""
        self.moved = now
        """When it last ended or gave back an attempt, by that clock."""

    def has_room(self, needs: Needs) -> bool:
        """Whether it can take an attempt of these needs now."""
        return self.free >= needs.cores and self.memory_left >= needs.memory and self.gpus_left >= needs.gpus

    def could_hold(self, needs: Needs) -> bool:
        """Whether it could take an attempt of these needs if it had nothing else."""
        return self.slots >= needs.cores and self.memory >= needs.memory and self.gpus >= needs.gpus

    def recall(self) -> None:
        """It is being asked to give back what has not begun; the answer will tell what that is."""
        self._recalls.append(set(self.outstanding).difference(*self._recalls))

    def answered_recall(self) -> None:
        """It has answered the oldest of those requests."""
        if self._recalls:
            self._recalls.popleft()

    def may_have_begun(self, unsure: Callable[[Key], bool]) -> list[tuple[Attempt, bool]]:
        """All that it has, each with whether a worker may have begun it.

        Managers hand out in the order in which they were sent to, and as many results as they have slots may have been
        on their way when they were lost. What it gave back, and was not heard to, made way for those sent after that.

        Args:
            unsure: whether an attempt may have been taken out of the order, so that others moved up.
        """
        running = AttemptState.RUNNING
        edge = self.window + self.slots if self.window else 0
        ahead: dict[int, int] = {}
        found = []
        for key, attempt in self.outstanding.items():
            group = next((i for i, keys in enumerate(self._recalls) if key in keys), -1)
            before = ahead.get(group, 0)
            if not unsure(key):
                ahead[group] = before + 1
            found.append((attempt, before < edge or attempt.state is running))
        return found
