"""Where code stands: in a client, or in a task on a worker or a thread. It imports nothing of Shoal."""

from __future__ import annotations

import os
import threading

__all__ = ["enter_thread", "enter_worker", "forks", "in_task"]

_worker = False
_thread = threading.local()


_forks = 0


def forks() -> int:
    """How often this process was forked off: what has threads remembers it, and knows by it that they are gone."""
    return _forks


def _after_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_after_fork)


def enter_worker() -> None:
    """From now on this process is a worker: apps that its tasks call run in place, and start no pool."""
    global _worker
    _worker = True


def enter_thread() -> None:
    """From now on this thread runs tasks: apps that they call run in place, since waiting here could wait for ever."""
    _thread.runs_tasks = True


def in_task() -> bool:
    """Whether whoever calls is a task."""
    return _worker or getattr(_thread, "runs_tasks", False)
