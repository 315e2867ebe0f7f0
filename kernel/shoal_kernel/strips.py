"""The line under a task cell that says how its task is, kept up to date while the task is not over."""

from __future__ import annotations

import threading
import time
from html import escape
from typing import Any
from weakref import WeakKeyDictionary

from shoal.card import duration
from shoal.futures import TaskFuture
from shoal.record.runs import state_code
from shoal_kernel.looks import icon
from shoal_kernel.output import CellOutput

__all__ = ["Strip", "strip_of"]

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
    """

    def __init__(self, output: CellOutput, future: TaskFuture[Any], names: tuple[str, ...], quiet: bool) -> None:
        self._output, self._names, self._quiet = output, names, quiet
        self._future: TaskFuture[Any] | None = future
        self._made = time.monotonic()
        self._shown = ""
        self._mark = self._last = ""
        self._took = 0.0
        self._who = future.describe()
        _shown[future] = self
        self.refresh()
        if not quiet:
            with _lock:
                _live[self] = None
                if len(_live) == 1:
                    threading.Thread(target=_keep_fresh, name="shoal-strips", daemon=True).start()

    def refresh(self) -> None:
        """Show the state if it is another one than is shown."""
        state = self.state()
        if not self._quiet and state != self._shown:
            self._shown = state
            self._show(state)

    def state(self) -> str:
        """How the task is."""
        if self._future is not None:
            self._last = self._future.task_status()
        return self._last

    def end(self) -> None:
        """The task is over: show how, for good."""
        with _lock:
            _live.pop(self, None)
        self._took = time.monotonic() - self._made
        self.refresh()
        self._future = None  # a line below a cell keeps no value

    def mark(self, words: str) -> None:
        """Say something more of the task; nothing, if it is empty."""
        if not self._quiet and words != self._mark:
            self._mark = words
            self._show(self._shown)

    def _show(self, state: str) -> None:
        code = state_code(state)
        words = state
        if state in ("done", "failed"):
            words += f" after {duration(self._took or time.monotonic() - self._made)}"
        names = ", ".join(self._names)
        arrow = f" \N{RIGHTWARDS ARROW} {names}" if names else ""
        if self._mark:
            arrow += f" \N{BLACK RIGHT-POINTING SMALL TRIANGLE} {self._mark}"
        markup = (
            '<div style="font-size:var(--jp-ui-font-size1,13px);color:var(--jp-ui-font-color2,GrayText)">'
            f"{icon(code)} {escape(self._who)}: {escape(words)}{escape(arrow)}</div>"
        )
        self._output.status(f"{self._who}: {words}{arrow}", markup)


def strip_of(future: TaskFuture[Any]) -> Strip | None:
    """The line below the cell of a task; None if the task is no cell's."""
    return _shown.get(future)


def _keep_fresh() -> None:
    while True:
        time.sleep(_EVERY)
        with _lock:
            strips = list(_live)
            if not strips:
                return
        for strip in strips:
            strip.refresh()
