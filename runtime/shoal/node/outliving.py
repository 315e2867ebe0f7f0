"""A manager that outlives the process of its pool: it goes on with what has begun, and brings it to the next process."""

from __future__ import annotations

from collections import deque

from shoal.wire.messages import Result

__all__ = ["Outliving"]


class Outliving:
    """What a manager keeps for the case that its pool's process dies.

    Args:
        seconds: how long it waits for the next one.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._unread: deque[list[Result]] = deque()
        self._taken = 0
        self._connects = 0
        self.orphaned = False
        """Whether the process that started it is gone: nothing new begins here any more."""
        self.alone_since: float | None = None
        """Since when nobody listens; None while somebody does."""

    # ------------------------------------------------------------------ results

    def sent(self, results: list[Result]) -> None:
        """These leave for the pool, or would."""
        self._unread.append(results)

    def taken(self, count: int) -> None:
        """The pool has so many messages of results, since it knows this manager."""
        for _ in range(min(count - self._taken, len(self._unread))):
            self._unread.popleft()
        self._taken = max(self._taken, count)

    # ------------------------------------------------------------------ the pool

    def begin(self, now: float, connects: int) -> None:
        """The pool's process is gone.

        Args:
            now: on a steady clock.
            connects: how often the line to it has connected so far.
        """
        self.orphaned, self.alone_since, self._connects = True, now, connects

    def found(self, connects: int, connected: bool, now: float) -> bool:
        """Whether there is a new process, which knows nothing of this manager yet.

        Args:
            connects: how often the line has connected.
            connected: whether it is connected.
            now: on a steady clock.
        """
        if not connected:
            self.alone_since = now if self.alone_since is None else self.alone_since
            return False
        if connects == self._connects:
            return False
        self._connects, self.alone_since, self._taken = connects, None, 0
        return True

    def given_up(self, now: float) -> bool:
        """Whether it has waited for long enough."""
        return self.alone_since is not None and now - self.alone_since > self._seconds

    def unread(self) -> list[list[Result]]:
        """Results that no pool has for sure, in the order in which they came."""
        return list(self._unread)
