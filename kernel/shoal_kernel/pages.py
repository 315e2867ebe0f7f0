"""Pages of JupyterLab that look at the graph: each has a comm of its own with the kernel.

JupyterLab's own widgets are dark after a reload of the page until the running cell ends. The lab extension therefore opens a
comm of this target itself, over a subshell; what arrives on it is handled at once, whatever runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from shoal_kernel.columns import Message

__all__ = ["TARGET", "Pages", "answer_at_once"]

TARGET = "shoal.graph"
"""The comm target's name."""

SILENT = 90.0
"""A page that has said nothing for this long (seconds) is gone; pages speak up every 20 s."""


def answer_at_once(comm: Any) -> None:
    """Let messages of a page be handled while a cell runs.

    ipykernel 7.4 sends what a page says on a comm to the shell that last *sent* on that comm, which is busy while a cell
    runs; the message names the shell where it can be handled at once. The method is private, and not there in 7.0 to 7.3,
    which do the right thing by themselves.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default


class Pages:
    """The comms of pages that look. Messages of pages come on threads of subshells.

    Args:
        look: called when a page needs everything.
        clock: seconds that never run backwards.
    """

    def __init__(self, look: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock = look, clock
        self._lock = threading.Lock()
        self._heard: dict[Any, float] = {}

    def opened(self, comm: Any, _message: object) -> None:
        """A page has opened a comm (the handler of the target)."""
        answer_at_once(comm)
        comm.on_msg(lambda message: self._on_message(comm, message))
        comm.on_close(lambda _: self._forget(comm))
        self._note(comm)
        self._look()

    def watching(self) -> bool:
        """Whether a page looks."""
        with self._lock:
            oldest = self._clock() - SILENT
            self._heard = {comm: heard for comm, heard in self._heard.items() if heard > oldest}
            return bool(self._heard)

    def send(self, message: Message) -> None:
        """Send one message to each page."""
        with self._lock:
            comms = list(self._heard)
        for comm in comms:
            comm.send(data=message.head, buffers=list(message.buffers))

    def _on_message(self, comm: Any, message: dict[str, Any]) -> None:
        known = comm in self._heard
        self._note(comm)
        if not known or message["content"]["data"].get("kind") == "look":
            self._look()

    def _note(self, comm: Any) -> None:
        with self._lock:
            self._heard[comm] = self._clock()

    def _forget(self, comm: Any) -> None:
        with self._lock:
            self._heard.pop(comm, None)
