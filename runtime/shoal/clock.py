"""Time as an argument: machines are handed ``now``, shells own a :class:`Clock`."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where a shell reads the time."""

    def now(self) -> float:
        """Seconds since the epoch (for the log)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards (for deadlines)."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()
