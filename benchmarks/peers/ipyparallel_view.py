"""ipyparallel's load-balanced view: with the settings that were found to be its best, and as it comes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle, writable

BEST_CLUSTER: dict[str, Any] = {"delay": 0.0}
BEST_ENGINE = ("--IPEngine.enable_nanny=False",)
BEST_CONTROLLER = ("--HeartMonitor.period=200", "--TaskScheduler.hwm=0", "--IPController.use_threads=True")


class Ipyparallel(FuturesPeer):
    """ipyparallel on one host. Its tasks may wait for others, but not take their results.

    Args:
        name: as in Peer.
        title: as in Peer.
        cluster: options of Cluster beyond the number of engines.
        controller: arguments of its controller.
        engine: arguments of its engines.
        default: as in Peer.
    """

    requirements = ("ipyparallel>=9.2",)
    slow = True
    rounds = 5

    def __init__(
        self,
        name: str,
        title: str,
        cluster: dict[str, Any],
        controller: Sequence[str],
        engine: Sequence[str],
        *,
        default: bool,
    ) -> None:
        self.name, self.title, self.default = name, title, default
        self._options, self._controller, self._engine = cluster, controller, engine

    def start(self, workers: int) -> None:
        """Start controller and engines, and connect."""
        os.environ["IPYTHONDIR"] = os.path.realpath("ipython")
        import ipyparallel
        from traitlets.config import Config

        self._cluster: Any = ipyparallel.Cluster(
            n=workers,
            controller_ip="127.0.0.1",
            controller_args=list(self._controller),
            log_level=logging.WARNING,
            config=Config({"EngineLauncher": {"engine_args": list(self._engine)}}),
            **self._options,
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

        options = [*(f"{key}={value!r}" for key, value in self._options.items()), *self._controller, *self._engine]
        settings = ", ".join(options) or "all options at their defaults"
        return f"ipyparallel {version('ipyparallel')}, load-balanced view, {settings}"

    def close(self) -> None:
        """End its processes; seldom one of the controller's outlives it."""
        import psutil

        processes = psutil.Process().children(recursive=True)
        self._view.client.close()
        self._cluster.stop_cluster_sync()
        for process in psutil.wait_procs(processes, timeout=1.0)[1]:
            process.kill()


PEERS = (
    Ipyparallel("ipyparallel", "ipyparallel", BEST_CLUSTER, BEST_CONTROLLER, BEST_ENGINE, default=True),
    Ipyparallel("ipyparallel-defaults", "ipyparallel as it comes", {}, (), (), default=False),
)
