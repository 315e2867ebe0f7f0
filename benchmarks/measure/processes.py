"""The processes of a measurement: that the workers are up, and how much CPU time each has had."""

from __future__ import annotations

import os
import time
from collections import defaultdict

import psutil

from benchmarks import tasks
from benchmarks.peers.peer import Peer

PATIENCE = 120.0
"""Seconds that all workers may take to come up."""


def wait_for_workers(peer: Peer, workers: int) -> None:
    """Return when tasks have run on each of the workers.

    Raises:
        RuntimeError: there are more workers than were asked for, or fewer after PATIENCE.
    """
    who = peer.prepare(tasks.whoami)
    seen: set[tuple[int, int]] = set()
    deadline = time.monotonic() + PATIENCE
    while len(seen) < workers:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(seen)} of {workers} workers came up within {PATIENCE:.0f} s")
        seen.update(tuple(answer) for answer in peer.collect([who(0.02) for _ in range(4 * workers)]))
    if len(seen) > workers:
        raise RuntimeError(f"{len(seen)} workers answered, {workers} were asked for")


def cpu_seconds(peer: Peer) -> dict[str, float]:
    """CPU time so far by role: ``client`` is this process.

    All processes below our parent belong to this measurement: it is the one that adopts orphans (see ``runner``).
    """
    spent: dict[str, float] = defaultdict(float)
    for process in psutil.Process(os.getppid()).children(recursive=True):
        try:
            role = "client" if process.pid == os.getpid() else peer.role(process.cmdline())
            spent[role] += _cpu_seconds(process.pid)
        except (psutil.Error, OSError):
            continue  # it ended meanwhile
    return spent


def _cpu_seconds(pid: int) -> float:
    """The CPU clock of a process, to the nanosecond; the file system's count is in steps of 10 ms."""
    return time.clock_gettime((~pid << 3) | 2)
