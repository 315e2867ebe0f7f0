"""The live graph of tasks in a cell: one model for the kernel, any number of views."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from shoal.errors import CellError
from shoal.session import Session
from shoal_kernel.columns import Message
from shoal_kernel.feed import Feed, current_session, reading
from shoal_kernel.static_svg import picture_of

__all__ = ["GraphWidget", "refresh", "show_graph"]

_CODE = Path(__file__).parent / "static" / "graph.js"
_numbers = itertools.count(1)


def _as_state(_version: int, widget: Any) -> dict[str, Any]:
    """What a page that opens gets: everything up to now, whenever it asks for the widget's state."""
    message: Message = widget.feed.snapshot()
    return {"head": message.head, "buffers": message.buffers}


class GraphWidget(anywidget.AnyWidget):
    """The tasks of the current session as a live graph. Use :func:`show_graph`, or ``%graph``.

    Attributes:
        snapshot: grows when the saved state should be written anew; what travels is everything up to now.
        feed: what tells the pages.
    """

    _esm = _CODE
    snapshot = traitlets.Int(0).tag(sync=True, to_json=_as_state)

    def __init__(self) -> None:
        self._displays: list[str] = []
        self._stale = False
        self._guard = threading.Lock()
        self.feed = Feed(self._tell, self._settled)
        super().__init__()
        _answer_at_once(self.comm)
        self.on_msg(self._on_message)
        self.feed.start()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and a picture for where no widget can live."""
        bundle = super()._repr_mimebundle_()
        assert bundle is not None
        data, metadata = bundle
        session = self.feed.followed or current_session()
        data["text/html"] = _picture(session)
        data["text/plain"] = "the graph of tasks (needs JupyterLab, Notebook 7, VS Code or Colab); %tasks lists them"
        return data, metadata

    def show(self, shell: Any) -> None:
        """Display a view in the cell that runs."""
        display_id = f"shoal-graph-{os.getpid()}-{next(_numbers)}"
        with self._guard:
            self._displays.append(display_id)
            self._stale = True
        self.feed.look()
        data, metadata = self._repr_mimebundle_()
        shell.display_pub.publish(data, metadata, transient={"display_id": display_id})

    def refresh(self, shell: Any) -> None:
        """In the main thread while a cell runs: bring what is saved with the notebook up to date, if it is not."""
        with self._guard:
            stale, self._stale = self._stale, False
            displays = list(self._displays)
        if stale and displays:
            self.snapshot += 1
            data, metadata = self._repr_mimebundle_()
            for display_id in displays:
                shell.display_pub.publish(data, metadata, transient={"display_id": display_id}, update=True)

    def _tell(self, message: Message) -> None:
        self._stale = True
        self.send(message.head, buffers=list(message.buffers))

    def _settled(self) -> None:
        self.snapshot += 1

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("kind") == "look":
            self.feed.look()


def _picture(session: Session | None) -> str:
    if session is None:
        return "<div>No tasks yet.</div>"
    with reading(session) as view:
        return picture_of(view, time.time())


def _answer_at_once(comm: Any) -> None:
    """Let messages of a page be handled while a cell runs.

    ipykernel 7.4 sends what a page says on a comm to the shell that last *sent* on that comm, which is busy while a cell
    runs; the message names the shell where it can be handled at once. The method is private, and not there in 7.0 to 7.3,
    which do the right thing by themselves.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default


_hub: GraphWidget | None = None


def show_graph(shell: Any) -> None:
    """Show the live graph in the cell that runs.

    Raises:
        CellError: the drawing code is not there.
    """
    global _hub
    if _hub is None or _hub.comm is None:
        if not _CODE.exists():
            raise CellError(f"the graph's drawing code, {_CODE.name}, is not built", "run 'npm run build' in the source tree")
        _hub = GraphWidget()
    _hub.show(shell)


def refresh(shell: Any) -> None:
    """Bring saved pictures up to date; called after each cell."""
    if _hub is not None:
        _hub.refresh(shell)
