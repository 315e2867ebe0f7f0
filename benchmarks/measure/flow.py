"""Tasks that depend on tasks. All are submitted at once; the system hands the results on."""

from __future__ import annotations

import time

from benchmarks import tasks
from benchmarks.case import Figures
from benchmarks.peers.peer import Peer


def chain(peer: Peer, count: int) -> Figures:
    """Each task takes the result of the one before."""
    increment = peer.prepare(tasks.increment)

    def run(links: int) -> float:
        began = time.perf_counter()
        last = increment(0)
        for _ in range(links - 1):
            last = increment(last)
        (value,) = peer.collect([last])
        if value != links:
            raise RuntimeError(f"a chain of {links} links counted {value}")
        return time.perf_counter() - began

    run(count // 10)
    return {"link": 1e3 * run(count) / count}


def fan(peer: Peer, count: int) -> Figures:
    """One task, ``count`` tasks that take its result, one that takes all of theirs."""
    increment, total = peer.prepare(tasks.increment), peer.prepare(tasks.total)

    def run(width: int) -> float:
        began = time.perf_counter()
        root = increment(0)
        (value,) = peer.collect([total(*[increment(root) for _ in range(width)])])
        if value != 2 * width:
            raise RuntimeError(f"a fan of {width} summed up to {value}")
        return time.perf_counter() - began

    run(count // 10)
    return {"seconds": run(count)}
