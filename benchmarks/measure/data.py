"""Payload: 1 MB in and the same 1 MB out; the rate counts both ways."""

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
IN_FLIGHT = 8


def arrays(peer: Peer, count: int) -> Figures:
    """Arrays of float64, all different, made beforehand. Each result is looked at and written to."""

    def check(result: Any, number: int) -> None:
        if result.nbytes != SIZE or result[0] != number or result[-1] != number:
            raise RuntimeError(f"array {number} came back changed")
        result[0] = -1  # raises where results are read-only: that is less than a copy, and not what is compared

    return _send(peer, [np.full(SIZE // 8, i, dtype=np.float64) for i in range(count)], check)


def strings(peer: Peer, count: int) -> Figures:
    """Objects of type ``bytes``, all different, made beforehand."""

    def check(result: Any, number: int) -> None:
        if len(result) != SIZE or result[:4] != number.to_bytes(4, "little"):
            raise RuntimeError(f"bytes {number} came back changed")

    return _send(peer, [i.to_bytes(4, "little") * (SIZE // 4) for i in range(count)], check)


def _send(peer: Peer, values: Sequence[Any], check: Callable[[Any, int], None]) -> Figures:
    echo = peer.prepare(tasks.echo)
    _window(peer, echo, values[:IN_FLIGHT], check)
    began = time.perf_counter()
    _window(peer, echo, values, check)
    return {"rate": 2 * SIZE * len(values) / (time.perf_counter() - began) / 1e6}


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
