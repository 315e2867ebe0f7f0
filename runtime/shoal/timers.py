"""Functions that run after a while: one thread for all, started on first use. It imports nothing of Shoal.

What is called must be quick, and must not be users' code: that belongs on the callback thread.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["call_later"]

_LONGEST = 3600.0
"""Seconds of one wait: the system knows no waits of a thousand years."""


class _TimerThread:
    """Calls functions at their time."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.due: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self.order = itertools.count()
        self.thread: threading.Thread | None = None

    def add(self, at: float, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        with self.condition:
            heapq.heappush(self.due, (at, next(self.order), function, args))
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="shoal-timers", daemon=True)
                self.thread.start()
            self.condition.notify()

    def run(self) -> None:
        while True:
            with self.condition:
                while not self.due or self.due[0][0] > time.monotonic():
                    self.condition.wait(min(_LONGEST, self.due[0][0] - time.monotonic()) if self.due else None)
                _, _, function, args = heapq.heappop(self.due)
            function(*args)
            del function, args  # nothing is kept alive until the next one is due


_current = _TimerThread()


def call_later(seconds: float, function: Callable[..., Any], *args: Any) -> None:
    """Call ``function(*args)`` on the timer thread after ``seconds``."""
    _current.add(time.monotonic() + seconds, function, args)


def _after_fork() -> None:
    global _current
    _current = _TimerThread()  # the parent's thread does not exist here


os.register_at_fork(after_in_child=_after_fork)
