"""Who is served next, and where there is room: fair shares of clients, and free places of managers.

Room is found without looking at all managers: those with free cores lie in buckets by how many they have, those whose
cores are all taken but by work so short that more should be waiting there lie in a set of their own.

Attempts that need memory or accelerators (needy ones) have a rule of their own. When the turn of one comes and no manager
has room for it, it steps aside, and those behind it go on. From then on only managers whose room has grown are looked at
for it, before the rest of its client's queue. One that has stepped aside for ``AGE`` seconds claims a manager that could
hold it: what is left there of memory and accelerators is kept for it, and once that suffices, cores too, so that whatever
else runs goes on using what it cannot use yet. A manager has one claim at a time, and a claim ends when there is room for
its attempt there or elsewhere, or when the manager gets no more attempts. So each attempt that some manager could hold
runs, however many small ones come.
"""

from __future__ import annotations

from collections.abc import Iterable

from shoal.dispatch.attempts import Attempt, Client, Line, Manager, Needs, Needy
from shoal.dispatch.states import ManagerState

__all__ = ["AGE", "SHORT", "Durations", "Places", "Shares"]

SHORT = 0.02
"""Attempts expected to take less than this (seconds) may wait behind others at a manager, up to this much work for each
of its slots: enough to bridge the way to the pool and back, too little to matter if another manager falls idle."""

AGE = 5.0
"""Seconds after which an attempt that stepped aside claims a manager."""

OVERHEAD = 20e-6
"""Seconds that any attempt costs a node beyond its own time."""

_UP = ManagerState.UP


class Durations:
    """Expected durations of attempts, by the digest of their code: a moving average of what was seen.

    Args:
        limit: functions remembered at most.
    """

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._seen: dict[bytes, float] = {}

    def note(self, code: bytes, seconds: float) -> None:
        """An attempt took this long. Long ones count at once, short ones pull the average down slowly."""
        seen = self._seen
        old = seen.get(code)
        if old is None:
            if len(seen) >= self._limit:
                del seen[next(iter(seen))]
            seen[code] = seconds
        else:
            seen[code] = seconds if seconds > SHORT else old + 0.2 * (seconds - old)

    def load(self, code: bytes) -> float:
        """Expected seconds of an attempt if it is known to be short; else 0.0."""
        known = self._seen.get(code)
        return known + OVERHEAD if known is not None and known < SHORT else 0.0


class Shares:
    """The clients whose attempts wait. The next one served is the one whose attempts hold the fewest cores."""

    __slots__ = ("_active", "_aside", "_clients")

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}
        self._active: dict[int, Client] = {}
        self._aside: dict[int, Client] = {}

    def join(self, number: int) -> None:
        """A client is there."""
        self._clients.setdefault(number, Client(number))

    def leave(self, number: int) -> Client | None:
        """A client is gone; None if it was not there."""
        self._active.pop(number, None)
        self._aside.pop(number, None)
        return self._clients.pop(number, None)

    def get(self, number: int) -> Client | None:
        """The client of that number."""
        return self._clients.get(number)

    def wake(self, client: Client) -> None:
        """The client has attempts that wait (now)."""
        self._active[client.number] = client

    def next(self) -> tuple[Client, Attempt] | None:
        """Whose attempt is next, and which."""
        active = self._active
        while active:
            client = next(iter(active.values())) if len(active) == 1 else min(active.values(), key=_held)
            attempt = client.first()
            if attempt is not None:
                return client, attempt
            del active[client.number]
        return None

    def everything(self) -> list[Attempt]:
        """Empty all queues; returns what was in them."""
        self._active.clear()
        self._aside.clear()
        return [a for client in self._clients.values() for a in client.drop()]

    @property
    def waiting(self) -> int:
        """How many attempts wait."""
        return sum(client.waiting for client in self._clients.values())

    # ------------------------------------------------------------------ what stepped aside

    def step_aside(self, client: Client, attempt: Needy, first: bool = False) -> None:
        """An attempt, of this client and in no queue, lets those behind it go on."""
        client.step_aside(attempt, first)
        self._aside[client.number] = client

    def look_again(self) -> None:
        """There is more room somewhere: what stepped aside is next in the queues of its clients."""
        for client in list(self._aside.values()):
            client.untried = client.lines()[::-1]
            if client.untried:
                self.wake(client)
            else:
                del self._aside[client.number]

    def looked(self) -> bool:
        """No more of that now; returns whether all that stepped aside has had its look."""
        all_of_it = True
        for client in self._aside.values():
            if client.untried or client.many_lines:
                client.untried = []
                all_of_it = False
        return all_of_it

    def aside(self) -> list[Line]:
        """The first lines of what stepped aside, of all clients."""
        return [line for client in self._aside.values() for line in client.lines()]


def _held(client: Client) -> int:
    return client.cores


