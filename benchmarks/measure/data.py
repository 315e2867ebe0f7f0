"""Payload: 1 MB (or 64 MB) in and the same out; the rate counts both ways."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import tasks
from benchmarks.case import Figures
from benchmarks.peers.peer import Peer

SIZE = 1_000_000
LARGE = 64_000_000
IN_FLIGHT = 8


def arrays(peer: Peer, count: int) -> Figures:
    """Arrays of float64, all different, made beforehand. Each result is looked at and written to."""
    return _arrays(peer, count, SIZE)


def large_arrays(peer: Peer, count: int) -> Figures:
    """The same with arrays of 64 MB."""
    return _arrays(peer, count, LARGE)


def shared(peer: Peer, count: int) -> Figures:
    """One array of 64 MB, given to many tasks by ``shoal.share``: the time of all, by task."""
    import shoal

    look = peer.prepare(tasks.look)
    array = np.arange(LARGE // 8, dtype=np.float64)
    value = shoal.share(array)
    peer.collect([look(value, 0)])
    began = time.perf_counter()
    found = peer.collect([look(value, i) for i in range(count)])
    seconds = time.perf_counter() - began
    if found != [float(i) for i in range(count)]:
        raise RuntimeError("a task saw another array")
    return {"task": 1e6 * seconds / count}


def _arrays(peer: Peer, count: int, size: int) -> Figures:
    def check(result: Any, number: int) -> None:
        if result.nbytes != size or result[0] != number or result[-1] != number:
            raise RuntimeError(f"array {number} came back changed")
        result[0] = -1  # raises where results are read-only: that is less than a copy, and not what is compared

    return _send(peer, [np.full(size // 8, i, dtype=np.float64) for i in range(count)], check, size)


def strings(peer: Peer, count: int) -> Figures:
    """Objects of type ``bytes``, all different, made beforehand."""

    def check(result: Any, number: int) -> None:
        if len(result) != SIZE or result[:4] != number.to_bytes(4, "little"):
            raise RuntimeError(f"bytes {number} came back changed")

    return _send(peer, [i.to_bytes(4, "little") * (SIZE // 4) for i in range(count)], check, SIZE)


def _send(peer: Peer, values: Sequence[Any], check: Callable[[Any, int], None], size: int) -> Figures:
    echo = peer.prepare(tasks.echo)
    _window(peer, echo, values[:IN_FLIGHT], check)
    began = time.perf_counter()
    _window(peer, echo, values, check)
    return {"rate": 2 * size * len(values) / (time.perf_counter() - began) / 1e6}


def _window(peer: Peer, echo: Callable[[Any], Any], values: Sequence[Any], check: Callable[[Any, int], None]) -> None:
    flying: deque[tuple[int, Any]] = deque()

    def land() -> None:
        number, handle = flying.popleft()
        (result,) = peer.collect([handle])
        check(result, number)

    for number, value in enumerate(values):
        if len(flying) == IN_FLIGHT:
            land()
        flying.append((number, echo(value)))
    while flying:
        land()
