"""What the process of a pool leaves behind when it is killed: its managers end by themselves, and are seen off here."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from shoal.blocks.providers.local import BLOCK_MARK
from shoal.dispatch.events import Key
from shoal.wire.starting import UNBEGUN

__all__ = ["PATIENCE", "clear_remains", "find_managers", "take_words"]

PATIENCE = 3.0
"""Seconds that managers may take to notice that their pool is gone."""


def clear_remains(folder: str, patience: float = PATIENCE) -> int:
    """Wait until the jobs of a dead pool on this host are gone, and end those that do not go.

    Until then an attempt that they had begun may still be running.

    Args:
        folder: the pool's own, which is part of the command lines of its jobs.
        patience: seconds that they may take.

    Returns:
        How many had to be ended.
    """
    watched = find_managers(folder)
    try:
        marks = {mark for pid in watched.values() if (mark := _mark(pid))}
        deadline = time.monotonic() + patience
        poll = select.poll()
        for fd in watched:
            poll.register(fd, select.POLLIN)
        left = dict(watched)
        while left and (wait := deadline - time.monotonic()) > 0:
            for fd, _ in poll.poll(wait * 1000):
                poll.unregister(fd)
                del left[fd]
        for fd, pid in left.items():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        if left:
            _end_marked(marks)
        return len(left)
    finally:
        for fd in watched:
            os.close(fd)


def find_managers(folder: str) -> dict[int, int]:
    """The managers of a dead pool on this host that are there, and may wait for the next: their pids, by descriptors.

    What was about to become one is ended.

    Args:
        folder: as in :func:`clear_remains`.
    """
    found = _jobs(f"{folder}/block-".encode())
    return {fd: pid for fd, pid in found.items() if not _ended_as_shell(fd, pid)}


def _ended_as_shell(fd: int, pid: int) -> bool:
    """End a job that is still in the shell of worker_init, which notices nothing; returns whether it was."""
    if b"-m" in _words(str(pid), "cmdline")[:4]:
        return False
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    os.close(fd)
    return True


def _jobs(part: bytes) -> dict[int, int]:
    """A descriptor for each of the managers (to be) with an argument that begins so, with its pid."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        words = _words(name, "cmdline")
        if b"shoal.node.manager" in words and any(word.startswith(part) for word in words):
            with suppress(ProcessLookupError):
                found[os.pidfd_open(int(name))] = int(name)
    return found


def _mark(pid: int) -> bytes:
    """What the environment of a job's processes has in common; empty if nothing."""
    start = f"{BLOCK_MARK}=".encode()
    return next((word for word in _words(str(pid), "environ") if word.startswith(start)), b"")


def _end_marked(marks: set[bytes]) -> None:
    for name in os.listdir("/proc"):
        if name.isdigit() and not marks.isdisjoint(_words(name, "environ")):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(name), signal.SIGKILL)


def _words(pid: str, file: str) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/{file}", "rb") as found:
            return found.read().split(b"\0")
    except OSError:
        return []  # it has ended, or is another user's


def take_words(folder: str) -> set[Key]:
    """What the managers of a dead pool have left word of; the files are removed.

    Args:
        folder: the pool's own.
    """
    found: set[Key] = set()
    for path in Path(folder).glob(f"block-*{UNBEGUN}"):
        with suppress(OSError, msgspec.MsgspecError):  # not readable: they count as begun
            found.update(msgspec.msgpack.decode(path.read_bytes(), type=list[Key]))
        with suppress(OSError):
            path.unlink()
    return found
