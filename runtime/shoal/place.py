"""Where code stands: in a client, in a task, in the body of a join app. It imports nothing of Shoal."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = [
    "chosen_sessions",
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
    "task_owner",
    "use_session",
]

_worker = False
_thread = threading.local()
_sessions: ContextVar[tuple[Any, ...]] = ContextVar("shoal_sessions", default=())
_parent: ContextVar[int] = ContextVar("shoal_parent", default=-1)
_task: ContextVar[int] = ContextVar("shoal_task_number", default=-1)
_owner: ContextVar[Any] = ContextVar("shoal_task_owner", default=None)

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


def use_session(session: Any) -> None:
    """From now on apps that are called in this context use this session; ``leave_session`` undoes it."""
    _sessions.set((*_sessions.get(), session))


def leave_session(session: Any) -> None:
    """Undo the last ``use_session`` of this session in this context; nothing if that was in another one."""
    sessions = list(_sessions.get())
    for i in reversed(range(len(sessions))):
        if sessions[i] is session:
            del sessions[i]
            break
    _sessions.set(tuple(sessions))


def chosen_sessions() -> tuple[Any, ...]:
    """The sessions that were chosen for this context, the one that counts last."""
    return _sessions.get()


def enter_body(session: Any, tid: int) -> None:
    """This context is that of a join app's body: the tasks that it makes are of this session, children of this task."""
    _sessions.set((session,))
    _parent.set(tid)


def in_body() -> bool:
    """Whether whoever calls is the body of a join app."""
    return _parent.get() >= 0


def parent_task() -> int:
    """The task whose body is running in this context; -1 for none."""
    return _parent.get()


def enter_task(tid: int, owner: Any = None) -> None:
    """In this context the task of this number runs from now on, of this owner where that is in the same process."""
    _task.set(tid)
    _owner.set(owner)


def task_number() -> int:
    """The number of the task that runs in this context; -1 if none does."""
    return _task.get()


def task_owner() -> Any:
    """What the task that runs in this context belongs to; None if none does, or it is in another process."""
    return _owner.get()


def in_task() -> bool:
    """Whether whoever calls is a task."""
    return _worker or getattr(_thread, "runs_tasks", False)
