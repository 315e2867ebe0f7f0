"""What the cells had whose tasks go on or failed lately: their text, and the notebook's own objects that they read."""

from __future__ import annotations

import reprlib
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple, Protocol

from shoal.futures import TaskFuture
from shoal.outcome import Failure, Raised

__all__ = [
    "DEFINED",
    "Kept",
    "Script",
    "ended",
    "is_kept",
    "keep",
    "keep_failed",
    "kept_of",
    "let_go",
    "read_text",
    "told_way",
]

_MOST = 20
_TOLD = 8
DEFINED = (ModuleType, FunctionType, BuiltinFunctionType, type)
"""Kinds of inputs that are definitions rather than data."""

_kept: dict[tuple[str, int], Kept | Script] = {}
_failed: list[tuple[str, int]] = []


class _Code(Protocol):
    """The text of a cell, and what tracebacks call it."""

    @property
    def text(self) -> str:
        """Python."""
        ...

    @property
    def file(self) -> str:
        """For example ``<Cell In[4]>``."""
        ...


class Kept(NamedTuple):
    """What a task of a cell had.

    Args:
        code: the cell's text.
        inputs: the notebook's own objects that travelled, by name.
        shows: whether the value of a last expression is to be shown.
    """

    code: _Code
    inputs: dict[str, Any]
    shows: bool = True


class Script(NamedTuple):
    """What a task of a ``%%bash_task`` cell had.

    Args:
        pieces: the script, from :func:`~shoal_kernel.lines.script.split_script`.
        inputs: the variables that stand in it, by name.
        folder: the notebook's.
    """

    pieces: list[tuple[str, str]]
    inputs: dict[str, Any]
    folder: str


def keep(run_id: str, tid: int, kept: Kept | Script) -> None:
    """A cell became a task."""
    _kept[run_id, tid] = kept


def keep_failed(run_id: str, tid: int, kept: Kept | Script) -> None:
    """A task has failed; of several things that it had, the first that failed counts."""
    if (run_id, tid) not in _kept:
        keep(run_id, tid, kept)
        let_go(run_id, tid, True)


def ended(run_id: str, future: TaskFuture[Any]) -> None:
    """The task of a cell is over."""
    let_go(run_id, future.tid, not future.cancelled() and isinstance(future.outcome, Failure | Raised))


def let_go(run_id: str, tid: int, failed: bool) -> None:
    """A task is over: what it had is kept if it failed, of the last few such tasks."""
    if not failed:
        _kept.pop((run_id, tid), None)
        return
    _failed.append((run_id, tid))
    if len(_failed) > _MOST:
        _kept.pop(_failed.pop(0), None)


def is_kept(run_id: str, tid: int) -> bool:
    """Whether it is known what the cell of a task had, so that ``%debug`` can look at it here."""
    return isinstance(_kept.get((run_id, tid)), Kept)


def told_way(run_id: str, tid: int) -> str:
    """What can be done here about a task that failed; empty if it is not kept what it had."""
    kept = _kept.get((run_id, tid))
    if kept is None:
        return ""
    return f"%retry {tid} --here runs it in the kernel" + ("" if isinstance(kept, Script) else ", for %debug")


def read_text(run_id: str, tid: int) -> str:
    """The values that a task which failed has read, in one line; empty if they are not kept."""
    kept = _kept.get((run_id, tid))
    if kept is None:
        return ""
    values = {name: value for name, value in kept.inputs.items() if not isinstance(value, DEFINED)}
    told = [f"{name} = {reprlib.repr(value)}" for name, value in values.items()]
    more = f", and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return ", ".join(told[:_TOLD]) + more


def kept_of(run_id: str, tid: int) -> Kept | Script:
    """What a task had.

    Raises:
        KeyError: that is not kept.
    """
    return _kept[run_id, tid]
