"""concurrent.futures.ProcessPoolExecutor, with the start method that Python uses by default."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle


class ProcessPool(FuturesPeer):
    """The standard library's pool of processes."""

    name = "processpool"
    title = "ProcessPoolExecutor"

    def start(self, workers: int) -> None:
        """Make the pool; processes start with the first tasks."""
        from concurrent.futures import ProcessPoolExecutor

        self._workers = workers
        self._pool = ProcessPoolExecutor(max_workers=workers)

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """Its ``submit``."""
        return partial(self._pool.submit, function)

    def describe(self) -> str:
        """Python's version is told elsewhere."""
        import multiprocessing

        method = multiprocessing.get_start_method()
        return f"`ProcessPoolExecutor(max_workers={self._workers})`, Python's default start method here: {method}"

    def close(self) -> None:
        """Wait for its processes."""
        self._pool.shutdown()


PEERS = (ProcessPool(),)
