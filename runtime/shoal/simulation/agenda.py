"""Virtual time: what is to happen, in its order."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

__all__ = ["Agenda"]


class Agenda:
    """Calls what is due, one after the other; no time passes but by that. What is due at the same time keeps its order."""

    __slots__ = ("_count", "_due", "now")

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the beginning."""
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Call that when so many seconds have passed."""
        self._count += 1
        heappush(self._due, (self.now + seconds, self._count, call, args))

    def run(self, over: Callable[[], bool]) -> None:
        """Let time pass until ``over`` says so; until then something must be due."""
        due = self._due
        while not over():
            self.now, _, call, args = heappop(due)
            call(*args)
