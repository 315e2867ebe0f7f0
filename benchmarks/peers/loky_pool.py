"""loky's reusable executor, the pool below joblib."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.peers.peer import FuturesPeer, Handle


class Loky(FuturesPeer):
    """loky on one host.

    Args:
        name: as in Peer.
        title: as in Peer.
        pickler: the module that pickles calls and results; empty: loky's own choice, cloudpickle.
        default: as in Peer.
    """

    requirements = ("loky>=3.7",)

    def __init__(self, name: str, title: str, pickler: str, *, default: bool) -> None:
        self.name, self.title, self.default = name, title, default
        self._pickler = pickler

    def start(self, workers: int) -> None:
        """Make the executor; processes start with the first tasks."""
        import loky

        if self._pickler:
            loky.set_loky_pickler(self._pickler)
        self._workers = workers
        self._executor = loky.get_reusable_executor(max_workers=workers)

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """Its ``submit``."""
        return partial(self._executor.submit, function)

    def describe(self) -> str:
        """Its version, and the pickler."""
        from importlib.metadata import version

        pickler = f", set_loky_pickler({self._pickler!r})" if self._pickler else ", all options at their defaults"
        return f"loky {version('loky')}, get_reusable_executor(max_workers={self._workers}){pickler}"

    def close(self) -> None:
        """End its processes."""
        self._executor.shutdown(wait=True)


PEERS = (
    Loky("loky", "loky", "pickle", default=True),
    Loky("loky-defaults", "loky as it comes", "", default=False),
)
