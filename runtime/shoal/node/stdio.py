"""A worker's stdout and stderr: two pipes that its manager reads, whatever tasks do to the streams upon them.

All that a task prints, in Python, in C or from a child process, is in these pipes in order. Before a task ends the worker
sees to it that they are empty, so that each byte belongs to the attempt that runs when it is read.
"""

from __future__ import annotations

import fcntl
import io
import os
import sys
import termios
import time
from contextlib import suppress
from typing import Any

from shoal.node.page import CHUNK, READ

__all__ = ["PATIENCE", "Streams", "TaskStream", "unbuffer_c"]

PATIENCE = 1.0
"""Seconds that a worker waits for its manager to read what a task has printed; a manager reads at once."""

_FIRST = 2e-5
_MOST = 2e-3

# A number kept with each open file that says what it is: cheaper to ask for than anything else. It is the signal that
# would tell of input if somebody turned that on (O_ASYNC), which nobody does.
_TAGS = (61, 62)
_INPUT_TAG = 60
_NAMES = ("<stdout>", "<stderr>")


class _Buffer(io.BufferedWriter):
    """Stays open when a wrapper around it is thrown away."""

    def close(self) -> None:
        """Write out what is held."""
        self.flush()


class TaskStream(io.TextIOWrapper):
    """``sys.stdout`` or ``sys.stderr`` of a worker: lines go out as they are written.

    It stays open, for the task that closes it and for the next one.

    Args:
        fd: 1 or 2.
    """

    def __init__(self, fd: int) -> None:
        raw: Any = io.FileIO(fd, "w", closefd=False)
        raw.name = _NAMES[fd - 1]
        super().__init__(_Buffer(raw), "utf-8", "backslashreplace", line_buffering=True)
        self.mode = "w"  # type: ignore[misc]  # it is not, in fact, read-only
        self.altered = False

    def reconfigure(self, **changes: Any) -> None:
        """As with any text stream, until the task ends."""
        self.altered = True
        super().reconfigure(**changes)

    def detach(self) -> _Buffer:
        """The stream of bytes below; this one goes on."""
        self.flush()
        return self.buffer  # type: ignore[return-value]  # given to the constructor

    def close(self) -> None:
        """Write out what is held."""
        self.flush()


class Streams:
    """Both streams of a worker.

    Args:
        counts: the shared page as 64-bit numbers.
    """

    def __init__(self, counts: memoryview) -> None:
        self._counts = counts
        self._pid = os.getpid()
        self._pipes = tuple([fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 50) for fd in (1, 2)])
        for pipe, tag in zip(self._pipes, _TAGS, strict=True):
            fcntl.fcntl(pipe, fcntl.F_SETSIG, tag)
        unread = memoryview(bytearray(8))
        self._unread = (unread[:4], unread[4:])
        self._any_unread = unread.cast("Q")
        fcntl.fcntl(0, fcntl.F_SETSIG, _INPUT_TAG)
        self._build()
        self._build_input()
        os.register_at_fork(before=self._before_fork)

    def end(self) -> None:
        """A task has ended: all that it printed is read, and the next one finds the streams as they were."""
        out, err = self._out, self._err
        try:
            out.flush()
            err.flush()
            if (
                fcntl.fcntl(1, fcntl.F_GETSIG) != _TAGS[0]
                or fcntl.fcntl(2, fcntl.F_GETSIG) != _TAGS[1]
                or out.altered
                or err.altered
            ):
                self._mend()
        except (OSError, ValueError):
            self._mend()
        if sys.stdout is not self._out:
            sys.stdout = self._out
        if sys.stderr is not self._err:
            sys.stderr = self._err
        fcntl.ioctl(self._pipes[0], termios.FIONREAD, self._unread[0])
        fcntl.ioctl(self._pipes[1], termios.FIONREAD, self._unread[1])
        if self._any_unread[0]:
            self._wait()

    def flush(self) -> None:
        """Write out what is held, as far as that is possible."""
        for stream in (self._out, self._err):
            with suppress(OSError, ValueError, RuntimeError):  # another thread may be writing right now
                stream.flush()

    def unblock(self) -> None:
        """Undo what some programs do to streams that they inherit: who writes to them later is to wait, not to fail."""
        for pipe in self._pipes:
            if fcntl.fcntl(pipe, fcntl.F_GETFL) & os.O_NONBLOCK:
                os.set_blocking(pipe, True)

    def mend_input(self) -> None:
        """Give stdin back to the tasks that follow, if one has closed it or led it elsewhere. Not while a task runs."""
        try:
            intact = fcntl.fcntl(0, fcntl.F_GETSIG) == _INPUT_TAG
        except OSError:
            intact = False  # closed
        if not intact:
            null = os.open(os.devnull, os.O_RDONLY)
            if null:
                os.dup2(null, 0)
                os.close(null)
            os.set_inheritable(0, True)
            fcntl.fcntl(0, fcntl.F_SETSIG, _INPUT_TAG)
        if not intact or sys.stdin is not self._in or self._in.closed:
            self._build_input()

    def _build_input(self) -> None:
        raw: Any = io.FileIO(0, "r", closefd=False)
        raw.name = "<stdin>"
        self._in = io.TextIOWrapper(io.BufferedReader(raw), "utf-8", "surrogateescape")
        sys.stdin = sys.__stdin__ = self._in  # type: ignore[misc]

    def _build(self) -> None:
        self._out, self._err = TaskStream(1), TaskStream(2)
        # Those who write to the originals are in order with the others, too.
        sys.stdout = sys.__stdout__ = self._out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._err  # type: ignore[misc]

    def _mend(self) -> None:
        """The task has closed or led elsewhere what is not its own."""
        for fd, pipe in zip((1, 2), self._pipes, strict=True):
            os.dup2(pipe, fd)
        # What could not be written where the task had led it is written here.
        self.flush()
        self._build()

    def _wait(self) -> None:
        """Wait until the manager has read what is in the pipes now; not for what others add meanwhile."""
        goals = []
        for slot, pipe, unread in zip(READ, self._pipes, self._unread, strict=True):
            before = self._counts[slot]
            fcntl.ioctl(pipe, termios.FIONREAD, unread)
            # The next reading to be counted may have been made already.
            goals.append((slot, before + 1 - (-int.from_bytes(unread, sys.byteorder) // CHUNK)))
        pause, last = _FIRST, time.monotonic() + PATIENCE
        while self._any_unread[0] and any(self._counts[slot] < goal for slot, goal in goals):
            if time.monotonic() > last:
                return
            time.sleep(pause)
            pause = min(2 * pause, _MOST)
            for pipe, unread in zip(self._pipes, self._unread, strict=True):
                fcntl.ioctl(pipe, termios.FIONREAD, unread)

    def _before_fork(self) -> None:
        """Leave nothing in the buffers, which the child would write once more."""
        if os.getpid() == self._pid:
            self.flush()


def unbuffer_c() -> None:
    """Let what C code prints go out at once: left in a buffer it would come out during another task."""
    import ctypes  # slow to load

    libc = ctypes.CDLL(None)
    for name in ("stdout", "stderr"):
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, name), None, 2, 0)
