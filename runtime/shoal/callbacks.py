"""The callback thread: users' functions run here, never on a thread that the engine needs.

One thread a process, started on first use. It imports nothing of Shoal.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

__all__ = ["call_back", "drain", "on_callback_thread"]

_log = logging.getLogger(__name__)


class _CallbackThread:
    """Runs functions one after another, in the order given."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="shoal-callbacks", daemon=True)
                self.thread.start()

    def run(self) -> None:
        while True:
            _run_callback(*self.queue.get())


_current = _CallbackThread()


def call_back(function: Callable[..., Any], *args: Any) -> None:
    """Run ``function(*args)`` soon on the callback thread. What it raises is logged and goes no further."""
    _current.queue.put((function, args))
    if _current.thread is None:
        _current.start()


def on_callback_thread() -> bool:
    """Whether whoever calls is a callback."""
    return _current.thread is threading.current_thread()


def drain(timeout: float) -> bool:
    """Wait until what was given so far has run, ``timeout`` seconds at most; returns whether it has."""
    if _current.thread is None or _current.thread is threading.current_thread():
        return True
    done = threading.Event()
    call_back(done.set)
    return done.wait(timeout)


def _after_fork() -> None:
    global _current
    _current = _CallbackThread()  # the parent's thread does not exist here


os.register_at_fork(after_in_child=_after_fork)


def _run_callback(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        function(*args)
    except BaseException:  # noqa: BLE001 - a user's callback: whatever it raises is its own, SystemExit too
        _log.exception("a callback of a Shoal future raised")
