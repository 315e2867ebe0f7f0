"""The processes that tasks start: found and ended with the worker that they belong to.

A manager adopts what its workers leave behind. Whose it was is told by a variable that each worker hands down in its
environment; what has dropped that lives until the manager ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress

__all__ = [
    "VARIABLE",
    "adopt_orphans",
    "collect",
    "descendants",
    "end",
    "end_descendants",
    "end_group",
    "family",
    "orphans",
]

VARIABLE = "SHOAL_WORKER"
"""Names the worker that a process descends from."""

_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 10


def adopt_orphans() -> None:
    """From now on descendants of this process whose parent ends become its own children."""
    import ctypes  # slow to load

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(*roots: int) -> list[int]:
    """The processes below these, parents before children; none that has ended."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    level = list(roots)
    while level:
        level = [child for pid in level for child in children.get(pid, ())]
        found += level
    return found


def family(root: int) -> list[int]:
    """A process and those below it, cheaply: its threads are asked, not all processes of the host."""
    found = [root]
    for pid in found:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    found += map(int, file.read().split())
    return found


def orphans(workers: set[int], names: set[str]) -> list[int]:
    """What workers of these names have left behind with this process, and what descends from that.

    Args:
        workers: the children of this process that are workers.
        names: as in ``VARIABLE``.
    """
    me = os.getpid()
    left = [pid for pid, parent in _parents() if parent == me and pid not in workers and _worker_of(pid) in names]
    return [*left, *descendants(*left)] if left else []


def end(pids: Iterable[int]) -> None:
    """End these processes at once."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_descendants() -> None:
    """End all that descends from this process, also what is being started at the moment."""
    for _ in range(_ROUNDS):
        left = descendants(os.getpid())
        if not left:
            return
        end(left)


def end_group() -> None:
    """End this block's processes, this one included, whatever they are doing."""
    end_descendants()
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def collect(workers: set[int]) -> None:
    """Collect adopted processes that have ended, none of them a worker."""
    with suppress(ChildProcessError):
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid in workers:
                return
            os.waitpid(found.si_pid, 0)


def _parents() -> list[tuple[int, int]]:
    """All living processes with their parents."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            # The name in parentheses may hold anything.
            state, parent = file.read().rpartition(b")")[2].split(None, 2)[:2]
            if state not in (b"Z", b"X"):
                found.append((int(name), int(parent)))
    return found


def _worker_of(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == VARIABLE.encode():
                return value.decode(errors="replace")
    return ""
