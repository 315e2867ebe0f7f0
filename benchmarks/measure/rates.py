"""How many tasks a second, and how long one takes."""

from __future__ import annotations

import statistics
import time

from benchmarks import tasks
from benchmarks.case import Figures
from benchmarks.measure.processes import cpu_seconds
from benchmarks.peers.peer import Peer


def throughput(peer: Peer, count: int) -> Figures:
    """No-ops submitted in a loop as fast as it goes, until the last result was read. CPU time of the same span."""
    noop = peer.prepare(tasks.noop)
    peer.collect([noop() for _ in range(count // 10)])
    before = cpu_seconds(peer)
    began = time.perf_counter()
    results = peer.collect([noop() for _ in range(count)])
    seconds = time.perf_counter() - began
    spent = cpu_seconds(peer)
    if results != [None] * count:
        raise RuntimeError("a no-op returned something")
    figures = {f"cpu.{role}": 1e6 * (used - before[role]) / count for role, used in spent.items()}
    return {"rate": count / seconds, "cpu": sum(figures.values()), **figures}


def latency(peer: Peer, count: int) -> Figures:
    """One no-op at a time: from the call to the result in hand."""
    noop = peer.prepare(tasks.noop)
    times = []
    for i in range(count + count // 5):
        began = time.perf_counter()
        peer.collect([noop()])
        if i >= count // 5:
            times.append(time.perf_counter() - began)
    times.sort()
    return {"median": 1e3 * statistics.median(times), "p99": 1e3 * times[int(0.99 * len(times))]}
