"""Starting the processes of workers."""

from __future__ import annotations

import mmap
import os
import resource
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shoal.node.crew import WorkerHandle
from shoal.node.kin import VARIABLE
from shoal.node.page import SIZE

__all__ = ["raise_file_limit", "start_worker"]

_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_file_limit() -> None:
    """Let a manager open as many files as it may: each large frame on its way through is one."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES[1], _FILES[1]))


def start_worker(
    index: int, folder: str, name: str, host: str, born: float, environment: Mapping[str, str] | None = None
) -> WorkerHandle:
    """Start a worker process.

    Args:
        index: its place.
        folder: where its log goes.
        name: of the block, for the log's name.
        host: this node, for the worker's name.
        born: now, on a steady clock.
        environment: variables that it has besides those of this process.

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
        page_fd = opened(os.memfd_create("shoal-page", os.MFD_CLOEXEC), ours)
        os.ftruncate(page_fd, SIZE)
        page = mmap.mmap(page_fd, SIZE)
        arena = opened(os.memfd_create("shoal-arena", os.MFD_CLOEXEC), ours)
        link, twin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(link.close)
        ours.callback(twin.close)
        tag = f"{host}-{os.getpid()}-{index}-{born:.6f}"
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "shoal.node.worker", "3", "4", "5", str(os.getpid()), str(arena), host],
            {**os.environ, **(environment or {}), VARIABLE: tag},
            file_actions=_descriptors(*writes, twin.fileno(), page_fd, arena),
        )
        # Tasks get the limit that their environment has; a higher one is not good for all programs.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _FILES)
        ours.pop_all()
    worker = WorkerHandle(index, pid, (link, twin), (page, page_fd), (reads[0], reads[1]), (log, log_fd), (born, tag))
    worker.arena = arena
    return worker


def _descriptors(*given: int) -> list[Any]:
    """File actions that give the child stdin, and these as 1, 2 and so on: its pipes, the link, the page and the arena."""
    # By way of numbers above them all, since one of them may itself have the number of another.
    base = max(*given, 9) + 1
    return [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *[(os.POSIX_SPAWN_DUP2, fd, base + place) for place, fd in enumerate(given)],
        *[(os.POSIX_SPAWN_DUP2, base + place, 1 + place) for place in range(len(given))],
        *[(os.POSIX_SPAWN_CLOSE, base + place) for place in range(len(given))],
    ]
