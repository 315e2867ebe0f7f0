"""The workers of a manager: starting them, feeding them, and telling what became of them.

Besides its own end of a worker's link, a manager keeps a copy of the worker's end. So it can take back packets which the
worker has not received, and, since the copy outlives the worker, it knows exactly what a dead worker had not begun.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.node import packets
from shoal.node.kin import VARIABLE
from shoal.node.page import BEGUN, DONE, MARK, READ, SIGNAL, TARGET
from shoal.wire.frames import Codec
from shoal.wire.messages import Blob, Message, Task, Tasks

__all__ = ["Ending", "Key", "WorkerHandle", "raise_file_limit", "start_worker"]

_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)

Key = tuple[int, int, int]

TAIL = 4096
"""Bytes of a worker's log that are shown when it does not start."""


@dataclass
class Ending:
    """A worker is being ended because of one of its attempts.

    Args:
        key: the attempt.
        walltime: whether it ran into its walltime; else it was cancelled.
        kill_at: when the worker is ended by force, on a steady clock.
    """

    key: Key
    walltime: bool
    kill_at: float


class WorkerHandle:
    """One worker process, as its manager sees it.

    Args:
        index: its place, 0 to slots - 1.
        pid: the process.
        links: the manager's end of the link, and a copy of the worker's end.
        page: the page on which the worker notes what it has begun, see :mod:`shoal.node.page`.
        pipes: where its stdout and its stderr are read.
        log: the path of its log, and a descriptor that appends to it.
        birth: when it was started, on a steady clock, and the name that its descendants carry.
    """

    def __init__(
        self,
        index: int,
        pid: int,
        links: tuple[socket.socket, socket.socket],
        page: mmap.mmap,
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
        self._page = page
        self._marks = memoryview(page).cast("Q")
        self._times = memoryview(page).cast("d")
        self._log, self._log_fd = log
        self._log_start = os.fstat(self._log_fd).st_size
        self._number = 0
        self._blobs: dict[int, bytes] = {}

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

    def reap(self) -> str:
        """Collect the ended process; says how it ended."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            return f"signal {-code}"

    def close(self) -> None:
        """Close all that leads to the process."""
        self.link.close()
        self._twin.close()
        os.close(self.pidfd)
        for pipe in self.pipes:
            os.close(pipe)
        os.close(self._log_fd)
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

    def _drop(self, key: Key) -> Task:
        found = self.ended(key)
        assert found is not None
        return found[0]


def raise_file_limit() -> None:
    """Let a manager open as many files as it may: each large frame on its way through is one."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES[1], _FILES[1]))


def start_worker(index: int, folder: str, name: str, host: str, born: float) -> WorkerHandle:
    """Start a worker process.

    Args:
        index: its place.
        folder: where its log goes.
        name: of the block, for the log's name.
        host: this node, for the worker's name.
        born: now, on a steady clock.

    Raises:
        OSError: it cannot be started.
    """
    log = Path(folder) / f"{name}-worker-{index}.log"
    # Somebody may have tidied up the logs of a pool that lasts.
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as theirs, ExitStack() as ours:

        def opened(fd: int, stack: ExitStack) -> int:
            stack.callback(os.close, fd)
            return fd

        log_fd = opened(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), ours)
        reads, writes = [], []
        for _ in range(2):
            read, write = os.pipe2(os.O_CLOEXEC)
            reads.append(opened(read, ours))
            writes.append(opened(write, theirs))
            os.set_blocking(read, False)
        page_fd = opened(os.memfd_create("shoal-page", os.MFD_CLOEXEC), theirs)
        os.ftruncate(page_fd, mmap.PAGESIZE)
        page = mmap.mmap(page_fd, mmap.PAGESIZE)
        link, twin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(link.close)
        ours.callback(twin.close)
        tag = f"{host}-{os.getpid()}-{index}-{born:.6f}"
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "shoal.node.worker", "3", "4", str(os.getpid()), host],
            {**os.environ, VARIABLE: tag},
            file_actions=_descriptors(*writes, twin.fileno(), page_fd),
        )
        # Tasks get the limit that their environment has; a higher one is not good for all programs.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _FILES)
        ours.pop_all()
    return WorkerHandle(index, pid, (link, twin), page, (reads[0], reads[1]), (log, log_fd), (born, tag))


def _descriptors(*given: int) -> list[Any]:
    """File actions that give the child stdin, and these as 1, 2 and so on: its pipes, the link and the page."""
    # By way of numbers above them all, since one of them may itself have the number of another.
    base = max(*given, 9) + 1
    return [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *[(os.POSIX_SPAWN_DUP2, fd, base + place) for place, fd in enumerate(given)],
        *[(os.POSIX_SPAWN_DUP2, base + place, 1 + place) for place in range(len(given))],
        *[(os.POSIX_SPAWN_CLOSE, base + place) for place in range(len(given))],
    ]
