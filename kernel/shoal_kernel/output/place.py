"""Output that finds its own cell, whatever runs by the time it comes.

ipykernel sends what a thread prints to the cell that runs *now*. The output of a task belongs to the cell that made the
task, so it is sent as a message that names that cell's request as its parent. A front end such as JupyterLab files it
there, also after the cell has ended. A program that runs a notebook (nbclient, ``jupyter execute``, papermill) only takes
output of the cell that it is running, and of displays that it knows: for it, the late output of a cell is kept in a
display of that cell, which is updated again whenever a later cell, or ``%wait``, runs. A page of JupyterLab that was loaded
anew has forgotten the request; Shoal's lab extension puts the output below the cell there (:mod:`shoal_kernel.output.outlet`).
"""

from __future__ import annotations

import html
import itertools
import os
import sys
import threading
from typing import Any, Self

from shoal_kernel.output.outlet import outlet
from shoal_kernel.output.shown import Pieces, Shown

__all__ = ["CellOutput", "escape", "only_while_running", "resend"]

_MOST_TEXT = 200_000
_numbers = itertools.count(1)
_kept: list[CellOutput] = []
_named: dict[str, str] = {}
"""Cells of earlier kernels, each with the request below whose cell their output was given a line."""
_lock = threading.Lock()


class CellOutput:
    """The place below one cell. Made in the cell; its methods may be called from any thread, at any time.

    Args:
        shell: the running IPython shell.
        kept: whether pages that are loaded anew get what it shows. Only for cells all of whose output it shows.

    Attributes:
        live: False where late output only arrives by updates of a display.
        cell_id: the notebook's own id of the cell; empty where the front end sends none.
        line_id: tells its status line apart from others.
    """

    def __init__(self, shell: Any, kept: bool = True) -> None:
        for stream in (sys.stdout, sys.stderr):  # what was printed before comes before
            stream.flush()
        self._kernel = getattr(shell, "kernel", None)
        self._parent: dict[str, Any] = shell.get_parent() if self._kernel is not None else {}
        self.live = not only_while_running(self._parent)
        self.cell_id = str((self._parent.get("metadata") or {}).get("cellId") or "")
        self._place = self.cell_id if kept else ""
        self._begun = self._restored = False
        self._status: dict[str, Any] | None = None
        self.line_id = _new_id()
        self._text_id = _new_id()
        self._value_id = _new_id()
        self._pieces = Pieces(_MOST_TEXT)
        self._reserved = False
        self._late: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    @classmethod
    def restored(cls, shell: Any, cell_id: str, count: int) -> Self:
        """The place below a cell that an earlier kernel ran. Called in the main thread, while a cell runs.

        If a page of JupyterLab with Shoal's extension shows the cell, the output appears below it there, in the place of what the
        earlier kernel left. Otherwise it appears below the cell that runs now, with a line that names the other one.

        Args:
            shell: the running IPython shell.
            cell_id: the notebook's own id of the cell; empty if it is not known.
            count: the number that the cell had.
        """
        made = cls(shell)
        made.cell_id = cell_id
        if made._kernel is not None and cell_id and made.live and outlet.shown_in_page(cell_id):
            made._parent = outlet.earlier_request(made._kernel, cell_id)
            made._place, made._restored = cell_id, True
        elif _named.get(cell_id or str(count)) != made.request or not made.request:
            _named[cell_id or str(count)] = made.request
            text = f"below cell [{count}], which an earlier kernel ran:"
            made._display({"text/plain": text, "text/html": f"<p>{escape(text)}</p>"}, {}, _new_id())
        return made

    @property
    def request(self) -> str:
        """The id of the message that it belongs to."""
        return str((self._parent.get("header") or {}).get("msg_id") or "")

    def status(self, text: str, markup: str, more: dict[str, Any] | None = None) -> None:
        """Show, or change, the line that says how the task is.

        Args:
            text: for front ends without HTML.
            markup: HTML.
            more: further representations, by MIME type.
        """
        bundle = {"text/plain": text, "text/html": markup, **(more or {})}
        if self._status is None:
            self._display(bundle, {}, self.line_id)
        elif bundle != self._status:
            self._update(self.line_id, bundle, {})
        self._status = bundle

    def reserve(self, shows: bool) -> None:
        """In the cell, where late output needs it: make the displays that will take the text and the value."""
        self._begin()
        if not self.live:
            self._reserved = True
            self._display({"text/plain": ""}, {}, self._text_id)
            if shows:
                self._display({"text/plain": ""}, {}, self._value_id)

    def stream(self, name: str, text: str) -> None:
        """Print.

        Args:
            name: ``stdout`` or ``stderr``.
            text: what to print.
        """
        if self.live:
            self._send("stream", {"name": name, "text": text})
        else:
            self._append(text)

    def error(self, kind: str, message: str, lines: list[str]) -> None:
        """Show a traceback, without making anything fail that runs now.

        Args:
            kind: the exception's type.
            message: its text.
            lines: the traceback, ANSI colours allowed.
        """
        if self.live:
            self._send("error", {"ename": kind, "evalue": message, "traceback": lines})
        else:
            self._append("\n".join(lines) + "\n")

    def value(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show a value by its representations."""
        if self._reserved:
            self._update(self._value_id, data, metadata)
        else:
            self._display(data, metadata, self._value_id)

    def show(self, shown: Shown) -> None:
        """Show what a task displays."""
        place = f"{self._value_id}-{shown.name}"
        if not self.live:
            self._append(shown)
        elif shown.update:
            self._update(place, shown.data, shown.metadata)
        else:
            self._display(shown.data, shown.metadata, place)

    # ------------------------------------------------------------------ how it gets there

    def _append(self, piece: str | Shown) -> None:
        """Add to the display that takes everything where output comes late."""
        self._pieces.add(piece)
        self._update(self._text_id, self._pieces.bundle(), {})

    def _display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str) -> None:
        content = {"data": data, "metadata": metadata, "transient": {"display_id": display_id}}
        self._send("display_data", content)

    def _update(self, display_id: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        if not self.live:
            with _lock:
                self._late[display_id] = (data, metadata)
                if self not in _kept:
                    _kept.append(self)
        content = {"data": data, "metadata": metadata, "transient": {"display_id": display_id}}
        self._send("update_display_data", content)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            outlet.begin(self._parent, self._place, self._restored)

    def _send(self, kind: str, content: dict[str, Any]) -> None:
        kernel = self._kernel
        if kernel is not None:
            self._begin()
            outlet.send(kernel, self._parent, self._place, kind, content)
        elif kind != "update_display_data":  # a terminal: there is only one place, and what stands there stays
            data = content.get("data", {})
            print(content.get("text") or data.get("text/plain") or "\n".join(content.get("traceback", ())))  # noqa: T201

    def _again(self, shell: Any) -> None:
        """Send late updates again, as output of the cell that runs now."""
        with _lock:
            late, self._late = self._late, {}
        for display_id, (data, metadata) in late.items():
            shell.display_pub.publish(data, metadata, transient={"display_id": display_id}, update=True)


def resend(shell: Any) -> None:
    """Called in the main thread while a cell runs: late updates that may have been missed are sent once more."""
    with _lock:
        kept = list(_kept)
        _kept.clear()
    for output in kept:
        output._again(shell)


def escape(text: str) -> str:
    """Text for HTML."""
    return html.escape(text)


def only_while_running(parent: dict[str, Any]) -> bool:
    """Whether the client that sent this request takes output only of the cell that it runs.

    Front ends with a person before them name the cell, or can be asked for input; programs that run notebooks do neither.
    """
    if os.environ.get("SHOAL_OUTPUT") in ("live", "collected"):
        return os.environ["SHOAL_OUTPUT"] == "collected"
    named = "cellId" in (parent.get("metadata") or {})
    return bool(parent) and not named and not (parent.get("content") or {}).get("allow_stdin", True)


def _new_id() -> str:
    return f"shoal-{os.getpid()}-{next(_numbers)}"