class Places:
    """The managers that have room."""

    __slots__ = ("_free", "_gpus", "_thirsty", "_top", "behind", "claimed", "cores", "grown")

    def __init__(self) -> None:
        self._free: list[dict[int, Manager]] = [{}]
        self._top = 0
        self._thirsty: dict[int, Manager] = {}
        self.behind: dict[int, Manager] = {}
        """Managers where attempts wait behind others."""
        self.cores = 0
        """Free cores in all."""
        self.grown: dict[int, Manager] = {}
        """Managers that may have more room than when what stepped aside was last looked at."""
        self.claimed: dict[int, Manager] = {}
        """Managers with a claim."""
        self._gpus: dict[int, Manager] = {}

    def add(self, manager: Manager) -> None:
        """A manager may get attempts (again)."""
        if manager.free > 0:
            self._fill(manager)
        if manager.gpus:
            self._gpus[manager.number] = manager
        self.settle(manager)

    def remove(self, manager: Manager) -> None:
        """A manager gets no more attempts."""
        number = manager.number
        if manager.claim is not None:
            self.unclaim(manager.claim)
        self.grown.pop(number, None)
        self._gpus.pop(number, None)
        if manager.free > 0 and self._bucket(manager.free).pop(number, None) is not None:
            self.cores -= manager.free
        self._thirsty.pop(number, None)
        self.behind.pop(number, None)

    def find(self, attempt: Attempt, load: float) -> Manager | None:
        """Where an attempt can go; the emptiest manager first. None if nowhere now."""
        free = self._free
        while self._top and not free[self._top]:
            self._top -= 1
        if self._top >= attempt.cores:
            return next(iter(free[self._top].values()))
        if load and attempt.cores == 1 and not self._top:
            for manager in self._thirsty.values():
                return manager
        return None

    def find_room(self, needs: Needs) -> Manager | None:
        """Where a needy attempt can go, looked for everywhere; None if nowhere now."""
        if needs.gpus:
            able = [m for m in self._gpus.values() if m.has_room(needs)]
            return max(able, key=_free, default=None)
        for free in range(min(self._top, len(self._free) - 1), needs.cores - 1, -1):
            for manager in self._free[free].values():
                if manager.has_room(needs):
                    return manager
        return None

    def find_grown(self, needs: Needs) -> Manager | None:
        """The same among the managers whose room has grown."""
        for manager in self.grown.values():
            if manager.has_room(needs):
                return manager
        return None

    def take(self, manager: Manager, attempt: Attempt, load: float) -> None:
        """An attempt goes to a manager that has room for it."""
        cores = attempt.cores
        if type(attempt) is Needy:
            manager.memory_left -= attempt.needs.memory
            manager.gpus_left -= attempt.needs.gpus
        before = manager.free
        manager.free = after = before - cores
        if before > 0:
            free = self._free
            del free[before][manager.number]
            self.cores -= cores
            if after > 0:
                free[after][manager.number] = manager
        attempt.load = load
        if load:
            manager.load += load
        else:
            manager.longs += cores
        if after <= 0:
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
        if manager.state is _UP and after > 0:
            free = self._free
            if before > 0:
                free[before].pop(manager.number, None)
                self.cores += after - before
            else:
                self.cores += after
            self._bucket(after)[manager.number] = manager
            if after > self._top:
                self._top = after

    def settle(self, manager: Manager) -> None:
        """Judge anew whether a manager should have more waiting there; it may have more room."""
        if not manager.outstanding:
            manager.load = 0.0
        if manager.state is _UP:
            self.grown[manager.number] = manager
        self._settle(manager)

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
        if manager.free > 0:
            del self._free[manager.free][manager.number]
            self.cores -= manager.free
        manager.free += manager.kept - cores
        manager.kept = cores
        if manager.free > 0:
            self._fill(manager)
        self._settle(manager)

    # ------------------------------------------------------------------ inside

    def _settle(self, manager: Manager) -> None:
        short = manager.slots - manager.longs
        if manager.free > 0 or manager.kept:
            self._thirsty.pop(manager.number, None)
        elif manager.state is _UP and short > 0 and manager.load < 0.5 * SHORT * short:
            self._thirsty[manager.number] = manager
        if manager.free + manager.kept >= 0:
            self.behind.pop(manager.number, None)

    def _drink(self, manager: Manager) -> None:
        number = manager.number
        short = manager.slots - manager.longs
        if manager.free + manager.kept < 0:
            self.behind[number] = manager
        if short > 0 and manager.load < SHORT * short and not manager.kept:
            if number not in self._thirsty and manager.load < 0.5 * SHORT * short:
                self._thirsty[number] = manager
        else:
            self._thirsty.pop(number, None)

    def _fill(self, manager: Manager) -> None:
        """Put a manager with free cores into its bucket."""
        self._bucket(manager.free)[manager.number] = manager
        self._top = max(self._top, manager.free)
        self.cores += manager.free

    def _bucket(self, free: int) -> dict[int, Manager]:
        while len(self._free) <= free:
            self._free.append({})
        return self._free[free]


def _free(manager: Manager) -> int:
    return manager.free
