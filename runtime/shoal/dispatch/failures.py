"""How attempts end that no worker ended."""

from __future__ import annotations

from shoal.errors import ConfigurationError, DependencyError, ManagerLost
from shoal.outcome import Failure
from shoal.resources import as_text
from shoal.serialize import pack_failure
from shoal.wire.messages import Task

__all__ = ["CANCELLED", "cancelled", "describe", "input_failed", "manager_lost", "too_large"]

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


def input_failed(task: Task, source: int) -> Failure:
    """The attempt waited for a value that is not made any more, and its client is gone."""
    reason = "it failed or was cancelled while its client was gone, so it was not tried again"
    return pack_failure(DependencyError(describe(task), (f"task {source}",), reason))


def too_large(task: Task, most: tuple[int, int, int]) -> Failure | None:
    """Why no manager of this pool can ever run the task; None if one can, or may.

    Args:
        task: which.
        most: cores, memory and accelerators of the largest manager; 0 for cores, and -1 for the others, while unknown.
    """
    cores, memory, gpus = most
    asked: float | str
    if not 0 < task.cores <= (cores or 1e6):
        what, asked = "cores", task.cores
        fix = f"workers of this pool have at most {cores} cores; ask for fewer, or raise max_workers_per_node"
    elif task.memory > memory >= 0:
        what, asked = "memory", as_text(task.memory)
        fix = "this pool's nodes do not know theirs; set memory_per_node"
        if memory:
            has = as_text(memory)
            fix = f"the largest node of this pool has {has}; ask for less, or raise memory_per_node"
    elif task.gpus > gpus >= 0:
        what, asked = "gpus", task.gpus
        fix = f"the largest node of this pool has {gpus}; ask for fewer, or set gpus_per_node"
    else:
        return None
    return pack_failure(ConfigurationError(f"{what} of {describe(task)}", asked, fix))


def describe(task: Task) -> str:
    """The task in the words of errors."""
    return f"task {task.tid} ({task.label})" if task.label else f"task {task.tid}"
