"""The workers of a manager: feeding them, and telling what became of them.

Besides its own end of a worker's link, a manager keeps a copy of the worker's end. So it can take back packets which the
worker has not received, and, since the copy outlives the worker, it knows exactly what a dead worker had not begun.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shoal.errors import ShoalError
from shoal.node import packets
from shoal.node.gear import Grant
from shoal.node.page import BEGUN, DONE, LENGTH, MARK, OUTFIT, OUTFITTED, READ, SIGNAL, TARGET, TRACE
from shoal.node.usage import quick_use
from shoal.wire.frames import Codec
from shoal.wire.messages import Blob, Message, Task, Tasks

__all__ = ["Ending", "Exit", "Key", "WorkerHandle"]

Key = tuple[int, int, int]

TAIL = 4096
"""Bytes of a worker's log that are shown when it does not start."""

STACKS = 1 << 16
"""Bytes that are looked at for it; stacks that were asked for stand there, too."""

TRACE_LINES = 20
"""Lines of the stack of a crash that are shown; the innermost calls come first."""

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_FATAL = "Fatal Python error"


@dataclass
class Ending:
    """A worker is being ended because of one of its attempts.

    Args:
        key: the attempt.
        error: why; None if it was cancelled.
        kill_at: when the worker is ended by force, on a steady clock.
        lost: whether the attempt counts as lost, so that it may be run again elsewhere.
    """

    key: Key
    error: ShoalError | None
    kill_at: float
    lost: bool = False


