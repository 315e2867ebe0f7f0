"""Who is served next, and where there is room: fair shares of clients, and free places of managers.

Room is found without looking at all managers: those with free cores lie in buckets by how many they have, those whose
cores are all taken but by work so short that more should be waiting there lie in a set of their own.
"""

from __future__ import annotations

from shoal.dispatch.attempts import Attempt, Client, Manager
from shoal.dispatch.states import ManagerState

__all__ = ["SHORT", "Durations", "Places", "Shares"]

SHORT = 0.02
"""Attempts expected to take less than this (seconds) may wait behind others at a manager, up to this much work for each
of its slots: enough to bridge the way to the pool and back, too little to matter if another manager falls idle."""

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

    __slots__ = ("_active", "_clients")

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}
        self._active: dict[int, Client] = {}

    def join(self, number: int) -> None:
        """A client is there."""
        self._clients.setdefault(number, Client(number))

    def leave(self, number: int) -> Client | None:
        """A client is gone; None if it was not there."""
        self._active.pop(number, None)
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
        return [a for client in self._clients.values() for a in client.drop()]

    @property
    def waiting(self) -> int:
        """How many attempts wait."""
        return sum(client.waiting for client in self._active.values())


def _held(client: Client) -> int:
    return client.cores


class Places:
    """The managers that have room."""

    __slots__ = ("_free", "_thirsty", "_top", "behind", "cores")

    def __init__(self) -> None:
        self._free: list[dict[int, Manager]] = [{}]
        self._top = 0
        self._thirsty: dict[int, Manager] = {}
        self.behind: dict[int, Manager] = {}
        """Managers where attempts wait behind others."""
        self.cores = 0
        """Free cores in all."""

    def add(self, manager: Manager) -> None:
        """A manager may get attempts (again)."""
        if manager.free > 0:
            self._bucket(manager.free)[manager.number] = manager
            self._top = max(self._top, manager.free)
            self.cores += manager.free
        self._settle(manager)

    def remove(self, manager: Manager) -> None:
        """A manager gets no more attempts."""
        number = manager.number
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

    def take(self, manager: Manager, attempt: Attempt, load: float) -> None:
        """An attempt goes to a manager that ``find`` gave."""
        cores = attempt.cores
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
        """Judge anew whether a manager should have more waiting there."""
        if not manager.outstanding:
            manager.load = 0.0
        self._settle(manager)

    def _settle(self, manager: Manager) -> None:
        short = manager.slots - manager.longs
        if manager.state is _UP and manager.free <= 0 and short > 0 and manager.load < 0.5 * SHORT * short:
            self._thirsty[manager.number] = manager
        elif manager.free > 0:
            self._thirsty.pop(manager.number, None)
        if manager.free >= 0:
            self.behind.pop(manager.number, None)

    def _drink(self, manager: Manager) -> None:
        number = manager.number
        short = manager.slots - manager.longs
        if manager.free < 0:
            self.behind[number] = manager
        if short > 0 and manager.load < SHORT * short:
            if number not in self._thirsty and manager.load < 0.5 * SHORT * short:
                self._thirsty[number] = manager
        else:
            self._thirsty.pop(number, None)

    def _bucket(self, free: int) -> dict[int, Manager]:
        while len(self._free) <= free:
            self._free.append({})
        return self._free[free]
