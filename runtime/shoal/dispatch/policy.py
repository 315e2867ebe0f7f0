"""Who is served next: fair shares of clients. Where there is room is the subject of ``places`` and ``rooms``."""

from __future__ import annotations

from shoal.dispatch.attempts import Attempt, Client, Line, Needy

__all__ = ["AGE", "SHORT", "Durations", "Shares"]

SHORT = 0.02
"""Attempts expected to take less than this (seconds) may wait behind others at a manager, up to this much work for each
of its slots: enough to bridge the way to the pool and back, too little to matter if another manager falls idle."""

AGE = 5.0
"""Seconds after which an attempt that stepped aside claims a manager."""

OVERHEAD = 20e-6
"""Seconds that any attempt costs a node beyond its own time."""


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
    def only_one(self) -> bool:
        """Whether no more than one client has attempts that wait, and nothing has stepped aside."""
        return len(self._active) == 1 and not self._aside

    @property
    def any_aside(self) -> bool:
        """Whether something has stepped aside."""
        return bool(self._aside)

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