class Exit(NamedTuple):
    """How a worker's process ended.

    Args:
        code: its exit code; ``-n`` if signal n ended it.
        peak: bytes of memory that it had at most.
        trace: the stack that Python wrote as it crashed; empty if it did not.
    """

    code: int
    peak: int
    trace: str = ""

    def __str__(self) -> str:
        """``exit code 1``, ``signal 9 (SIGKILL)``."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"signal {-self.code} ({signal.Signals(-self.code).name})"
        except ValueError:
            return f"signal {-self.code}"


class WorkerHandle:
    """One worker process, as its manager sees it.

    Args:
        index: its place, 0 to slots - 1.
        pid: the process.
        links: the manager's end of the link, and a copy of the worker's end.
        page: the memory on which the worker notes what it has begun, see :mod:`shoal.node.page`, and its file.
        pipes: where its stdout and its stderr are read.
        log: the path of its log, and a descriptor that appends to it.
        birth: when it was started, on a steady clock, and the name that its descendants carry.
    """

    special: bool = False
    """Whether what it has needs more than a worker, or this is the last that it gets: see ``Bench.settle``."""
    grant: Grant | None = None
    """What its attempt holds besides a worker."""
    devices: tuple[str, ...] = ()
    """The accelerators that it has been given in its life."""
    memory: tuple[int, int] = (0, 0)
    """The bytes that its attempt may take, 0 if it does not say, and those that it had before it got the attempt."""
    left: int = 0
    """Attempts after which it is to be replaced; 0 for no limit."""
    last: bool = False
    """Whether it has the last attempts that it gets; its successor has been asked for."""
    retired: bool = False
    """Whether it is to end since it gets nothing more."""
    retired_at: float = 0.0
    """When it was told so, on a steady clock; 0.0 if it was not."""

    def __init__(
        self,
        index: int,
        pid: int,
        links: tuple[socket.socket, socket.socket],
        page: tuple[mmap.mmap, int],
        pipes: tuple[int, int],
        log: tuple[Path, int],
        birth: tuple[float, str],
    ) -> None:
        self.index = index
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.link, self._twin = links
        self.pipes = pipes
        self.born, self.name = birth
        self.arena = -1
        """The file of the values that it lends; that stays open here for those who read them when it is gone."""
        self.ready = False
        self.cores = 0
        """Cores that what it has keeps busy."""
        self.load = 0.0
        """Seconds of work that it was given and that have not ended."""
        self.steady = False
        """All that it has is known to be short, so that more may wait behind it."""
        self.flight: dict[Key, tuple[Task, int, float]] = {}
        """What it has: the task, its mark, and the seconds that it is expected to take."""
        self.open: dict[int, int] = {}
        """Packets with attempts that have not ended, and how many."""
        self.known: set[bytes] = set()
        self.seen_mark = 0
        self.seen_at = 0.0
        self.announced = 0
        self.nudged = 0
        """The mark at which it was last asked for the results that it holds back."""
        self.limit = 0.0
        """The walltime of the one attempt that it has; 0.0 for none."""
        self.given_at = 0.0
        """When it was given that, on a steady clock."""
        self.deadline = 0.0
        """When that runs into its walltime, on a steady clock; 0.0 if it is not seen to have begun."""
        self.ending: Ending | None = None
        self._page, self._page_fd = page
        self._marks = memoryview(self._page).cast("Q")
        self._times = memoryview(self._page).cast("d")
        self._log, self._log_fd = log
        self._log_start = os.fstat(self._log_fd).st_size
        self._number = 0
        self._blobs: dict[int, bytes] = {}

    @property
    def page_fd(self) -> int:
        """The file of the page."""
        return self._page_fd

    @property
    def mark(self) -> int:
        """The mark of the attempt that it began last; 0 for none."""
        return self._marks[MARK]

    @property
    def begun_at(self) -> float:
        """When it began that (seconds since the epoch)."""
        return self._times[BEGUN]

    @property
    def running(self) -> Key | None:
        """The attempt that it has begun and not ended."""
        mark = self._marks[MARK]
        if mark == self._marks[DONE]:
            return None
        for key, (_, own, _) in self.flight.items():
            if own == mark:
                return key
        return None

    def nudge(self) -> None:
        """Ask for the results that it holds back behind the attempt that it has begun, if there are any."""
        self.nudged = mark = self.mark
        if any(own < mark for _, own, _ in self.flight.values()):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, SIGNAL)

    def interrupt(self, ending: Ending) -> None:
        """Interrupt one of its attempts, if that runs now; then the process ends."""
        self.ending = ending
        self.steady = False
        self._marks[TARGET] = self.flight[ending.key][1]
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, SIGNAL)

    def note_read(self, stream: int) -> None:
        """Tell it that its stdout (0) or stderr (1) has been read from."""
        self._marks[READ[stream]] += 1

    def equip(self, grant: Grant, outfit: bytes) -> None:
        """Its next attempt gets this."""
        self.grant = grant
        self.devices = self.devices or grant.devices
        self._page[OUTFIT : OUTFIT + len(outfit)] = outfit
        self._marks[LENGTH] = len(outfit)

    def note_memory(self, allowed: int) -> None:
        """Its next attempt may take this many bytes."""
        self.memory = (allowed, quick_use(self.pid))

    def send(self, codec: Codec, message: Message) -> int:
        """Send a packet; returns its number.

        Raises:
            BlockingIOError: there is no room in the link now.
            ConnectionError: the process is gone.
        """
        number = self._number + 1
        packets.send(self.link, number, codec.encode(message), socket.MSG_DONTWAIT)
        self._number = number
        if isinstance(message, Blob):
            self.known.add(message.digest)
            self._blobs[number] = message.digest
        return number

    def give(self, codec: Codec, tasks: list[Task], loads: list[float]) -> None:
        """Send tasks in one packet. Raises as ``send`` does; then nothing has changed."""
        if self.grant is not None:
            self._marks[OUTFITTED] = (self._number + 1 << 16) + 1
        number = self.send(codec, Tasks(tasks))
        self.open[number] = len(tasks)
        # An attempt with a walltime comes alone.
        self.limit, self.deadline, self.given_at = tasks[0].walltime, 0.0, time.monotonic()
        mark = number << 16
        for task, load in zip(tasks, loads, strict=True):
            mark += 1
            self.flight[task.client, task.tid, task.attempt] = (task, mark, load)
            self.load += load

    def ended(self, key: Key) -> tuple[Task, float] | None:
        """An attempt of it has ended: its task and expected load; None if it does not have that (any more)."""
        found = self.flight.pop(key, None)
        if found is None:
            return None
        task, mark, load = found
        self.load -= load
        number = mark >> 16
        left = self.open[number] - 1
        if left:
            self.open[number] = left
        else:
            del self.open[number]
        return task, load

    def take_back(self) -> list[Task]:
        """Take packets back which the process has not received; returns their tasks in order."""
        taken: set[int] = set()
        while True:
            try:
                packet = packets.receive(self._twin, socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionError):
                break
            if packet is None:
                break
            taken.add(packet[0])
            digest = self._blobs.pop(packet[0], None)
            if digest is not None:
                self.known.discard(digest)
        keys = [key for key, (_, mark, _) in self.flight.items() if mark >> 16 in taken]
        return [self._drop(key) for key in keys]

    def not_begun(self) -> list[Task]:
        """Of a process that has ended: take out what it received and did not begin."""
        mark = self.mark
        keys = [key for key, (_, own, _) in self.flight.items() if own > mark]
        return [self._drop(key) for key in keys]

    def current(self) -> Task | None:
        """The task that it has begun and not ended, as far as is known here."""
        mark = self.mark
        for task, own, _ in self.flight.values():
            if own == mark:
                return task
        return None

    def unannounced(self) -> bool:
        """Whether it has an attempt that is not known to run for a while already."""
        return bool(self.flight) and (self.announced != self.mark or self.current() is None)

    def reap(self) -> Exit:
        """Collect the ended process; says how it ended."""
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return Exit(code, usage.ru_maxrss * 1024, self._trace() if -code in _CRASHES else "")

    def close(self) -> None:
        """Close all that leads to the process."""
        self.link.close()
        self._twin.close()
        os.close(self.pidfd)
        for pipe in self.pipes:
            os.close(pipe)
        os.close(self._log_fd)
        os.close(self._page_fd)
        self._marks.release()
        self._times.release()
        self._page.close()

    def log(self, data: bytes) -> None:
        """Add to its log what it wrote outside of attempts."""
        with suppress(OSError):  # a full disk is no reason to end
            os.write(self._log_fd, data)

    def stderr_tail(self) -> str:
        """The end of what it wrote."""
        try:
            with self._log.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(self._log_start, size - TAIL))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def _trace(self) -> str:
        size = os.fstat(self._page_fd).st_size
        text = os.pread(self._page_fd, STACKS, max(TRACE, size - STACKS)).decode(errors="replace")
        # Others may have written before: children that it forked.
        return "\n".join(text[max(0, text.rfind(_FATAL)) :].splitlines()[:TRACE_LINES]).strip()

    def _drop(self, key: Key) -> Task:
        found = self.ended(key)
        assert found is not None
        return found[0]
