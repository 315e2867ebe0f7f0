"""Waiting for many futures at once, without their Conditions.

``concurrent.futures.wait`` takes the Conditions of all futures, one after the other. An interrupt between two of these
leaves them taken for ever, and whoever settles such a future stuck. Here each future gets a waker, and nothing is held.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Self

from shoal.futures.value import ValueFuture, forget
from shoal.futures.waking import Waker

__all__ = ["Crowd", "wait_for_any"]

_LONGEST = 1e6
"""Seconds that a wait may take at once: more than can pass, and less than the system's limit."""


class _Echo:
    """Tells of the end of a future of another library: one for each, since its callbacks cannot be taken back.

    Such a future, if it is cancelled, tells those who wait only once its executor takes note of it, if ever; but it calls back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Waker] = []
        self._over = False

    def ring(self, future: object) -> None:
        """It is over."""
        with self._lock:
            self._over = True
            wakers, self._wakers = self._wakers, []
        for waker in wakers:
            waker(future)

    def add(self, waker: Waker, future: object) -> None:
        """Wake it then, or at once."""
        with self._lock:
            if not self._over:
                self._wakers.append(waker)
                return
        waker(future)

    def forget(self, waker: Waker) -> None:
        """Leave it alone."""
        with self._lock:
            if waker in self._wakers:
                self._wakers.remove(waker)


_echoes: weakref.WeakKeyDictionary[Future[Any], _Echo] = weakref.WeakKeyDictionary()


class Crowd(Waker):
    """Futures of any kind, as they end. Used by one thread, as a context manager.

    Args:
        futures: each counts once.

    Attributes:
        pending: those that were not given yet.
    """

    __slots__ = ("_listens", "_over", "pending")

    def __init__(self, futures: Iterable[Future[Any]]) -> None:
        self._over: SimpleQueue[Future[Any]] = SimpleQueue()
        self._listens = False
        self.pending: dict[Future[Any], None] = dict.fromkeys(futures)

    def __call__(self, future: Any) -> None:
        """One is over."""
        self._over.put(future)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for future in self.pending if self._listens else ():
            if isinstance(future, ValueFuture):
                forget(future, self)
            elif future in _echoes:
                _echoes[future].forget(self)

    def until(self, by: float | None) -> Iterator[Future[Any]]:
        """Those that end, in the order in which they do, until all are over or it is ``by`` on the monotonic clock."""
        if not self._listens:
            self._listens = True
            for future in self.pending:
                self._listen(future)
        while self.pending:
            left = math.inf if by is None else by - time.monotonic()
            try:
                future = self._over.get(timeout=min(left, _LONGEST)) if left > 0 else self._over.get_nowait()
            except Empty:
                if left < _LONGEST:
                    return
                continue
            if future in self.pending:
                del self.pending[future]
                yield future

    def _listen(self, future: Future[Any]) -> None:
        if isinstance(future, ValueFuture):
            if future.done():
                self(future)
            else:
                future.add_done_callback(self)
            return
        echo = _echoes.get(future)
        if echo is None:
            echo = _echoes[future] = _Echo()
            future.add_done_callback(echo.ring)
        echo.add(self, future)


def wait_for_any(futures: Iterable[Future[Any]], timeout: float | None) -> list[Future[Any]]:
    """Wait until one of the futures is over; returns those that are not.

    Args:
        futures: each counts once.
        timeout: seconds at most; None for as long as it takes.
    """
    with Crowd(futures) as crowd:
        ended = crowd.until(None if timeout is None else time.monotonic() + timeout)
        if next(ended, None) is not None:
            for _ in crowd.until(0.0):  # and those that have ended with it
                pass
        return list(crowd.pending)
