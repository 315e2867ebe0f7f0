"""What each thread of a process is doing, written by Python itself: on request from inside, or at a signal from outside.

A signal is answered also while the process is in a C call, or waits for a lock that another of its threads holds.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from pathlib import Path

__all__ = ["SIGNAL", "answers", "own_stacks", "states", "write_on_signal", "written"]

SIGNAL = int(signal.SIGRTMIN) + 12
"""Asks a process for its stacks. Programs hardly use this number."""

_MOST = 64


def write_on_signal(fd: int) -> None:
    """From now on the stacks of all threads of this process are written at ``SIGNAL``.

    Args:
        fd: where; it must stay open.
    """
    faulthandler.register(SIGNAL, fd, all_threads=True, chain=False)


def answers(pid: int) -> bool:
    """Whether a process of this host has a handler for ``SIGNAL``; to one that has none it would be the end."""
    return _has_bit(f"/proc/{pid}/status", "SigCgt:")


def written(pid: int) -> bool:
    """Whether a process has no ``SIGNAL`` left to answer: none waits for it, and none of its threads is at it."""
    if _has_bit(f"/proc/{pid}/status", "ShdPnd:"):
        return False
    # While a thread writes, the signal is blocked there.
    return not any(_has_bit(f"/proc/{pid}/task/{thread}/status", "SigBlk:") for thread in _threads(pid))


def states(pid: int) -> str:
    """What the kernel knows of the threads of a process: a line each, with name, state, and what it waits for."""
    lines = []
    threads = _threads(pid)
    for thread in threads[:_MOST]:
        folder = Path(f"/proc/{pid}/task/{thread}")
        try:
            name, _, rest = (folder / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
            waits = (folder / "wchan").read_text().strip("0\n")
        except OSError:
            continue
        state = _STATES.get(rest.split()[0], rest.split()[0])
        lines.append(f"thread {thread} ({name}): {state}" + (f", in {waits}" if waits else ""))
    if len(threads) > _MOST:
        lines.append(f"and {len(threads) - _MOST} more threads")
    return "\n".join(lines) if lines else "it has ended"


def own_stacks() -> str:
    """The stacks of all threads of this process."""
    fd = os.memfd_create("shoal-stacks", os.MFD_CLOEXEC)
    try:
        faulthandler.dump_traceback(fd, all_threads=True)
        return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace").strip()
    finally:
        os.close(fd)


_STATES = {
    "R": "runs",
    "S": "sleeps",
    "D": "waits for a disk or a network file system, and cannot be interrupted",
    "T": "is stopped",
    "t": "is stopped by a debugger",
    "Z": "has ended",
    "X": "has ended",
    "I": "idles",
}


def _threads(pid: int) -> list[int]:
    """The threads of a process, the first one first; none if it has ended."""
    try:
        return sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _has_bit(path: str, field: str) -> bool:
    """Whether ``SIGNAL`` is in one of the sets of signals of a ``status`` file."""
    try:
        for line in Path(path).read_text(errors="replace").splitlines():
            if line.startswith(field):
                return bool(int(line.split()[1], 16) >> (SIGNAL - 1) & 1)
    except OSError:
        pass
    return False
