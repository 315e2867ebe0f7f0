"""The line under a task cell as data, for JupyterLab with Shoal's extension: it adds buttons. Others show the HTML, or the text."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from shoal.errors import WorkerLost
from shoal.futures import TaskFuture
from shoal.outcome import Failure, Raised
from shoal_kernel.notebook.current import current_session
from shoal_kernel.notebook.kept import is_kept
from shoal_kernel.output.failed import ElementsFailed
from shoal_kernel.output.failed import Flaw as Flawed
from shoal_kernel.output.outlet import KERNEL

__all__ = ["MIME_TYPE", "Flaw", "Line", "ended_its_worker", "flaw_of", "memory_to_try"]

MIME_TYPE = "application/vnd.shoal.task+json"
"""Tells JupyterLab with Shoal's lab extension to show the line with its buttons."""

_OF_MEMORY = ("MemoryLimitExceeded", "MemoryError")
_TOOK = re.compile(r" took ([\d,]+) MB of memory")
_MORE = 2
_SOME = "8 GB"


@dataclass(frozen=True)
class Flaw:
    """What can be done about a task that failed.

    Args:
        here: whether its cell can run in the kernel with the inputs that it had.
        memory: the memory to try next, if it failed for want of it; else empty.
    """

    here: bool = False
    memory: str = ""


@dataclass(frozen=True)
class Line:
    """A line.

    Args:
        line: tells it apart from others.
        cell: the id of the notebook's cell that is meant.
        request: the id of the message below whose cell it stands.
        task: the number of the cell's task.
        state: as ``task_status()`` says it.
        code: of the state whose shape and colour are shown.
        over: whether the task is over.
        flaw: what can be done if it failed.
    """

    line: str
    cell: str
    request: str
    task: int
    state: str = ""
    code: int = 0
    over: bool = False
    flaw: Flaw = Flaw()

    def data(self, who: str, words: str, names: tuple[str, ...]) -> dict[str, Any]:
        """For the page.

        Args:
            who: the words for the task.
            words: how it is.
            names: what the cell writes.
        """
        return {"version": 1, "kernel": KERNEL, **asdict(self), "who": who, "words": words, "names": list(names)}


def flaw_of(future: TaskFuture[Any]) -> Flaw:
    """What can be done about a task that is over."""
    outcome = None if future.cancelled() else future.outcome
    session = current_session()
    failed = isinstance(outcome, Failure | Raised) and not ended_its_worker(outcome)
    here = session is not None and failed and is_kept(session.run_id, future.tid)
    return Flaw(here, memory_to_try(outcome))


def ended_its_worker(outcome: object) -> bool:
    """Whether a task ended as its process did, so that nobody is to run it in the kernel.

    Args:
        outcome: how it ended.
    """
    if isinstance(outcome, Failure):
        return outcome.type_name.rpartition(".")[2] == WorkerLost.__name__
    return isinstance(outcome, Raised) and isinstance(outcome.error, WorkerLost)


def memory_to_try(outcome: object) -> str:
    """How much memory may help; empty if a task did not fail for want of it.

    Args:
        outcome: how it ended.
    """
    if isinstance(outcome, Failure):
        told = f"{outcome.type_name.rpartition('.')[2]}: {outcome.message}"
    elif isinstance(outcome, Raised) and isinstance(outcome.error, ElementsFailed):
        told = Flawed(*outcome.error.flaws[0]).error
    elif isinstance(outcome, Raised):
        told = f"{type(outcome.error).__name__}: {outcome.line}"
    else:
        return ""
    if not told.removeprefix("shoal.errors.").startswith(_OF_MEMORY):
        return ""
    took = _TOOK.search(told)
    return f"{_MORE * int(took[1].replace(',', ''))} MB" if took else _SOME
