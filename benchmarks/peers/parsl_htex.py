"""Parsl's HighThroughputExecutor: with the settings that were found to be its best, and as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle

BEST_EXECUTOR = {"address": "127.0.0.1", "encrypted": False, "prefetch_capacity": 100}
BEST_CONFIG = {"initialize_logging": False, "strategy": "none", "strategy_period": 0.1}


class Parsl(FuturesPeer):
    """Parsl on one host.

    Args:
        name: as in Peer.
        title: as in Peer.
        executor: options of HighThroughputExecutor beyond the number of workers.
        config: options of Config beyond the executor.
        default: as in Peer.
    """

    requirements = ("parsl>=2026.10",)
    dependencies = True
    slow = True

    def __init__(
        self, name: str, title: str, executor: dict[str, Any], config: dict[str, Any], *, default: bool
    ) -> None:
        self.name, self.title, self.default = name, title, default
        self._executor, self._config = executor, config

    def start(self, workers: int) -> None:
        """Load it with one block of this host."""
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        self._parsl: Any = parsl
        provider = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1)
        executor = HighThroughputExecutor(max_workers_per_node=workers, provider=provider, **self._executor)
        parsl.load(Config(executors=[executor], **self._config))

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """An app."""
        app: Callable[..., Handle] = self._parsl.python_app(function)
        return app

    def role(self, command: Sequence[str]) -> str:
        """By the scripts that it starts."""
        line = " ".join(command)
        return "interchange" if "interchange" in line else "manager and workers" if "worker" in line else "others"

    def describe(self) -> str:
        """Its version, and the options that are not its defaults."""
        from importlib.metadata import version

        options = ", ".join(f"{key}={value!r}" for key, value in {**self._executor, **self._config}.items())
        return f"Parsl {version('parsl')}, HighThroughputExecutor, {options or 'all options at their defaults'}"

    def close(self) -> None:
        """End its processes."""
        self._parsl.dfk().cleanup()


PEERS = (
    Parsl("parsl", "Parsl", BEST_EXECUTOR, BEST_CONFIG, default=True),
    Parsl("parsl-defaults", "Parsl as it comes", {}, {}, default=False),
)
