"""The one place of a kernel where the live views come together: the feed, the pages, the widget, the saved pictures."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import Any

from shoal.record.runs import RunView
from shoal.session import Session
from shoal_kernel.notebook.current import current_session, reading
from shoal_kernel.output.outlet import outlet
from shoal_kernel.output.place import CellOutput
from shoal_kernel.views.celldesk import CellDesk
from shoal_kernel.views.columns import Message
from shoal_kernel.views.feed import Feed
from shoal_kernel.views.pages import Pages
from shoal_kernel.views.static_svg import picture_of

__all__ = ["MIME_TYPE", "Hub", "after_cell", "hub", "page_opened", "page_shows"]

MIME_TYPE = "application/vnd.shoal.graph+json"
"""Tells JupyterLab with Shoal's lab extension to show the live graph; others show the widget, or the picture."""

_TEXT = "the graph of tasks (live in JupyterLab, Notebook 7, VS Code and Colab); %tasks lists them"
_numbers = itertools.count(1)

_PATIENCE = 1.0
"""Seconds that pages may take to tell which cells they show."""


class Hub:
    """The live views of one kernel. Use :func:`hub`.

    Args:
        shell: the running IPython shell.

    Attributes:
        feed: what follows the session.
        pages: who gets it in JupyterLab.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.feed = Feed(self._tell, self._settled, self._watched)
        self.pages = Pages(self._look, answer=CellDesk(shell).answer)
        self._widget: Any = None
        self._displays: list[str] = []
        self._saved: tuple[str, int, bool] | None = None
        self._lock = threading.Lock()

    def show(self) -> None:
        """Display a view in the cell that runs."""
        display_id = f"shoal-graph-{os.getpid()}-{next(_numbers)}"
        with self._lock:
            self._displays.append(display_id)
        data, metadata = self.bundle()
        self._shell.display_pub.publish(data, metadata, transient={"display_id": display_id})
        self.feed.start()

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The graph by MIME type, for the richest front end and the poorest."""
        from shoal_kernel.views.widgets import GraphWidget  # loads anywidget, which %graph alone needs

        if self._widget is None or self._widget.comm is None:
            self._widget = GraphWidget(self.feed)
        data, metadata = self._widget.bundle()
        data |= {MIME_TYPE: {"version": 1}, "text/html": _picture(self._session()), "text/plain": _TEXT}
        return data, metadata

    def after_cell(self) -> None:
        """In the main thread, while a cell ends: what is saved with the notebook says what is so now.

        For a person who looks on that is done when all tasks are over; a program that runs the notebook gets it after
        each cell, since it takes nothing between cells.
        """
        if self._displays and (not CellOutput(self._shell).live or not self.feed.active):
            self._save()

    def _session(self) -> Session | None:
        return current_session() or self.feed.followed

    def _look(self) -> None:
        self.feed.look()
        self.feed.start()

    def _watched(self) -> bool:
        return self.pages.watching() or (self._widget is not None and self._widget.looked_at)

    def _tell(self, message: Message) -> None:
        self.pages.send(message)
        if self._widget is not None and self._widget.looked_at:
            self._widget.send(message.head, buffers=list(message.buffers))

    def _settled(self) -> None:
        if self._displays:
            self._save()

    def _save(self) -> None:
        session = self._session()
        if session is None:
            return
        with reading(session) as view:
            now = (session.run_id, view.version, session.closed)
        with self._lock:
            if now == self._saved:
                return
            self._saved = now
            displays = list(self._displays)
        self._widget.save()
        data, metadata = self.bundle()
        for display_id in displays:
            self._shell.display_pub.publish(data, metadata, transient={"display_id": display_id}, update=True)


def _picture(session: Session | None) -> str:
    if session is None:
        return picture_of(RunView(), time.time())
    with reading(session) as view:
        return picture_of(view, time.time())


_hub: Hub | None = None
_making = threading.Lock()


def hub(shell: Any) -> Hub:
    """The hub of this kernel, made on first use: by a cell, or by a page on another thread."""
    global _hub
    with _making:
        if _hub is None:
            _hub = Hub(shell)
        return _hub


def after_cell() -> None:
    """Called after each cell; does nothing before the first view."""
    if _hub is not None:
        _hub.after_cell()


def page_opened(shell: Any, comm: Any, message: dict[str, Any]) -> None:
    """Called when a page opens a comm."""
    hub(shell).pages.opened(comm, message)


def page_shows(shell: Any, cell: str) -> bool:
    """Whether a page of JupyterLab can put output below a cell, whichever request it is of. Called in the main thread.

    A page that has not noticed yet that Shoal is here is told so, and given a moment.
    """
    outlet.announce(shell.kernel)
    return hub(shell).pages.shows(cell, _PATIENCE)
