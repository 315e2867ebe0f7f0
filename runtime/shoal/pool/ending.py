"""Ending the process of a pool on this host, and no other: it is held by a descriptor, not by a number that is used again."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from shoal.links import process_started
from shoal.pool.connection import Connection

__all__ = ["PoolProcess", "end_supervisor"]


class PoolProcess:
    """The process that a connection file names.

    Args:
        connection: of a pool of this host.
    """

    def __init__(self, connection: Connection) -> None:
        self._fd = _opened(connection.pid, connection.pid_started)
        self._connection = connection

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after up to so many seconds. A process that its parent has not collected has ended."""
        if self._fd < 0:
            return True
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(1000 * max(0.0, seconds)))

    def signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self._fd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def end(self, patience: float, told: bool = False) -> bool:
        """Ask for its end, and force it.

        Args:
            patience: seconds to wait after each.
            told: whether it has been told by other means, so that this is waited for first.

        Returns:
            Whether it has ended.
        """
        for number in (None, signal.SIGTERM, signal.SIGKILL) if told else (signal.SIGTERM, signal.SIGKILL):
            if number is signal.SIGKILL:
                end_supervisor(self._connection)  # first, else it would start another one
            if number is not None:
                self.signal(number)
            if self.wait(patience):
                return True
        return False

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def end_supervisor(connection: Connection) -> None:
    """End the process that would start a pool again, if there is one, with what it has just started."""
    pid = connection.supervisor
    fd = _opened(pid, connection.supervisor_started)
    if fd >= 0:
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)


def _opened(pid: int, started: int) -> int:
    """A descriptor of the process of that number that started then; -1 if it is not there (any more)."""
    if pid <= 0 or started <= 0:
        return -1
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return -1
    # In this order: what has that start time now is what the descriptor means, or that has ended.
    if process_started(pid) != started:
        os.close(fd)
        return -1
    return fd
