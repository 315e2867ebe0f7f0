"""What interrupting the kernel does while a cell waits for tasks.

The first interrupt stops the waiting; the tasks go on. A second one within two seconds cancels the tasks that were waited for,
also if no cell runs by then. That holds wherever a cell waits: for names, in ``%wait``, in ``x.result()``, in ``shoal.gather`` and
its like, and in ``await x``.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from shoal.futures.stopping import Interrupts
from shoal_kernel.output.place import CellOutput

__all__ = ["AGAIN", "KernelInterrupts", "interrupted"]

AGAIN = 2.0
"""Seconds within which a second interrupt cancels."""

_AT_ONCE = 5.0
"""Seconds within which the awaiting of futures is cancelled that an interrupt stops."""

_WAKE_AFTER = (0.01, 0.05, 0.2, 1.0)
"""Seconds after an interrupt at which the cell's event loop is woken."""

_first: _Armed | None = None


class _Armed:
    """A first interrupt, which a second may follow.

    Args:
        shell: the running IPython shell.
        cancel: cancels what was waited for, and tells how many tasks that were.
    """

    def __init__(self, shell: Any, cancel: Callable[[], int]) -> None:
        self._cancels = [cancel]
        self._output = CellOutput(shell, kept=False)
        self._until = time.monotonic() + AGAIN
        kernel = getattr(shell, "kernel", None)
        self.before = getattr(kernel, "saved_sigint_handler", None)
        if self.before is not None and threading.current_thread() is threading.main_thread():
            # ipykernel puts this handler in place when the cell is over; by default an idle kernel ignores interrupts
            kernel.saved_sigint_handler = self  # type: ignore[union-attr]
            self._active = signal.signal(signal.SIGINT, self._while_ending)

    def add(self, cancel: Callable[[], int]) -> None:
        """The same interrupt has stopped the waiting for something else, too."""
        self._cancels.append(cancel)

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
        self._until = 0.0  # the next one is a first one
        done = sum(cancel() for cancel in self._cancels)
        told = f"interrupted twice: cancelled {done} {'task' if done == 1 else 'tasks'} that the cell waited for"
        self._output.stream("stderr", f"Shoal: {told}.\n")


def interrupted(shell: Any, error: BaseException, cancel: Callable[[], int], what: str) -> str:
    """Begin to look out for a second interrupt, or act on it, and make IPython show the first as one sentence.

    Args:
        shell: the running IPython shell.
        error: what stopped the waiting; if it was told already, nothing is done.
        cancel: cancels what was waited for, and tells how many tasks that were.
        what: the words for it.

    Returns:
        The sentence.
    """
    global _first
    again = f"Interrupt again within {AGAIN:g} s to cancel them"
    line = f"{type(error).__name__}: stopped waiting for {what}; the tasks go on. {again}"
    if "_render_traceback_" not in vars(error):
        last, _first = _first, _Armed(shell, cancel)
        if last is not None:
            last.second()
        setattr(error, "_render_traceback_", lambda: [line])  # noqa: B010 - as in errors.short
    return line


class _Noting:
    """Takes note of interrupts that ipykernel makes a cancellation of, while a cell awaits something.

    ipykernel cancels the cell from another thread, which does not wake the cell's event loop: that is done here.

    Args:
        handler: what makes it one.
        loop: the event loop in which cells await.

    Attributes:
        at: when the last came, on the monotonic clock.
        armed: whether it was told of.
    """

    def __init__(self, handler: Callable[[int, Any], object], loop: Any) -> None:
        self._handler, self._loop = handler, loop
        self.at = -_AT_ONCE
        self.armed = False

    def __call__(self, number: int, frame: Any) -> None:
        """An interrupt."""
        self.at, self.armed = time.monotonic(), False
        self._handler(number, frame)
        for delay in _WAKE_AFTER:
            self._loop.call_soon_threadsafe(self._loop.call_later, delay, _nothing)


def _nothing() -> None:
    """Wakes a loop by being called."""


class KernelInterrupts(Interrupts):
    """The interrupts of a kernel; for :func:`shoal.futures.stopping.use_interrupts`.

    Args:
        shell: the running IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._noting: _Noting | None = None

    def stopped(self, error: BaseException, cancel: Callable[[], int], what: str) -> None:
        """The waiting of a cell was stopped."""
        if threading.current_thread() is threading.main_thread():
            interrupted(self._shell, error, cancel, what)

    def awaits(self) -> None:
        """A cell begins to await a future: from now on interrupts can be told from other cancellations."""
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler) and handler is not signal.default_int_handler and type(handler) is not _Noting:
                self._noting = _Noting(handler, asyncio.get_running_loop())
                signal.signal(signal.SIGINT, self._noting)

    def stopped_await(self, error: BaseException, cancel: Callable[[], int], what: str) -> bool:
        """Whether an interrupt has stopped it: then a second one cancels all that was awaited."""
        noting = self._noting
        if noting is None or time.monotonic() > noting.at + _AT_ONCE:
            return False
        if noting.armed and _first is not None:
            _first.add(cancel)
        else:
            noting.armed = True
            interrupted(self._shell, error, cancel, what)
        return True
