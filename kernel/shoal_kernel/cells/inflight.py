"""The task cells in flight: which objects of the notebook they change, or may change, so that no two do it unordered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from shoal.containers import find_futures
from shoal.errors import CellError
from shoal.futures import TaskFuture, ValueFuture
from shoal_kernel.planning.plan import Plan

__all__ = ["Clash", "after_of", "clashes", "entered", "in_flight", "refuse_clash", "take_latest"]


class _Use(NamedTuple):
    """One object, and a task cell in flight that changes it, or may."""

    held: Any
    name: str
    future: TaskFuture[Any]
    task: str
    line: int
    source: str
    certain: bool


class Clash(NamedTuple):
    """Two cells and an object.

    Args:
        name: the object's name in the cell to come.
        line: the line there; 0 where it only reads.
        future: the task in flight.
        task: the words for it.
        told: its line, with the source.
        certain: whether the task changes the object for certain.
        writes: ``changes`` or ``may change`` or ``reads``: what the cell to come does.
    """

    name: str
    line: int
    future: TaskFuture[Any]
    task: str
    told: str
    certain: bool
    writes: str


_KEPT = (type(None), bool, int, float, complex, str, bytes, ValueFuture)
_latest: tuple[TaskFuture[Any], dict[str, Any]] | None = None
_uses: list[_Use] = []
_tasks: dict[TaskFuture[Any], str] = {}


def entered(notebook: Mapping[str, Any], plan: Plan, future: TaskFuture[Any], task: str, text: str) -> None:
    """A cell became a task; called before its names become futures.

    Args:
        notebook: the notebook's variables.
        plan: the cell.
        future: its task.
        task: the words for it.
        text: the cell, with its lines numbered as in the notebook.
    """
    global _latest
    _prune()
    _tasks[future] = task
    held = {name: notebook[name] for name in plan.inputs if isinstance(notebook[name], _KEPT)}
    _latest = (future, held)
    lines = text.splitlines()
    for names, certain in ((plan.alters, True), (plan.risks, False)):
        for name, line in names.items():
            if name in notebook:
                source = lines[line - 1].strip() if 0 < line <= len(lines) else ""
                _uses.append(_Use(notebook[name], name, future, task, line, source, certain))


def take_latest() -> tuple[TaskFuture[Any], dict[str, Any]] | None:
    """The task that the cell has become that just ran, and those of its inputs that cannot change; told once."""
    global _latest
    latest, _latest = _latest, None
    return latest


def in_flight() -> list[TaskFuture[Any]]:
    """The tasks of cells that are not over."""
    _prune()
    return list(_tasks)


def clashes(notebook: Mapping[str, Any], plan: Plan) -> list[Clash]:
    """Where a cell to come and one in flight meet at an object that one of them changes, or may change.

    Two cells that may change it are no clash to refuse: each looks at its own copy, and fails loudly if it was changed.

    Args:
        notebook: the notebook's variables.
        plan: the cell to come.
    """
    _prune()
    kinds = {**dict.fromkeys(plan.inputs, "reads"), **dict.fromkeys(plan.risks, "may change")}
    kinds.update(dict.fromkeys(plan.alters, "changes"))
    lines = {**plan.risks, **plan.alters}
    found = []
    for name, kind in kinds.items():
        for use in _uses:
            if name in notebook and use.held is notebook[name]:
                told = f"line {use.line}: {use.source}" if use.line else "in a function that it calls"
                found.append(Clash(name, lines.get(name, 0), use.future, use.task, told, use.certain, kind))
    return found


def refuse_clash(found: Iterable[Clash], text: str) -> None:
    """Refuse a cell that changes what one in flight may change, or the other way round.

    Args:
        found: from :func:`clashes`.
        text: the cell to come.

    Raises:
        CellError: with the lines of both.
    """
    lines = text.splitlines()
    for clash in found:
        if clash.writes == "changes" or (clash.certain and clash.writes == "may change"):
            source = lines[clash.line - 1].strip() if 0 < clash.line <= len(lines) else "in a function that it calls"
            does = "changes" if clash.certain else "may change"
            raise CellError(
                f"line {clash.line} {clash.writes} '{clash.name}' ({source}), and {clash.task}, which is not over, {does} it "
                f"too ({clash.told}): which is first would be chance",
                "write %autotask ordered, which runs them one after the other, or %wait before this cell",
            )


def after_of(words: Iterable[str], notebook: Mapping[str, Any]) -> tuple[Future[Any], ...]:
    """The futures that ``--after`` names.

    Args:
        words: names of variables that hold futures.
        notebook: the notebook's variables.

    Raises:
        CellError: a name is not there, or holds none.
    """
    found: list[Future[Any]] = []
    for name in words:
        if name not in notebook:
            raise CellError(f"--after {name}: there is no variable '{name}' here", "name one that holds a future")
        futures = find_futures(notebook[name])
        if not futures:
            raise CellError(f"--after {name}: '{name}' holds no future; its value is here already", "leave it away")
        found += futures
    return tuple(dict.fromkeys(found))


def _prune() -> None:
    for future in [future for future in _tasks if future.done()]:
        del _tasks[future]
    _uses[:] = [use for use in _uses if not use.future.done()]
