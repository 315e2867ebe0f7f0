"""ipyparallel's load-balanced view: with the settings that were found to be its best, and as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle, writable

BEST_CONTROLLER: tuple[str, ...] = ()


class Ipyparallel(FuturesPeer):
    """ipyparallel on one host. Its tasks may wait for others, but not take their results.

    Args:
        name: as in Peer.
        title: as in Peer.
        controller: arguments of its controller.
        default: as in Peer.
    """

    requirements = ("ipyparallel>=9.2",)
    slow = True

    def __init__(self, name: str, title: str, controller: Sequence[str], *, default: bool) -> None:
        self.name, self.title, self.default = name, title, default
        self._controller = controller

    def start(self, workers: int) -> None:
        """Start controller and engines, and connect."""
        os.environ["IPYTHONDIR"] = os.path.realpath("ipython")
        import ipyparallel

        self._cluster: Any = ipyparallel.Cluster(
            n=workers, controller_ip="127.0.0.1", controller_args=list(self._controller), log_level=30
        )
        client = self._cluster.start_and_connect_sync(activate=False)
        self._view: Any = client.load_balanced_view()

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """The view's ``apply_async``."""
        return partial(self._view.apply_async, function)

    def collect(self, handles: Sequence[Handle]) -> list[Any]:
        """Ask each result. Arrays lie in the memory of the messages and can only be read; the others' can be written to."""
        return [writable(handle.get()) for handle in handles]

    def role(self, command: Sequence[str]) -> str:
        """By the modules that its processes run."""
        line = " ".join(command)
        return "controller" if "ipyparallel.controller" in line else "engines" if "engine" in line else "others"

    def describe(self) -> str:
        """Its version, and the options that are not its defaults."""
        from importlib.metadata import version

        options = " ".join(self._controller) or "all options at their defaults"
        return f"ipyparallel {version('ipyparallel')}, load-balanced view, controller: {options}"

    def close(self) -> None:
        """End its processes."""
        self._view.client.close()
        self._cluster.stop_cluster_sync()


PEERS = (
    Ipyparallel("ipyparallel", "ipyparallel", BEST_CONTROLLER, default=True),
    Ipyparallel("ipyparallel-defaults", "ipyparallel as it comes", (), default=False),
)
