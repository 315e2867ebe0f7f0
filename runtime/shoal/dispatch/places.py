"""Where there is room: the managers by their free cores, and those that should have more waiting.

No step looks at all managers. Those with free cores lie in buckets by how many they have; those whose cores are all taken,
but by work so short that more should be waiting there, lie in a set of their own. A manager that was given something is
put into its new bucket when it comes up next, and one that ended many attempts once for all of them.

Attempts that need memory or accelerators find their places by what ``rooms`` adds.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

from shoal.dispatch.attempts import Attempt, Manager, Needy
from shoal.dispatch.policy import SHORT
from shoal.dispatch.states import ManagerState

__all__ = ["Places", "Queue"]

_UP = ManagerState.UP

Queue = OrderedDict[int, Manager]
"""Managers in an order. No plain dictionary: these lose their first entry again and again, and a plain dictionary walks over
all that were removed before to find its first."""


class Places:
    """The managers that have room."""

    __slots__ = (
        "_free",
        "_shelved",
        "_thirsty",
        "_top",
        "_up",
        "behind",
        "cores",
        "filling",
        "grown",
    )

    def __init__(self) -> None:
        self._free: list[Queue] = [OrderedDict()]
        self._top = 0
        self._shelved = 0
        self._thirsty: Queue = OrderedDict()
        self._up: Queue = OrderedDict()
        self.behind: Queue = OrderedDict()
        """Managers where attempts wait behind others; first those of which nothing was heard for longest."""
        self.cores = 0
        """Free cores in all."""
        self.filling = False
        """Whether all free cores will be taken now, so that it does not matter in which order."""
        self.grown: dict[int, Manager] = {}
        """Managers that may have more room than when what stepped aside was last looked at."""

    def add(self, manager: Manager) -> None:
        """A manager may get attempts (again)."""
        self._up[manager.number] = manager
        self.cores += max(0, manager.free)
        self.settle(manager)

    def remove(self, manager: Manager) -> None:
        """A manager gets no more attempts."""
        number = manager.number
        if self._up.pop(number, None) is None:
            return
        self.cores -= max(0, manager.free)
        self._shelve(manager, 0)
        self.grown.pop(number, None)
        self._thirsty.pop(number, None)
        self.behind.pop(number, None)

    def find(self, attempt: Attempt, load: float) -> Manager | None:
        """Where an attempt can go; the emptiest manager first. None if nowhere now."""
        top = self._top
        while top:
            manager = next(iter(self._free[top].values()), None)
            if manager is None:
                self._top = top = top - 1
                continue
            free = manager.free
            if free == top or self._shelved == 1 or (self.filling and free >= attempt.cores):
                if free >= attempt.cores:
                    return manager
                if free > 0:
                    return None
            self._shelve(manager, free)
            top = self._top
        if load and attempt.cores == 1:
            for manager in self._thirsty.values():
                return manager
        return None

    def take(self, manager: Manager, attempt: Attempt, load: float) -> None:
        """An attempt goes to a manager that has room for it."""
        cores = attempt.cores
        if manager.free > 0:
            self.cores -= cores
        manager.free -= cores
        if type(attempt) is Needy:
            manager.memory_left -= attempt.needs.memory
            manager.gpus_left -= attempt.needs.gpus
            self._shelve(manager, manager.free)
        attempt.load = load
        if load:
            manager.load += load
        else:
            manager.longs += cores
        if manager.free <= 0:
            self._drink(manager)

    def more(self, manager: Manager, load: float) -> int:
        """How many more attempts of one core ``find`` would send to the manager that it has just found, before any other."""
        if manager.free > 0:
            return manager.free if self.filling or self._shelved == 1 else 0
        if not load or self._top or next(iter(self._thirsty), -1) != manager.number:
            return 0
        return max(0, ceil((SHORT * (manager.slots - manager.longs) - manager.load) / load))

    def take_more(self, manager: Manager, count: int, load: float) -> None:
        """So many attempts of one core each, as ``more`` allowed, go to a manager."""
        if manager.free > 0:
            self.cores -= count
        manager.free -= count
        if load:
            manager.load += load * count
        else:
            manager.longs += count
        if manager.free <= 0:
            self._drink(manager)

    def release(self, manager: Manager, attempt: Attempt) -> None:
        """An attempt is no longer with its manager; call ``settle`` once afterwards."""
        before = manager.free
        manager.free = after = before + attempt.cores
        if type(attempt) is Needy:
            manager.memory_left += attempt.needs.memory
            manager.gpus_left += attempt.needs.gpus
        if attempt.load:
            manager.load -= attempt.load
        else:
            manager.longs -= attempt.cores
        if after > 0 and manager.state is _UP:
            self.cores += after - before if before > 0 else after

    def settle(self, manager: Manager) -> None:
        """Judge anew whether a manager should have more waiting there; it may have more room."""
        if not manager.outstanding:
            manager.load = 0.0
        if manager.state is _UP:
            self.grown[manager.number] = manager
            self._shelve(manager, manager.free)
        self._settle(manager)

    def stuck(self, before: float) -> list[Manager]:
        """Managers where attempts wait behind others and nothing has moved since ``before``; one a core that is free elsewhere."""
        found: list[Manager] = []
        for _ in range(min(self.cores, len(self.behind))):
            manager = next(iter(self.behind.values()))
            if manager.moved >= before:
                break
            self.behind.move_to_end(manager.number)
            found.append(manager)
        return found

    # ------------------------------------------------------------------ inside

    def _settle(self, manager: Manager) -> None:
        number = manager.number
        short = manager.slots - manager.longs
        if manager.free > 0 or manager.kept:
            self._thirsty.pop(number, None)
        elif manager.state is _UP and short > 0 and manager.load < 0.5 * SHORT * short:
            self._thirsty[number] = manager
        if manager.free + manager.kept >= 0:
            self.behind.pop(number, None)
        elif number in self.behind:
            self.behind.move_to_end(number)

    def _drink(self, manager: Manager) -> None:
        number = manager.number
        short = manager.slots - manager.longs
        if manager.free + manager.kept < 0:
            self.behind[number] = manager
        if short > 0 and manager.load < SHORT * short and not manager.kept:
            if manager.load < 0.5 * SHORT * short:
                self._thirsty[number] = manager
        else:
            self._thirsty.pop(number, None)

    def _shelve(self, manager: Manager, free: int) -> None:
        """Put a manager into the bucket of ``free`` cores; into none if that is 0 or less."""
        old = manager.shelf
        new = max(0, free)
        if old == new:
            return
        if old:
            del self._free[old][manager.number]
        manager.shelf = new
        self._shelved += bool(new) - bool(old)
        if new:
            while len(self._free) <= new:
                self._free.append(OrderedDict())
            self._free[new][manager.number] = manager
            self._top = max(self._top, new)
