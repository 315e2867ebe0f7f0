"""How much memory workers take: tasks that take more than they may are ended, and those that the kernel ended are recognised.

An attempt that says how much memory it needs is charged with what is added after it began; a limit of a worker is one of all that
the worker has. What counts as memory says :mod:`shoal.node.usage`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from shoal.node.bench import Bench
from shoal.node.crew import Exit, WorkerHandle
from shoal.node.endings import Endings
from shoal.node.usage import exact_use, quick_use
from shoal.resources import as_text

__all__ = ["KilledByKernel", "MemoryWatch"]

EVERY = 0.2
"""Seconds between looks while something is to be looked at."""

FREE = 32 * 10**6
"""Bytes that are not charged to an attempt: a fresh process takes some before it comes to the attempt's own code."""

SHARE = 0.02
"""The most of one core that looking may take."""


class MemoryWatch:
    """Looks at workers whose memory is limited.

    Args:
        bench: the workers.
        endings: ends those that take too much.
        per_worker: bytes that each may have; 0 for no limit.
    """

    def __init__(self, bench: Bench, endings: Endings, per_worker: int) -> None:
        self._bench = bench
        self._endings = endings
        self._per_worker = per_worker
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next look is due; infinity if there is nothing to look at."""
        if self._bench.measured or (self._per_worker and any(w.flight for w in self._bench.workers.values())):
            return max(0.0, self._due - now)
        return float("inf")

    def look(self, now: float) -> None:
        """Look, if it is time, and end what takes too much."""
        if now < self._due or self.wait(now) > 0.0:
            return
        began = time.thread_time()
        watched = self._bench.workers.values() if self._per_worker else self._bench.measured
        for worker in list(watched):
            if worker.flight and worker.ending is None:
                self._judge(worker, now)
        self._due = now + max(EVERY, (time.thread_time() - began) / SHARE)

    def _judge(self, worker: WorkerHandle, now: float) -> None:
        allowed, before = worker.memory
        for measure in (quick_use, exact_use):  # the second is asked only where the first says that it is too much
            used = measure(worker.pid)
            own = bool(allowed) and used - before > allowed + FREE
            if not own and not (self._per_worker and used > self._per_worker):
                return
        if own:
            self._endings.exceeded(worker, used - before, allowed, "memory", now)
        else:
            self._endings.exceeded(worker, used, self._per_worker, "memory_per_worker", now)


class KilledByKernel:
    """Whether the kernel ended processes since memory ran out, as far as its counters tell.

    Args:
        proc: where the kernel tells about processes.
        groups: where it tells about control groups.
    """

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc, self._groups = proc, groups
        self._seen = self._count()

    def explain(self, exit: Exit) -> str:
        """Why a worker ended that nobody of Shoal has killed.

        Args:
            exit: how it ended.
        """
        if exit.code != -9:
            return _explained(exit)
        seen, self._seen = self._seen, self._count()
        if self._seen == seen:
            return str(exit)
        return (
            f"{exit}, probably by the kernel since memory ran out: it had up to {as_text(exit.peak)}. Fix: say what the task "
            "needs with memory=..., so that fewer run side by side, or use fewer workers (max_workers_per_node)"
        )

    def _count(self) -> int:
        """How many processes were ended: of this one's control group where that is counted, else of the host."""
        return next((int(found[1]) for file in self._files() if (found := _oom_kills(file)) is not None), 0)

    def _files(self) -> Iterator[Path]:
        with suppress(OSError):
            for line in (self._proc / "self/cgroup").read_text().splitlines():
                _, kinds, path = line.split(":", 2)
                if kinds == "":
                    yield self._groups / path.strip("/") / "memory.events"
                elif "memory" in kinds.split(","):
                    yield self._groups / "memory" / path.strip("/") / "memory.oom_control"
        yield self._proc / "vmstat"


def _oom_kills(file: Path) -> re.Match[str] | None:
    with suppress(OSError):
        return re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
    return None


def _explained(exit: Exit) -> str:
    if exit.code >= 0:
        return f"{exit}: the task, or a library that it called, ended the process"
    return f"{exit}, it crashed" if exit.trace else str(exit)
