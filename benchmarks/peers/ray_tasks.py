"""Ray's tasks on one host: with the settings that were found to be its best, and as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle, writable

BEST_INIT: dict[str, Any] = {"object_store_memory": 200_000_000}
BEST_TASK: dict[str, Any] = {"max_retries": 0, "enable_task_events": False}


class Ray(FuturesPeer):
    """Ray on one host, without its dashboard and without reports to its makers.

    Args:
        name: as in Peer.
        title: as in Peer.
        init: options of ray.init beyond the number of CPUs.
        task: options of ray.remote.
        default: as in Peer.
    """

    requirements = ("ray>=2.60",)
    dependencies = True
    slow = True
    rounds = 5

    def __init__(self, name: str, title: str, init: dict[str, Any], task: dict[str, Any], *, default: bool) -> None:
        self.name, self.title, self.default = name, title, default
        self._init, self._task = init, task

    def start(self, workers: int) -> None:
        """Start its daemons and its workers."""
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")  # the latter: loopback
        import ray

        self._ray: Any = ray
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=os.path.realpath("ray"),
            **self._init,
        )

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """A remote function."""
        remote = self._ray.remote(**self._task)(function) if self._task else self._ray.remote(function)
        submit: Callable[..., Handle] = remote.remote
        return submit

    def collect(self, handles: Sequence[Handle]) -> list[Any]:
        """Its ``get``. Arrays lie in shared memory and can only be read; the others' can be written to."""
        return [writable(result) for result in self._ray.get(list(handles))]

    def role(self, command: Sequence[str]) -> str:
        """By the programs that it starts."""
        line = " ".join(command)
        return "raylet" if "raylet/raylet" in line else "workers" if line.startswith("ray::") else "others"

    def describe(self) -> str:
        """Its version, and the options that are not its defaults."""
        from importlib.metadata import version

        options = {"include_dashboard": False, **self._init, **self._task}
        settings = ", ".join(f"{key}={value!r}" for key, value in options.items())
        return f"Ray {version('ray')}, {settings}"

    def close(self) -> None:
        """End its processes."""
        self._ray.shutdown()


PEERS = (
    Ray("ray", "Ray", BEST_INIT, BEST_TASK, default=True),
    Ray("ray-defaults", "Ray as it comes", {}, {}, default=False),
)
