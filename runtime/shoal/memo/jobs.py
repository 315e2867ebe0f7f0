"""A thread that runs jobs one after another, in the order given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from shoal.place import forks

__all__ = ["JobThread", "Jobs"]


class Jobs(Protocol):
    """Where jobs are run. They must not raise."""

    def put(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` soon, after what was put before. Never blocks."""
        ...

    def every(self, seconds: float, function: Callable[[], Any]) -> None:
        """Run ``function()`` again and again, between other jobs."""
        ...

    def close(self, timeout: float) -> bool:
        """Run what was put, then end; waits ``timeout`` seconds at most and returns whether it has ended."""
        ...


class JobThread:
    """Runs jobs on a thread of its own, started on first use. In a forked process it does nothing.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._period = 0.0
        self._again: Callable[[], Any] | None = None
        self._closed = False
        self._birth = forks()

    def put(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` soon, after what was put before."""
        if self._closed or self._birth != forks():
            return
        self._queue.put((function, args))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()

    def every(self, seconds: float, function: Callable[[], Any]) -> None:
        """Run ``function()`` every ``seconds`` from the first job on."""
        self._period, self._again = seconds, function

    def close(self, timeout: float) -> bool:
        """Run what was put, then end."""
        thread, self._closed = self._thread, True
        if thread is None or self._birth != forks():
            return True
        self._queue.put(None)
        if thread is not threading.current_thread():
            thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        due = time.monotonic() + self._period
        while True:
            try:
                job = self._queue.get(timeout=max(0.0, due - time.monotonic()) if self._again else None)
            except Empty:
                job = (lambda: None, ())
            if job is None:
                return
            job[0](*job[1])
            del job  # nothing is kept alive until the next one comes
            if self._again is not None and time.monotonic() >= due:
                self._again()
                due = time.monotonic() + self._period
