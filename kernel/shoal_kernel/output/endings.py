"""How the end of a cell's task is told below the cell: its value, what became of its names, or its error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from shoal.callbacks import drain
from shoal.errors import HiddenMutation
from shoal.futures import OutputFuture, TaskFuture
from shoal.outcome import Skipped
from shoal.session import Session
from shoal_kernel.output.advice import advice
from shoal_kernel.output.errors import explain
from shoal_kernel.output.place import CellOutput
from shoal_kernel.output.shown import Shown
from shoal_kernel.output.strips import Strip
from shoal_kernel.worker.cellrun import REPORT, Report

__all__ = ["Ending", "tell_all", "tell_when_over"]

_open: dict[TaskFuture[Any], Callable[[TaskFuture[Any]], None]] = {}
"""The tasks of cells whose end was not told yet, and what tells it."""


def tell_when_over(future: TaskFuture[Any], ending: Callable[[TaskFuture[Any]], None]) -> None:
    """Call ``ending(future)`` on the callback thread when a cell's task is over; :func:`tell_all` waits for that."""
    _open[future] = ending
    future.add_done_callback(_tell)


def _tell(future: TaskFuture[Any]) -> None:
    try:
        _open[future](future)
    finally:
        del _open[future]


def tell_all(timeout: float) -> bool:
    """Wait until the end of each task cell that is over was told below it.

    Args:
        timeout: seconds at most.

    Returns:
        Whether it was.
    """
    deadline = time.monotonic() + timeout
    # a future is done a moment before its callbacks are given to their thread
    while any(future.done() for future in list(_open)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return drain(max(0.0, deadline - time.monotonic()))


class Ending:
    """Shows how a cell's task ended. Called on the callback thread, after all that the task printed.

    Args:
        notebook: the notebook's variables.
        place: the place below the cell, and the line there.
        before: what the names that the cell writes held before.
        managed: names that ``with ... as`` binds: that they cannot travel is no news.
        learn: is told why the cell turned out to be no task, if it was not asked for one.
        session: the task's; where it is given, what the cell read and what to do is told below an error.
    """

    def __init__(
        self,
        notebook: dict[str, Any],
        place: tuple[CellOutput, Strip],
        before: Mapping[str, Any] | None = None,
        managed: frozenset[str] = frozenset(),
        learn: Callable[[str], None] | None = None,
        session: Session | None = None,
    ) -> None:
        self._notebook, self._before, self._managed = notebook, before or {}, managed
        self._output, self._strip = place
        self._learn, self._session = learn, session

    def __call__(self, future: TaskFuture[Any]) -> None:
        """Show the value, or the error, and the line's last state."""
        self._strip.end()
        if future.cancelled():
            return
        outcome = future.outcome
        if isinstance(outcome, Skipped) and outcome.path[0].startswith(f"{future.label} (task "):
            outcome = outcome.root  # the cell's own body, which is a task before this one
        failed = None if outcome is None else explain(outcome, future.describe())
        if failed is not None:
            more = [] if self._session is None else advice(self._session, future)
            self._output.error(failed[0], failed[1], [*failed[2], *more])
            if failed[0] == HiddenMutation.__name__:
                self._keep_here("it changes what it was thought to read")
        elif REPORT in future.outputs:
            self._tell(future.outputs, future.outputs[REPORT].result())

    def _keep_here(self, why: str) -> None:
        if self._learn is not None:
            self._learn(why)
            self._output.stream("stderr", f"Shoal: run this cell again, and it runs in the kernel, since {why}.\n")

    def _tell(self, outputs: Any, report: Report) -> None:
        for name, (data, metadata) in report.displays.items():
            self._output.show(Shown(name, data, metadata, True))
        if report.shown is not None:
            self._output.value(*report.shown)
        for name, reason in [*report.missing.items(), *report.stayed.items()]:
            silent = name in report.stayed and name in self._managed
            future: OutputFuture[Any] = outputs[name]
            kept = name in self._before and name in report.missing and name not in report.gone
            if self._notebook.get(name) is future:
                del self._notebook[name]
                if kept:
                    self._notebook[name] = self._before[name]
            # a plain cell does not speak of a branch that did not run
            silent = silent or (self._learn is not None and name in report.missing) or name in report.gone
            end = " It holds what it held before." if kept else ""
            if not silent:
                self._output.stream("stderr", f"Shoal: '{name}' {reason}.{end}\n")
        stayed = [name for name in report.stayed if name not in self._managed]
        if stayed:
            self._keep_here(f"'{stayed[0]}' cannot travel")
        for name, reason in [*report.unchecked.items(), *report.parted.items()]:
            self._output.stream("stderr", f"Shoal: '{name}' {reason}.\n")
