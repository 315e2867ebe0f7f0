"""Where code stands: in a client, in a task, in the body of a join app. It imports nothing of Shoal."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

__all__ = [
    "chosen_session",
    "enter_body",
    "enter_task",
    "enter_thread",
    "enter_worker",
    "forks",
    "in_body",
    "in_task",
    "leave_session",
    "parent_task",
    "task_number",
    "task_on_this_thread",
    "use_session",
]

_worker = False
_thread = threading.local()
_session: ContextVar[Any] = ContextVar("shoal_session", default=None)
_parent: ContextVar[int] = ContextVar("shoal_parent", default=-1)
_task: ContextVar[int] = ContextVar("shoal_task_number", default=-1)

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


@contextmanager
def task_on_this_thread() -> Iterator[None]:
    """Within the block this thread, which belongs to somebody else, runs a task."""
    before = getattr(_thread, "runs_tasks", False)
    _thread.runs_tasks = True
    try:
        yield
    finally:
        _thread.runs_tasks = before


def use_session(session: Any) -> Token[Any]:
    """From now on apps that are called in this context use this session; ``leave_session(token)`` undoes it."""
    return _session.set(session)


def leave_session(token: Token[Any]) -> None:
    """Undo ``use_session``."""
    try:
        _session.reset(token)
    except ValueError:  # in another context than it was used in: an asynchronous program
        _session.set(None)


def chosen_session() -> Any:
    """The session that was chosen for this context; None if none was."""
    return _session.get()


def enter_body(session: Any, tid: int) -> None:
    """This context is that of a join app's body: the tasks that it makes are of this session, children of this task."""
    _session.set(session)
    _parent.set(tid)


def in_body() -> bool:
    """Whether whoever calls is the body of a join app."""
    return _parent.get() >= 0


def parent_task() -> int:
    """The task whose body is running in this context; -1 for none."""
    return _parent.get()


def enter_task(tid: int) -> None:
    """In this context the task of this number runs from now on."""
    _task.set(tid)


def task_number() -> int:
    """The number of the task that runs in this context; -1 if none does."""
    return _task.get()


def in_task() -> bool:
    """Whether whoever calls is a task."""
    return _worker or getattr(_thread, "runs_tasks", False)
