"""Room for attempts that need memory or accelerators (needy ones), which have a rule of their own.

When the turn of one comes and no manager has room for it, it steps aside, and those behind it go on. From then on only
managers whose room has grown are looked at for it, before the rest of its client's queue. One that has stepped aside for
``AGE`` seconds claims a manager that could hold it: what is left there of memory and accelerators is kept for it, and once
that suffices, cores too, so that whatever else runs goes on using what it cannot use yet. A manager has one claim at a
time, and a claim ends when there is room for its attempt there or elsewhere, or when the manager gets no more attempts. So
each attempt that some manager could hold runs, however many small ones come.

At most ``LOOK_AT`` managers are looked at in one go. Where there are more, and none of these has room, the rest are looked
at a few in each round of the machine (a *sweep*), as if their room had grown.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from shoal.dispatch.attempts import Manager, Needs, Needy
from shoal.dispatch.places import Places, Queue
from shoal.dispatch.states import ManagerState

__all__ = ["LOOK_AT", "Rooms"]

LOOK_AT = 64
"""Managers that are looked at in one go."""

_UP = ManagerState.UP


class Rooms(Places):
    """The managers that have room, of whatever kind."""

    __slots__ = ("_gpus", "_sweep", "claimed")

    def __init__(self) -> None:
        super().__init__()
        self.claimed: dict[int, Manager] = {}
        """Managers with a claim."""
        self._gpus: Queue = OrderedDict()
        self._sweep = 0

    def add(self, manager: Manager) -> None:
        """A manager may get attempts (again)."""
        if manager.gpus:
            self._gpus[manager.number] = manager
        super().add(manager)

    def remove(self, manager: Manager) -> None:
        """A manager gets no more attempts."""
        if manager.claim is not None:
            self.unclaim(manager.claim)
        self._gpus.pop(manager.number, None)
        super().remove(manager)

    def find_room(self, needs: Needs) -> Manager | None:
        """Where a needy attempt can go, looked for everywhere; None if nowhere now."""
        if needs.gpus:
            able = [m for m in _turned(self._gpus, LOOK_AT) if m.has_room(needs)]
            if not able and len(self._gpus) > LOOK_AT:
                self.look_everywhere()
            return max(able, key=_free, default=None)
        left = LOOK_AT
        for shelf in range(self._top, needs.cores - 1, -1):
            bucket = self._free[shelf]
            for manager in islice(bucket.values(), left):
                if manager.has_room(needs):
                    return manager
            if len(bucket) > left:
                _turned(bucket, left)
                self.look_everywhere()
                break
            left -= len(bucket)
        return None

    def find_grown(self, needs: Needs) -> Manager | None:
        """The same among the managers whose room has grown."""
        for manager in self.grown.values():
            if manager.has_room(needs):
                return manager
        return None

    # ------------------------------------------------------------------ sweeps

    @property
    def sweeping(self) -> bool:
        """Whether managers remain to be looked at for what stepped aside."""
        return self._sweep > 0

    def look_everywhere(self) -> None:
        """Look at all managers for what stepped aside, some in each round."""
        self._sweep = len(self._up)

    def sweep(self, wanted: bool) -> None:
        """The next few; none if nothing that stepped aside wants them."""
        if not wanted:
            self._sweep = 0
            return
        for manager in _turned(self._up, LOOK_AT):
            if manager.free > 0:
                self.grown[manager.number] = manager
        self._sweep -= LOOK_AT

    def some(self, most: int) -> list[Manager]:
        """The next managers that may get attempts: at most so many, each in its turn."""
        return _turned(self._up, most)

    # ------------------------------------------------------------------ claims

    def claim(self, attempt: Needy, managers: Iterable[Manager]) -> None:
        """Clear a manager for an attempt, if one of these can be: one where only cores are lacking, if there is such."""
        needs = attempt.needs
        able = [m for m in managers if m.state is _UP and m.claim is None and m.could_hold(needs)]
        if not able:
            return
        manager = max(able, key=lambda m: (m.memory_left >= needs.memory and m.gpus_left >= needs.gpus, m.free))
        manager.memory_left -= needs.memory
        manager.gpus_left -= needs.gpus
        manager.claim, attempt.claim = attempt, manager
        self.claimed[manager.number] = manager

    def unclaim(self, attempt: Needy) -> None:
        """What was kept for an attempt is free again; nothing happens if it has no claim."""
        manager = attempt.claim
        if manager is None:
            return
        manager.memory_left += attempt.needs.memory
        manager.gpus_left += attempt.needs.gpus
        manager.claim = attempt.claim = None
        del self.claimed[manager.number]
        self._keep(manager, 0)
        self.grown[manager.number] = manager

    def ripe(self, manager: Manager) -> bool:
        """Whether there is room now for the attempt that claims a manager."""
        if manager.claim is None or manager.memory_left < 0 or manager.gpus_left < 0:
            return False
        self._keep(manager, manager.claim.cores)
        return manager.free >= 0

    def _keep(self, manager: Manager, cores: int) -> None:
        """Keep as many cores of a manager for its claim."""
        if manager.kept == cores:
            return
        self.cores -= max(0, manager.free)
        manager.free += manager.kept - cores
        manager.kept = cores
        self.cores += max(0, manager.free)
        self._shelve(manager, manager.free)
        self._settle(manager)


def _turned(queue: Queue, most: int) -> list[Manager]:
    """The first managers of a queue, at most so many; they go to its end, so that it is the turn of others next."""
    if len(queue) <= most:
        return list(queue.values())
    found = []
    for _ in range(most):
        number, manager = queue.popitem(last=False)
        queue[number] = manager
        found.append(manager)
    return found


def _free(manager: Manager) -> int:
    return manager.free
