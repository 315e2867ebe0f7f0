"""Dask's distributed scheduler on a LocalCluster: with the settings that were found to be its best, and as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle

BEST_CLUSTER: dict[str, Any] = {"dashboard_address": None}
BEST_CONFIG = {"distributed.scheduler.worker-saturation": inf, "distributed.admin.event-loop": "uvloop"}


class Dask(FuturesPeer):
    """Dask on one host: processes of one thread each.

    Args:
        name: as in Peer.
        title: as in Peer.
        cluster: options of LocalCluster beyond the number of workers and threads.
        config: Dask's configuration, where it is not the default.
        default: as in Peer.
    """

    requirements = ("distributed>=2026.8", "uvloop>=0.23")
    dependencies = True
    slow = True
    rounds = 5

    def __init__(
        self, name: str, title: str, cluster: dict[str, Any], config: dict[str, Any], *, default: bool
    ) -> None:
        self.name, self.title, self.default = name, title, default
        self._options, self._config = cluster, config

    def start(self, workers: int) -> None:
        """Start the scheduler, in a thread of this process, and the workers."""
        import dask
        from distributed import Client, LocalCluster

        dask.config.set(self._config)
        self._cluster: Any = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", **self._options
        )
        self._client: Any = Client(self._cluster)

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """Its ``submit``; not pure, or equal calls would be one task."""
        return partial(self._client.submit, function, pure=False)

    def collect(self, handles: Sequence[Handle]) -> list[Any]:
        """Its ``gather``: all results in few messages."""
        results: list[Any] = self._client.gather(list(handles))
        return results

    def describe(self) -> str:
        """Its version, and the options that are not its defaults."""
        from importlib.metadata import version

        options = {"threads_per_worker": 1, **self._options, **self._config}
        settings = ", ".join(f"{key}={value!r}" for key, value in options.items())
        return f"Dask {version('distributed')}, LocalCluster, {settings}"

    def close(self) -> None:
        """End its processes."""
        self._client.close()
        self._cluster.close()


PEERS = (
    Dask("dask", "Dask", BEST_CLUSTER, BEST_CONFIG, default=True),
    Dask("dask-defaults", "Dask as it comes", {}, {}, default=False),
)
