"""Plain cells that use names whose values are being made: they wait for just these, and run with the values."""

from __future__ import annotations

import ast
import time
from collections.abc import Mapping
from concurrent.futures import Future
from itertools import compress
from typing import Any

from shoal.card import duration
from shoal.errors import CellError
from shoal.futures import ValueFuture
from shoal.futures.crowd import wait_for_any
from shoal.futures.stopping import cancel_all
from shoal.outcome import in_one_line
from shoal_kernel.analysis.names import analyse
from shoal_kernel.analysis.sharing import touches
from shoal_kernel.flow.interrupts import interrupted
from shoal_kernel.flow.waiting import Line
from shoal_kernel.output.endings import tell_all
from shoal_kernel.output.errors import short
from shoal_kernel.output.place import resend
from shoal_kernel.planning.aliases import Sharers
from shoal_kernel.planning.guarding import Guarded
from shoal_kernel.planning.reaching import reach

__all__ = ["Lent", "held_futures", "settle"]

_FIRST = 0.2
_EVERY = 0.5
_DRAIN = 2.0


def held_futures(notebook: Mapping[str, Any]) -> dict[str, ValueFuture[Any]]:
    """The variables that hold futures of tasks; what IPython keeps of outputs is left out."""
    # Asked before each cell, so it makes no object by variable, and takes 50 microseconds for 2,000 of them. It runs no code of theirs.
    now = dict(notebook)
    kinds = {kind for kind in set(map(type, now.values())) if issubclass(kind, ValueFuture)}
    found = compress(now, map(kinds.__contains__, map(type, now.values()))) if kinds else ()
    return {name: now[name] for name in found if not name.startswith("_")}


class Lent:
    """Values that stand in the place of futures while a cell runs.

    Args:
        notebook: the notebook's variables.
    """

    def __init__(self, notebook: dict[str, Any]) -> None:
        self._notebook = notebook
        self._lent: dict[str, tuple[ValueFuture[Any], Any]] = {}

    def lend(self, values: Mapping[str, tuple[ValueFuture[Any], Any]], tree: ast.Module) -> None:
        """Let names hold values.

        Args:
            values: for each name its future and its value.
            tree: the cell. What it may change is not given back: tasks that got the future would not see the change.
        """
        self._notebook.update({name: value for name, (_, value) in values.items()})
        changed = _changed(tree, self._notebook)
        self._lent.update({name: pair for name, pair in values.items() if name not in changed})

    def take_back(self) -> None:
        """Let each name hold its future again, unless the cell has given it something else, or its value a second name."""
        if not self._lent:
            return
        missing = object()
        still = {name for name, (_, value) in self._lent.items() if self._notebook.get(name, missing) is value}
        sharers = Sharers(self._notebook, [name for name in self._notebook if not name.startswith("_")])
        shared = {name for name in still if sharers.of(name, True)}
        for name in still - shared:  # of names that share an object, task cells have to know
            self._notebook[name] = self._lent[name][0]
        self._lent.clear()


def _changed(tree: ast.Module, notebook: Mapping[str, Any]) -> set[str]:
    """The names that a cell binds, changes, or hands to code of unknown effect."""
    names = analyse(tree)
    found = {name for name in notebook if not name.startswith("_")}
    reached = reach(notebook, (names.reads | names.free) & found)
    guarded = Guarded(names, touches(tree), reached, notebook, found)
    return {*names.changed, *reached.binds, *reached.changes, *guarded.handed_on(), *guarded.moving()}


def settle(shell: Any, lent: Lent, tree: ast.Module, needs: Mapping[str, int], before: list[ValueFuture[Any]]) -> None:
    """Wait for the values that a cell needs, and lend them.

    Args:
        shell: the running IPython shell.
        lent: where they go.
        tree: the cell.
        needs: the names, each with the line that needs it.
        before: futures that have to be over, whatever becomes of them.

    Raises:
        CellError: one has no value.
        KeyboardInterrupt: the kernel was interrupted; the tasks go on.
    """
    futures = {name: future for name, future in held_futures(shell.user_ns).items() if name in needs}
    tasks = list(dict.fromkeys(_task(future) for future in futures.values()))
    told = ", ".join(f"'{name}'" for name in futures) or "the cells before"
    what = f"{told} ({', '.join(tasks)})" if tasks else told
    _wait(shell, [*futures.values(), *before], what)
    lent.lend({name: (future, _value(name, future, needs[name])) for name, future in futures.items()}, tree)


def _wait(shell: Any, futures: list[ValueFuture[Any]], what: str) -> None:
    line, began, pause = Line(shell), time.monotonic(), _FIRST
    try:
        left: list[Future[Any]] = [future for future in futures if not future.done()]
        while left and time.monotonic() < began + pause:
            left = wait_for_any(left, began + pause - time.monotonic())
        while left:
            line.show(f"waiting for {what}, {duration(time.monotonic() - began)}")
            resend(shell)
            left = wait_for_any(left, _EVERY)
    except KeyboardInterrupt as error:
        open_ = [future for future in futures if not future.done()]
        interrupted(shell, error, lambda: cancel_all(open_), what)
        raise
    if line.shown:
        line.show(f"waited {duration(time.monotonic() - began)} for {what}")
        tell_all(_DRAIN)


def _task(future: ValueFuture[Any]) -> str:
    return f"{future.label} (task {future.tid})"


def _value(name: str, future: ValueFuture[Any], line: int) -> Any:
    where = f"line {line} needs '{name}'" if line else f"a function that the cell calls needs '{name}'"
    if future.cancelled():
        raise short(CellError(f"{where}, but {_task(future)} was cancelled", "run its cell again"))
    outcome = future.outcome
    error = future.exception()
    if error is not None:
        told = in_one_line(outcome) if outcome is not None else str(error)  # type: ignore[arg-type]
        raise short(CellError(f"{where}, but {_task(future)} failed: {told}", "correct its cell and run it again"))
    return future.result()
