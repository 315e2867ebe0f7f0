"""``%wait``: wait for futures of the notebook, and say how far they are."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from shoal.card import duration
from shoal.containers import find_futures
from shoal.errors import CellError
from shoal.futures.crowd import wait_for_any
from shoal.session import Session
from shoal_kernel.output.endings import tell_all
from shoal_kernel.output.place import resend

__all__ = ["Line", "futures_named", "wait_for"]

_SAY_EVERY = 0.5
_DRAIN = 10.0


def futures_named(names: list[str], notebook: Mapping[str, Any]) -> list[Future[Any]]:
    """The futures that variables hold, also inside lists, tuples, sets and dicts.

    Raises:
        CellError: there is no such variable, or it holds no future.
    """
    found: list[Future[Any]] = []
    for name in names:
        if name not in notebook:
            raise CellError(
                f"%wait {name}: there is no variable '{name}' here", "give the name of a future, or none for all"
            )
        futures = find_futures(notebook[name])
        if not futures:
            raise CellError(
                f"%wait {name}: '{name}' holds no future; its value is here already", "give the name of a future"
            )
        found += futures
    return found


class Line:
    """One line that is written over: a display that is updated.

    Args:
        shell: the running IPython shell.

    Attributes:
        shown: what it says.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._id = f"shoal-wait-{time.monotonic_ns()}"
        self.shown = ""

    def show(self, text: str) -> None:
        """Show ``text`` in the place of what was shown."""
        if text != self.shown:
            transient = {"display_id": self._id}
            self._shell.display_pub.publish({"text/plain": text}, {}, transient=transient, update=bool(self.shown))
            self.shown = text


def wait_for(shell: Any, session: Session | None, futures: list[Future[Any]] | None, timeout: float | None) -> bool:
    """Wait, with one line that says how far it is.

    Args:
        shell: the running IPython shell.
        session: the session whose tasks are waited for, if ``futures`` is None.
        futures: what to wait for; None for all tasks.
        timeout: seconds at most; None for as long as it takes.

    Returns:
        Whether all are over.
    """
    line, began = Line(shell), time.monotonic()
    while True:
        spent = time.monotonic() - began
        left = None if timeout is None else max(0.0, timeout - spent)
        pause = _SAY_EVERY if left is None else min(_SAY_EVERY, left)
        open_, total = _look(session, futures, pause)
        resend(shell)
        words = f"{total - open_:,} of {total:,} finished" if total else f"{open_:,} to go"
        over = not open_
        if over or (left is not None and left <= 0):
            break
        line.show(f"waiting: {words}, {duration(time.monotonic() - began)}")
    tell_all(_DRAIN)  # what the tasks printed has then been shown
    resend(shell)
    sys.stderr.flush()
    end = "all finished" if over else f"still waiting ({words})"
    line.show(f"{end} after {duration(time.monotonic() - began)}")
    return over


def _look(session: Session | None, futures: list[Future[Any]] | None, pause: float) -> tuple[int, int]:
    """Wait a moment; returns how many are not over, and of how many (0: unknown)."""
    if futures is not None:
        left = wait_for_any([future for future in futures if not future.done()], pause)
        return len(left), len(futures)
    if session is None:
        return 0, 0
    session.wait(pause)
    return session.pending(), 0
