"""What a task needs that is not on the node where it runs, said so that one knows what to do about it."""

from __future__ import annotations

import os
import platform
import sys

from shoal.errors import TaskUnreadable
from shoal.wire.messages import Task

__all__ = ["located", "unreadable"]

_FIX = (
    "install it there, or have the provider's worker_init activate an environment that has it; a module of your own is sent "
    "along if it lies beside the notebook or script"
)


def unreadable(task: Task, error: BaseException) -> TaskUnreadable:
    """The error of a task whose function or arguments could not be rebuilt here.

    Args:
        task: which.
        error: what was raised on the way.
    """
    described = f"task {task.tid} ({task.label})" if task.label else f"task {task.tid}"
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        reason = f"module '{error.name}' is missing on {_here()}. Fix: {_FIX}"
    found = TaskUnreadable(described, reason)
    found.__cause__ = error
    return found.with_traceback(error.__traceback__)


def located(error: BaseException) -> BaseException:
    """The error of a task's own code; one of a module that is missing says where."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        error.add_note(f"This was on {_here()}. Fix: {_FIX}.")
    return error


def _here() -> str:
    return f"{os.uname().nodename}, in Python {platform.python_version()} at {sys.prefix}"
