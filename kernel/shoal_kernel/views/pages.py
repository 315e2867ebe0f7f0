"""Pages of JupyterLab that look at the graph, or show task cells: each has a comm of its own with the kernel.

JupyterLab's own widgets are dark after a reload of the page until the running cell ends. The lab extension therefore opens a
comm of this target itself, over a subshell; what arrives on it is handled at once, whatever runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shoal_kernel.views.columns import Message

__all__ = ["TARGET", "Pages", "Shown", "answer_at_once"]

TARGET = "shoal.graph"
"""The comm target's name."""

SILENT = 90.0
"""A page that has said nothing for this long (seconds) is gone; pages speak up every 20 s."""

_ANSWERS = 10.0
"""A page that has not said for this long (seconds) which cells it shows, having been asked, is gone."""

_FRESH = 5.0
"""For so long (seconds) what a page has told of its cells is taken for true."""


def answer_at_once(comm: Any) -> None:
    """Let messages of a page be handled while a cell runs.

    ipykernel 7.4 sends what a page says on a comm to the shell that last *sent* on that comm, which is busy while a cell
    runs; the message names the shell where it can be handled at once. The method is private, and not there in 7.0 to 7.3,
    which do the right thing by themselves.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default


@dataclass(frozen=True)
class Shown:
    """What a page that shows cells told of itself.

    Args:
        session: of its messages.
        cells: the ids of its cells.
        told: when (on the clock of the pages).
    """

    session: str
    cells: frozenset[str]
    told: float


class Pages:
    """The comms of pages that look. Messages of pages come on threads of subshells.

    A page that shows the graph gets what the feed tells, and says every 20 s that it still looks. A page that shows cells
    gets answers to what it asks, and nothing else.

    Args:
        look: called when a page needs everything of the graph.
        clock: seconds that never run backwards.
        answer: called with a comm and what its page asks about cells.
    """

    def __init__(
        self,
        look: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        answer: Callable[[Any, dict[str, Any]], object] = lambda _comm, _data: None,
    ) -> None:
        self._look, self._answer, self._clock = look, answer, clock
        self._lock = threading.Condition()
        self._heard: dict[Any, float] = {}
        self._cells: dict[Any, Shown] = {}
        self._nobody_until = float("-inf")

    def opened(self, comm: Any, message: dict[str, Any]) -> None:
        """A page has opened a comm (the handler of the target)."""
        answer_at_once(comm)
        comm.on_msg(lambda message: self._on_message(comm, message))
        comm.on_close(lambda _: self._forget(comm))
        data = message.get("content", {}).get("data", {})
        if "cells" in data:
            asked = self._ask_all()
            self._is_there(comm, message)
            self._answer(comm, {"kind": "cells"})
            if asked is not None:  # one that was reloaded may have said no good-bye
                timer = threading.Timer(_ANSWERS, self.drop_before, (asked,))
                timer.daemon = True
                timer.start()
        else:
            self._note(comm)
            self._look()

    def watching(self) -> bool:
        """Whether a page looks at the graph."""
        with self._lock:
            oldest = self._clock() - SILENT
            self._heard = {comm: heard for comm, heard in self._heard.items() if heard > oldest}
            return bool(self._heard)

    def send(self, message: Message) -> None:
        """Send one message to each page that shows the graph."""
        with self._lock:
            comms = list(self._heard)
        for comm in comms:
            comm.send(data=message.head, buffers=list(message.buffers))

    def shows(self, cell: str, patience: float) -> bool:
        """Whether a page shows the cell with this id, and can put output below it. Not to be called where pages are heard.

        Args:
            cell: the cell's id.
            patience: seconds that pages may take to answer.
        """
        with self._lock:
            if self._shown_since(cell, self._clock() - _FRESH):
                return True
            if not self._cells and self._clock() < self._nobody_until:
                return False
        asked = self._ask_all() or 0.0
        with self._lock:
            self._lock.wait_for(lambda: self._cells and all(s.told >= asked for s in self._cells.values()), patience)
            shown = self._shown_since(cell, asked)
        self.drop_before(asked)
        self._nobody_until = self._clock() + _FRESH
        return shown

    def _shown_since(self, cell: str, since: float) -> bool:
        return any(shown.told >= since and cell in shown.cells for shown in self._cells.values())

    def _ask_all(self) -> float | None:
        """Ask each page which cells it shows; returns when, and None if there is no page."""
        with self._lock:
            asked, comms = self._clock(), list(self._cells)
        for comm in comms:
            comm.send(data={"kind": "who"}, buffers=[])
        return asked if comms else None

    def drop_before(self, asked: float) -> None:
        """Forget the pages that have not told which cells they show since they were asked.

        Args:
            asked: when that was, on the clock of the pages.
        """
        with self._lock:
            gone = [comm for comm, shown in self._cells.items() if shown.told < asked]
            for comm in gone:
                del self._cells[comm]
        if gone:
            self._tell_pages()

    def _on_message(self, comm: Any, message: dict[str, Any]) -> None:
        data = message["content"]["data"]
        kind = data.get("kind")
        if kind == "me":
            self._is_there(comm, message)
        elif kind == "leave":
            with self._lock:
                self._heard.pop(comm, None)
        elif kind in ("look", "here"):
            known = comm in self._heard
            self._note(comm)
            if not known or kind == "look":
                self._look()
        else:
            self._answer(comm, data)

    def _is_there(self, comm: Any, message: dict[str, Any]) -> None:
        """A page tells which cells it shows."""
        session = message.get("header", {}).get("session", "")
        with self._lock:
            new = comm not in self._cells
            self._cells[comm] = Shown(session, frozenset(message["content"]["data"]["cells"]), self._clock())
            self._lock.notify_all()
        if new:
            self._tell_pages()

    def _tell_pages(self) -> None:
        """Each page knows the others: one that has output of a cell from its own request is to save it."""
        with self._lock:
            comms = list(self._cells)
            sessions = [shown.session for shown in self._cells.values()]
        for comm in comms:
            comm.send(data={"kind": "pages", "sessions": sessions}, buffers=[])

    def _note(self, comm: Any) -> None:
        with self._lock:
            self._heard[comm] = self._clock()

    def _forget(self, comm: Any) -> None:
        with self._lock:
            self._heard.pop(comm, None)
            gone = self._cells.pop(comm, None)
        if gone is not None:
            self._tell_pages()
