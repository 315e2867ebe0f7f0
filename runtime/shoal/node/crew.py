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
from pathlib import Path
from typing import Any

from shoal.node import packets
from shoal.wire.frames import Codec
from shoal.wire.messages import Blob, Message, Task, Tasks

__all__ = ["Key", "WorkerHandle", "raise_file_limit", "start_worker"]

_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)

Key = tuple[int, int, int]

TAIL = 4096
"""Bytes of a worker's log that are shown when it does not start."""


class WorkerHandle:
    """One worker process, as its manager sees it.

    Args:
        index: its place, 0 to slots - 1.
        pid: the process.
        links: the manager's end of the link, and a copy of the worker's end.
        page: the page on which the worker notes what it has begun.
        log: the path of its log, and where in it this process began to write.
        born: when it was started, on a steady clock.
    """

    def __init__(
        self,
        index: int,
        pid: int,
        links: tuple[socket.socket, socket.socket],
        page: mmap.mmap,
        log: tuple[Path, int],
        born: float,
    ) -> None:
        self.index = index
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.link, self._twin = links
        self.born = born
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
        self._page = page
        self._marks = memoryview(page).cast("Q")
        self._times = memoryview(page).cast("d")
        self._log, self._log_start = log
        self._number = 0
        self._blobs: dict[int, bytes] = {}

    @property
    def mark(self) -> int:
        """The mark of the attempt that it began last; 0 for none."""
        return self._marks[0]

    @property
    def begun_at(self) -> float:
        """When it began that (seconds since the epoch)."""
        return self._times[1]

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
        self._marks.release()
        self._times.release()
        self._page.close()

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
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    page_fd = -1
    try:
        page_fd = os.memfd_create("shoal-page", os.MFD_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.ftruncate(page_fd, mmap.PAGESIZE)
        page = mmap.mmap(page_fd, mmap.PAGESIZE)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "shoal.node.worker", "3", "4", str(os.getpid()), host],
            dict(os.environ),
            file_actions=_descriptors(theirs.fileno(), page_fd, log_fd),
        )
        # Tasks get the limit that their environment has; a higher one is not good for all programs.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _FILES)
        return WorkerHandle(index, pid, (ours, theirs), page, (log, os.fstat(log_fd).st_size), born)
    finally:
        if page_fd >= 0:
            os.close(page_fd)
        os.close(log_fd)


def _descriptors(link: int, page: int, log: int) -> list[Any]:
    """File actions that give the child stdin, its log, and the link and the page as 3 and 4."""
    return [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
        # By way of high numbers, since the originals may themselves be 3 or 4.
        (os.POSIX_SPAWN_DUP2, link, 203),
        (os.POSIX_SPAWN_DUP2, page, 204),
        (os.POSIX_SPAWN_DUP2, 203, 3),
        (os.POSIX_SPAWN_DUP2, 204, 4),
        (os.POSIX_SPAWN_CLOSE, 203),
        (os.POSIX_SPAWN_CLOSE, 204),
    ]
