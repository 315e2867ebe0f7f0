"""What Shoal costs beside the tasks themselves: its event log, and doing nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

from benchmarks.case import Figures
from benchmarks.measure.processes import cpu_seconds
from benchmarks.peers.peer import Peer


def log(peer: Peer, count: int) -> Figures:  # noqa: ARG001  part of the signature
    """The CPU time of the two records that a task without trouble has: made, encoded, and written, all threads together."""
    from shoal.events import AttemptEnded, TaskSubmitted
    from shoal.record.log import LogWriter

    writer = LogWriter(Path("cost.log"))
    digest = bytes(16)
    began = time.process_time()
    for tid in range(count):
        now = time.time()
        writer.append(TaskSubmitted(now, tid, "noop", "htex", (), (), (), digest, b"", digest))
        writer.append(AttemptEnded(tid, 1, "value", "host/12345", now, now, 4))
    writer.close()
    return {"task": 1e6 * (time.process_time() - began) / count}


def idle(peer: Peer, seconds: int) -> Figures:
    """The CPU time of all processes while there is nothing to do, and how often one of their threads wakes up."""
    time.sleep(2.0)
    spent, woken = sum(cpu_seconds(peer).values()), _switches()
    time.sleep(seconds)
    used = sum(cpu_seconds(peer).values()) - spent
    busiest = max(after - woken.get(thread, 0) for thread, after in _switches().items())
    return {"percent": 100 * used / seconds, "wakes": busiest / seconds}


def _switches() -> dict[tuple[int, int], int]:
    """How often each thread of the measurement has gone to sleep by itself."""
    found: dict[tuple[int, int], int] = {}
    for process in psutil.Process(os.getppid()).children(recursive=True):
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            try:
                lines = status.read_text().splitlines()
            except OSError:
                continue  # it ended meanwhile
            count = next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
            found[process.pid, int(status.parent.name)] = count
    return found
