"""executorlib's SingleNodeExecutor: with the settings that were found to be its best, and with few of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle

BEST = {"refresh_rate": 0.0001}


class Executorlib(FuturesPeer):
    """executorlib on one host, with workers that stay (as it comes, it starts an interpreter for every call).

    Args:
        name: as in Peer.
        title: as in Peer.
        options: of SingleNodeExecutor beyond the number of workers.
        default: as in Peer.
    """

    requirements = ("executorlib>=1.11",)
    dependencies = True
    slow = True

    def __init__(self, name: str, title: str, options: dict[str, Any], *, default: bool) -> None:
        self.name, self.title, self.default = name, title, default
        self._options = {"block_allocation": True, "hostname_localhost": True, **options}

    def start(self, workers: int) -> None:
        """Start the executor and its workers."""
        from executorlib import SingleNodeExecutor

        self._executor = SingleNodeExecutor(max_workers=workers, **self._options)

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """Its ``submit``."""
        return partial(self._executor.submit, function)

    def describe(self) -> str:
        """Its version, and the options that are not its defaults."""
        from importlib.metadata import version

        options = ", ".join(f"{key}={value!r}" for key, value in self._options.items())
        return f"executorlib {version('executorlib')}, SingleNodeExecutor, {options}"

    def close(self) -> None:
        """End its processes."""
        self._executor.shutdown(wait=True)


PEERS = (
    Executorlib("executorlib", "executorlib", BEST, default=True),
    Executorlib("executorlib-defaults", "executorlib as it comes", {}, default=False),
)
