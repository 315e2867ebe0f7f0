"""What appears below a ``%%parallel`` cell: how far it is, and what its elements print."""

from __future__ import annotations

import threading
import time
from typing import Any

from shoal.card import duration
from shoal.futures import TaskFuture
from shoal.record.runs import state_code
from shoal_kernel.cells.gathered import Elements
from shoal_kernel.output.place import CellOutput
from shoal_kernel.output.shown import Shown
from shoal_kernel.output.strips import Strip

__all__ = ["Printer", "Progress", "element_text"]

_MOST_TEXT = 100_000
"""Characters that the elements of a cell may print below it together."""

_LONGEST = 32
_SIMPLE = (bool, int, float, complex, str, bytes, type(None))


class Progress(Strip):
    """The line that says how far a cell is.

    Args:
        output: the place below the cell.
        future: of the list.
        elements: the elements.
        quiet: show nothing.
        began: when the cell began (``time.monotonic()``).
    """

    def __init__(
        self, output: CellOutput, future: TaskFuture[Any], elements: Elements, quiet: bool, began: float
    ) -> None:
        self._elements, self._began = elements, began
        super().__init__(output, future, (elements.results,), quiet)

    def cancel(self) -> bool:
        """Cancel the elements that are not over; whether that could be done."""
        done = super().cancel()
        return bool(self._elements.cancel()) or done

    def _told(self, state: str) -> str:
        return self._words(state)

    def _name(self, future: TaskFuture[Any]) -> str:
        return self._elements.label

    def _code(self, state: str) -> int:
        return state_code("running" if state in ("waiting", "queued") and self._elements.done else state)

    def _words(self, state: str) -> str:
        elements = self._elements
        words = f"{elements.done:,} of {elements.total:,} done"
        if elements.failed:
            words += f", {elements.failed:,} failed"
        if elements.kept:
            words += f" ({elements.kept:,} kept from the last run)"
        if state in ("done", "failed"):
            words += f" after {duration(time.monotonic() - self._began)}"
        return f"{words}, cancelled" if state == "cancelled" else words


class Printer:
    """Shows what elements print, line by line, each line with its element before it.

    Called on the callback thread, and at the end of the cell.

    Args:
        output: the place below the cell.
    """

    def __init__(self, output: CellOutput) -> None:
        self._output = output
        self._open: dict[tuple[str, str], str] = {}
        self._left = _MOST_TEXT
        self._lock = threading.Lock()

    def add(self, element: str, stream: str, text: str) -> None:
        """An element has printed.

        Args:
            element: the element, as people know it.
            stream: ``stdout`` or ``stderr``.
            text: what it printed, not always to the end of a line.
        """
        with self._lock:
            whole, newline, rest = (self._open.pop((element, stream), "") + text).rpartition("\n")
            if rest:
                self._open[element, stream] = rest
            if newline:
                self._show(element, stream, whole)

    def show(self, element: str, shown: Shown) -> None:
        """An element displays something."""
        with self._lock:
            if self._left > 0:
                self._output.stream("stdout", f"[{element}]\n")
                self._output.show(Shown(f"{element}-{shown.name}", *shown[1:]))

    def end(self, element: str) -> None:
        """Show what is left of an element's last line."""
        with self._lock:
            for stream in ("stdout", "stderr"):
                rest = self._open.pop((element, stream), "")
                if rest:
                    self._show(element, stream, rest)

    def _show(self, element: str, stream: str, text: str) -> None:
        if self._left <= 0:
            return
        shown = "".join(f"[{element}] {line}\n" for line in text.split("\n"))
        self._left -= len(shown)
        if self._left <= 0:
            shown += "Shoal: what the elements print further is not shown here; %output NUMBER shows that of a task.\n"
        self._output.stream(stream, shown)


def element_text(names: tuple[str, ...], element: tuple[Any, ...], index: int) -> str:
    """An element as people know it: ``x=3``, or ``#17`` where that would be long.

    Args:
        names: what it binds.
        element: its values.
        index: its place.
    """
    if all(type(value) in _SIMPLE and (type(value) is not str or len(value) <= _LONGEST) for value in element):
        text = ", ".join(f"{name}={value!r}" for name, value in zip(names, element, strict=True))
        if len(text) <= _LONGEST + 8 * (len(names) - 1):
            return text
    return f"#{index}"
