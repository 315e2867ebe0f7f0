"""The kernel's side of the live views: one thread that tells pages what changed, at most ten times a second.

It looks at the current session only while somebody may be looking, and sends only when something changed: one binary
message a tick (:mod:`shoal_kernel.views.columns`), whatever the number of tasks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING

from shoal_kernel.notebook.current import current_session, reading
from shoal_kernel.views.columns import Encoder, Message

if TYPE_CHECKING:
    from shoal.session import Session

__all__ = ["Feed"]

TICK = 0.1
"""Seconds between two messages, at least."""

IDLE_TICK = 0.25
"""Seconds between two looks while no task is unfinished."""


class Feed:
    """Follows the current session and hands its messages to ``send``.

    Args:
        send: sends one message to all pages; called on the feed's own thread.
        settled: called on the feed's thread when the last unfinished task is over.
        watched: whether anybody looks; nothing is read or sent while nobody does.
        session: finds the session to follow.
    """

    def __init__(
        self,
        send: Callable[[Message], object],
        settled: Callable[[], object],
        watched: Callable[[], bool] = lambda: True,
        session: Callable[[], Session | None] = current_session,
    ) -> None:
        self._send, self._settled, self._watched, self._session = send, settled, watched, session
        self._followed: Session | None = None
        self._encoder = Encoder()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._all_wanted = False
        self._thread: threading.Thread | None = None

    @property
    def followed(self) -> Session | None:
        """The session that was looked at last; it may have ended."""
        return self._followed

    @property
    def active(self) -> bool:
        """Whether a task was unfinished when it looked last."""
        return self._encoder.active

    def start(self) -> None:
        """Begin to look, if it does not yet."""
        with self._lock:
            if self._thread is None:
                # ipykernel 7.0 knows no message that a thread could answer, unless the thread has inherited one
                run = copy_context().run
                self._thread = threading.Thread(target=run, args=(self._run,), name="shoal-feed", daemon=True)
                self._thread.start()

    def look(self) -> None:
        """A page has nothing, or missed something: send everything with the next tick."""
        self._all_wanted = True
        self._wake.set()

    def snapshot(self) -> Message:
        """Everything up to now, for a page that opens."""
        with self._lock:
            self._follow()
            return self._encoder.snapshot(time.time())

    def tick(self) -> bool:
        """Look once, and send what changed. Returns whether a task is unfinished."""
        with self._lock:
            was_active = self._encoder.active
            self._follow()
            active = self._encoder.active
            message = self._encoder.delta(time.time()) if self._encoder.pending else None
            if self._all_wanted:
                self._all_wanted = False
                message = self._encoder.snapshot(time.time())
        if message is not None:
            self._send(message)
        if was_active and not active:
            self._settled()
        return active

    def _follow(self) -> None:
        session = self._session() or self._followed
        self._followed = session
        if session is None:
            self._encoder.follow("", None, False)
        else:
            ended = session.closed
            with reading(session) as view:
                self._encoder.follow(session.run_id, view, ended)

    def _run(self) -> None:
        while True:
            active = self._watched() and self.tick()
            self._wake.wait(TICK if active else IDLE_TICK)
            if self._wake.is_set():
                self._wake.clear()
                time.sleep(TICK)  # never faster, however often pages ask
