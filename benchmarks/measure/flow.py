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


def fan_in(peer: Peer, count: int) -> Figures:
    """``count`` tasks, and one that takes the results of all of them as its arguments."""
    increment, total = peer.prepare(tasks.increment), peer.prepare(tasks.total)

    def run(width: int) -> float:
        began = time.perf_counter()
        (value,) = peer.collect([total(*[increment(1) for _ in range(width)])])
        if value != 2 * width:
            raise RuntimeError(f"{width} results summed up to {value}")
        return time.perf_counter() - began

    run(count // 10)
    return {"seconds": run(count)}


def long_chain(peer: Peer, count: int) -> Figures:
    """As ``chain``, once, and long: nothing may grow with the length, nor recurse along it."""
    increment = peer.prepare(tasks.increment)
    began = time.perf_counter()
    last = increment(0)
    for _ in range(count - 1):
        last = increment(last)
    (value,) = peer.collect([last])
    if value != count:
        raise RuntimeError(f"a chain of {count} links counted {value}")
    return {"seconds": time.perf_counter() - began}


def mapped(_peer: Peer, count: int) -> Figures:
    """``app.map`` over ``count`` small things, its own choice of chunks."""
    from shoal import gather, python_app

    app = python_app(tasks.increment)

    def run(many: int) -> float:
        began = time.perf_counter()
        if sum(gather(app.map(range(many)))) != many * (many + 1) // 2:
            raise RuntimeError("the elements of a map do not add up")
        return time.perf_counter() - began

    run(count // 10)
    return {"rate": count / run(count)}


def cached(_peer: Peer, count: int) -> Figures:
    """Calls of an app with ``cache=True``: first ones, whose results are kept, then the same once more."""
    from shoal import gather, python_app

    app = python_app(tasks.increment, cache=True)
    figures = {}
    for what in ("miss", "hit"):
        began = time.perf_counter()
        if sum(gather([app(number) for number in range(count)])) != count * (count + 1) // 2:
            raise RuntimeError("a cached call has a wrong value")
        figures[what] = 1e6 * (time.perf_counter() - began) / count
    return figures


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
