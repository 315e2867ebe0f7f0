"""The line under a task cell that says how its task is, kept up to date while the task is not over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any
from weakref import WeakKeyDictionary

from shoal.card import duration
from shoal.futures import TaskFuture
from shoal.record.runs import DONE, state_code
from shoal_kernel.notebook.looks import icon
from shoal_kernel.output.place import CellOutput
from shoal_kernel.output.stripdata import MIME_TYPE, Line, flaw_of

__all__ = ["Strip", "cancel_line", "strip_of"]

_EVERY = 0.25

_live: dict[Strip, None] = {}
_lock = threading.Lock()
_shown: WeakKeyDictionary[TaskFuture[Any], Strip] = WeakKeyDictionary()


class Strip:
    """One line.

    Args:
        output: the place below the cell.
        future: the cell's task.
        names: what the cell writes, for the line.
        quiet: show nothing.
        spent: tells the seconds since the task was made; 0.0 if that is not known. Default: since the line was made.
    """

    def __init__(
        self,
        output: CellOutput,
        future: TaskFuture[Any],
        names: tuple[str, ...],
        quiet: bool,
        spent: Callable[[], float] | None = None,
    ) -> None:
        self._output, self._names, self._quiet = output, names, quiet
        self._future: TaskFuture[Any] | None = future
        made = time.monotonic()
        self._spent = spent or (lambda: time.monotonic() - made)
        self._since = time.time()
        self._shown = ""
        self._mark = self._last = ""
        self._took = 0.0
        self._who = self._name(future)
        self._line = Line(output.line_id, output.cell_id, output.request, future.tid)
        _shown[future] = self
        self.refresh()
        if not quiet:
            with _lock:
                _live[self] = None
                if len(_live) == 1:
                    threading.Thread(target=_keep_fresh, name="shoal-strips", daemon=True).start()

    @property
    def line_id(self) -> str:
        """Tells the line apart from others."""
        return self._line.line

    def refresh(self) -> None:
        """Show the state if it is another one than is shown."""
        state = self.state()
        if not self._quiet and self._told(state) != self._shown:
            if state != self._line.state:
                self._since = time.time()
            self._show(state)

    def state(self) -> str:
        """How the task is."""
        if self._future is not None:
            self._last = self._future.task_status()
        return self._last

    def cancel(self) -> bool:
        """Cancel the cell's task; whether that could be done."""
        future = self._future
        return future is not None and future.cancel()

    def end(self) -> None:
        """The task is over: show how, for good."""
        with _lock:
            _live.pop(self, None)
        self._took = self._spent()
        if self._future is not None:
            self._line = replace(self._line, flaw=flaw_of(self._future))
        self.refresh()
        self._future = None  # a line below a cell keeps no value

    def mark(self, why: str) -> None:
        """Say that the cell is stale.

        Args:
            why: the reason; empty if it is not stale.
        """
        if not self._quiet and why != self._mark:
            self._mark = why
            self._show(self._last)

    def of_cell(self, cell_id: str) -> None:
        """Whose line it is, where that is not the cell that it stands below, as with ``%rerun``."""
        if not self._quiet and cell_id != self._line.cell:
            self._line = replace(self._line, cell=cell_id)
            self._show(self._last)

    def _show(self, state: str) -> None:
        self._shown = self._told(state)
        words, names = self._words(state), ", ".join(self._names)
        arrow = f" \N{RIGHTWARDS ARROW} {names}" if names else ""
        if self._mark:
            arrow += f" \N{BLACK RIGHT-POINTING SMALL TRIANGLE} stale: {self._mark}"
        code = self._code(state)
        markup = (
            '<div style="font-size:var(--jp-ui-font-size1,13px);color:var(--jp-ui-font-color2,GrayText)">'
            f"{icon(code)} {escape(self._who)}: {escape(words)}{escape(arrow)}</div>"
        )
        self._line = replace(self._line, state=state, code=code, over=state_code(state) >= DONE)
        data = self._line.data(self._who, words, self._names) | {"stale": self._mark, "since": self._since}
        self._output.status(f"{self._who}: {words}{arrow}", markup, {MIME_TYPE: data})

    def _told(self, state: str) -> str:
        """What must differ for the line to be shown again."""
        return state

    def _name(self, future: TaskFuture[Any]) -> str:
        return future.describe()

    def _code(self, state: str) -> int:
        """The code of the state whose shape and colour are shown."""
        return state_code(state)

    def _words(self, state: str) -> str:
        took = self._took or self._spent()
        return f"{state} after {duration(took)}" if state in ("done", "failed") and took else state


def strip_of(future: TaskFuture[Any]) -> Strip | None:
    """The line below the cell of a task; None if the task is no cell's."""
    return _shown.get(future)


def cancel_line(line_id: str) -> int:
    """Cancel what a line stands for.

    Args:
        line_id: tells the line apart from others.

    Returns:
        1 if that could be done; 0 if it is over, cannot be stopped where it runs, or is none of this kernel's.
    """
    with _lock:
        found = [strip for strip in _live if strip.line_id == line_id]
    return sum(strip.cancel() for strip in found)


def _keep_fresh() -> None:
    while True:
        time.sleep(_EVERY)
        with _lock:
            strips = list(_live)
            if not strips:
                return
        for strip in strips:
            strip.refresh()
