"""What a finished task keeps in the memory of the client."""

from __future__ import annotations

import gc

import psutil

from benchmarks import tasks
from benchmarks.case import Figures
from benchmarks.peers.peer import Peer


def held(peer: Peer, count: int) -> Figures:
    """All tasks submitted at once, all results read, all handles kept: growth of the resident set for each."""
    echo = peer.prepare(tasks.echo)
    # kept as well: freed, it would leave room that the tasks to be counted move into
    warm = [echo(i % 100) for i in range(500)]
    peer.collect(warm)
    before = _resident()
    handles = [echo(i % 100) for i in range(count)]
    results = peer.collect(handles)
    if results[-1] != (count - 1) % 100:
        raise RuntimeError(f"the last of {count} results is {results[-1]}")
    del results
    grown = _resident() - before
    del warm, handles
    return {"kilobytes": grown / count / 1e3}


def _resident() -> int:
    """Bytes of this process in memory, after collection."""
    for _ in range(3):
        gc.collect()
    size: int = psutil.Process().memory_info().rss
    return size
