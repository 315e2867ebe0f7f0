"""How the kernel shall treat a worker's process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from shoal.node.gear import CPUS

__all__ = ["be_killed_first", "bind_to_cores", "die_by", "die_with_parent"]


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, also in the middle of a long C call."""
    import ctypes  # slow to load, so only after Ready

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def be_killed_first() -> None:
    """Where memory runs out, the kernel shall end a worker, whose loss is named, and not a pool or a session."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def bind_to_cores() -> None:
    """Run only on the cores that the environment names, if it does."""
    named = os.environ.get(CPUS, "")
    if named:
        with suppress(OSError):  # they were taken offline
            os.sched_setaffinity(0, [int(cpu) for cpu in named.split(",")])


def die_by(number: int) -> NoReturn:
    """End this process by a signal, so that whoever waits for it sees that."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))
    os.kill(os.getpid(), number)
    os._exit(128 + number)
