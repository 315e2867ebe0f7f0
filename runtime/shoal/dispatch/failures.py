"""How attempts end that no worker ended."""

from __future__ import annotations

from shoal.errors import ConfigurationError, ManagerLost
from shoal.outcome import Failure
from shoal.serialize import pack_failure
from shoal.wire.messages import Task

__all__ = ["CANCELLED", "cancelled", "describe", "manager_lost", "too_large"]

CANCELLED = "concurrent.futures.CancelledError"
"""``Failure.type_name`` of an attempt that was dropped, on request, before it began."""


def cancelled(task: Task) -> Failure:
    """The attempt was dropped on its client's request before it began."""
    return Failure(CANCELLED, f"{describe(task)} was cancelled before it began")


def manager_lost(task: Task, manager: str, reason: str) -> Failure:
    """The attempt may have begun on a manager that was lost."""
    failure = pack_failure(ManagerLost(describe(task), manager, reason))
    failure.lost = True
    return failure


def too_large(task: Task, most_cores: int) -> Failure:
    """No manager of this pool can ever run the task."""
    fix = f"workers of this pool have at most {most_cores} cores; ask for fewer, or raise max_workers_per_node"
    return pack_failure(ConfigurationError(f"cores of {describe(task)}", task.cores, fix))


def describe(task: Task) -> str:
    """The task in the words of errors."""
    return f"task {task.tid} ({task.label})" if task.label else f"task {task.tid}"
