"""What interrupting the kernel does while a cell waits for tasks.

The first interrupt stops the waiting; the tasks go on. A second one within two seconds cancels the tasks that were waited for,
also if no cell runs by then.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from shoal_kernel.output import CellOutput

__all__ = ["AGAIN", "interrupted"]

AGAIN = 2.0
"""Seconds within which a second interrupt cancels."""

_first: _Armed | None = None


class _Armed:
    """A first interrupt, which a second may follow.

    Args:
        shell: the running IPython shell.
        cancel: cancels what was waited for, and tells how many tasks that were.
    """

    def __init__(self, shell: Any, cancel: Callable[[], int]) -> None:
        self._cancel = cancel
        self._output = CellOutput(shell)
        self._until = time.monotonic() + AGAIN
        kernel = getattr(shell, "kernel", None)
        self.before = getattr(kernel, "saved_sigint_handler", None)
        if self.before is not None and threading.current_thread() is threading.main_thread():
            # ipykernel puts this handler in place when the cell is over; by default an idle kernel ignores interrupts
            kernel.saved_sigint_handler = self  # type: ignore[union-attr]
            self._active = signal.signal(signal.SIGINT, self._while_ending)

    def _while_ending(self, number: int, frame: Any) -> None:
        """An interrupt while the cell is still being ended, or goes on in spite of the first one."""
        signal.signal(signal.SIGINT, self._active)
        if time.monotonic() <= self._until:
            self._begin_second()
        elif callable(self._active):
            self._active(number, frame)

    def __call__(self, *_: object) -> None:
        """An interrupt while no cell runs."""
        signal.signal(signal.SIGINT, self.before)
        self._begin_second()

    def _begin_second(self) -> None:
        # cancelling takes locks, which the interrupted thread may hold
        threading.Thread(target=self.second, name="shoal-cancel", daemon=True).start()

    def second(self) -> None:
        """A second interrupt came: cancel, if it came in time."""
        if time.monotonic() > self._until:
            return
        done = self._cancel()
        told = f"interrupted twice: cancelled {done} {'task' if done == 1 else 'tasks'} that the cell waited for"
        self._output.stream("stderr", f"Shoal: {told}.\n")


def interrupted(shell: Any, error: KeyboardInterrupt, cancel: Callable[[], int], what: str) -> None:
    """Begin to look out for a second interrupt, or act on it, and make IPython show the first as one sentence.

    Args:
        shell: the running IPython shell.
        error: what stopped the waiting.
        cancel: cancels what was waited for, and tells how many tasks that were.
        what: the words for it.
    """
    global _first
    last, _first = _first, _Armed(shell, cancel)
    if last is not None:
        last.second()
    again = f"Interrupt again within {AGAIN:g} s to cancel them"
    line = f"KeyboardInterrupt: stopped waiting for {what}; the tasks go on. {again}"
    setattr(error, "_render_traceback_", lambda: [line])  # noqa: B010 - as in errors.short
