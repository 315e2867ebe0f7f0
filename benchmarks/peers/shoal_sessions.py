"""Shoal through its public decorators, dataflow and event log on: on a pool of its own, and on threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle


class ShoalPool(FuturesPeer):
    """The HighThroughputExecutor with its embedded pool, on the default links."""

    name = "shoal"
    title = "Shoal"
    dependencies = True
    project = True

    def start(self, workers: int) -> None:
        """Load a session."""
        import shoal

        self._shoal: Any = shoal
        shoal.load(shoal.Config(executors=(self._spec(workers),), memo=shoal.Memo(folder="memo")))

    def _spec(self, workers: int) -> Any:
        shoal = self._shoal
        self._options = f"HighThroughputExecutor(max_workers_per_node={workers})"
        provider = shoal.LocalProvider(init_blocks=1, max_blocks=1)
        return shoal.HighThroughputExecutor(max_workers_per_node=workers, provider=provider)

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """An app, of a function that travels by value."""
        app: Callable[..., Handle] = self._shoal.python_app(as_in_a_notebook(function))
        return app

    def role(self, command: Sequence[str]) -> str:
        """By the modules that its processes run."""
        line = " ".join(command)
        roles = {"shoal.node.worker": "workers", "shoal.node.manager": "manager", "shoal.pool": "pool"}
        return next((role for module, role in roles.items() if module in line), "others")

    def describe(self) -> str:
        """Its version and executor."""
        from importlib.metadata import version

        return f"Shoal {version('shoal')}, `@python_app` on `{self._options}`, event log on"

    def close(self) -> None:
        """End the session and its pool."""
        self._shoal.clear()


class ShoalThreads(ShoalPool):
    """The ThreadPoolExecutor: the cost of the session alone."""

    name = "shoal-threads"
    title = "Shoal on threads"
    processes = False
    variant = " (ThreadPoolExecutor)"

    def _spec(self, workers: int) -> Any:
        self._options = f"ThreadPoolExecutor(max_threads={workers})"
        return self._shoal.ThreadPoolExecutor(max_threads=workers)


class ShoalOverTcp(ShoalPool):
    """The link between the pool and its manager as between hosts: encrypted, over TCP."""

    name = "shoal-tcp"
    title = "Shoal over TCP with CURVE"
    variant = " (managers over TCP with CURVE)"
    cases = ("throughput", "latency", "chain")

    def _spec(self, workers: int) -> Any:
        shoal = self._shoal
        self._options = f'HighThroughputExecutor(max_workers_per_node={workers}, address="127.0.0.1")'
        provider = shoal.LocalProvider(init_blocks=1, max_blocks=1)
        return shoal.HighThroughputExecutor(max_workers_per_node=workers, provider=provider, address="127.0.0.1")


def as_in_a_notebook(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function defined in ``__main__``, as a notebook's cell would: its code has to travel to the workers."""
    main = sys.modules["__main__"].__dict__
    if function.__name__ not in main:
        path = Path(sys.modules[function.__module__].__file__ or "")
        exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), main)
    defined: Callable[..., Any] = main[function.__name__]
    return defined


PEERS = (ShoalPool(), ShoalThreads(), ShoalOverTcp())
