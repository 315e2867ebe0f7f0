"""Back-pressure: a loop that submits without end is held, so that memory stays bounded."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from shoal.callbacks import on_callback_thread
from shoal.place import in_body, in_task

__all__ = ["Pressure"]

_SAY_AFTER = 1.0
"""Seconds that submissions are held, together, before a line says so."""

_LOOK_EVERY = 0.5
"""Seconds between looks whether the tasks still move."""


class Pressure:
    """Holds threads that submit while too many tasks are unfinished.

    Args:
        limit: the number of unfinished tasks from which on submissions are held.
        room: notified, with its lock held, as tasks end.
        unfinished: counts the tasks.
        moving: whether any of them can end without the thread that is held.
    """

    def __init__(
        self, limit: int, room: threading.Condition, unfinished: Callable[[], int], moving: Callable[[], bool]
    ) -> None:
        self.limit = limit
        self.held = 0
        """Threads held now."""
        self.stuck = False
        """Whether no task can end without somebody's doing; so until the next one is launched."""
        self._room, self._unfinished, self._moving = room, unfinished, moving
        self._low = limit - max(1, limit // 20)
        self._waited = 0.0
        self._said = False

    def let_go(self) -> None:
        """Wake who is held, if there is room; the lock is held."""
        if self._unfinished() <= self._low:
            self._room.notify_all()

    def hold(self) -> None:
        """Return once there is room; at once where waiting could be for ever or would stop others.

        That is: in a task, in the body of a join app, in a callback, and on the thread of an event loop, unless that runs a
        notebook's cell. Who is held is let go when no task can end without it.
        """
        if self.stuck or not _may_wait():
            return
        if self._unfinished() < self.limit:
            return  # futures of other libraries stand among them
        full = True
        while full:
            began = time.monotonic()
            full = self._is_full()
            self._waited += time.monotonic() - began
            if self._waited > _SAY_AFTER and not self._said:
                self._said = True
                sys.stderr.write(
                    f"Shoal: {self.limit:,} tasks are unfinished; further submissions wait for room "
                    "(Config.max_outstanding).\n"
                )

    def _is_full(self) -> bool:
        """Wait a moment for room; whether there is still none."""
        with self._room:
            if self._unfinished() > self._low and not self.stuck:
                self.held += 1
                try:
                    if not self._room.wait(_LOOK_EVERY):
                        self.stuck = not self._moving()
                finally:
                    self.held -= 1
            return self._unfinished() > self._low and not self.stuck


def _may_wait() -> bool:
    if in_task() or in_body() or on_callback_thread():
        return False
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return _in_cell()


def _in_cell() -> bool:
    """Whether the caller is a notebook's cell: it runs inside the event loop of its kernel, and may wait all the same.

    A coroutine that a cell has started is not called by IPython, but by the loop.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "run_code" and frame.f_globals.get("__name__") == "IPython.core.interactiveshell":
            return True
        frame = frame.f_back
    return False
