"""What a case is: a kind of measurement, and the figures that it yields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.peers.peer import Peer

Figures = dict[str, float]
"""What one measurement found, by the figures' keys."""


@dataclass(frozen=True)
class Figure:
    """One row of a table.

    Args:
        key: its key in the results of the case.
        title: what it is.
        unit: of the number.
        more_is_better: which way is better.
        table: ``peers`` compares all systems; ``shoal`` is about this project alone.
    """

    key: str
    title: str
    unit: str
    more_is_better: bool = False
    table: str = "peers"


@dataclass(frozen=True)
class Counts:
    """How many tasks (links, arrays, futures) one measurement takes: of most systems, and of slow ones."""

    usual: int
    slow: int


@dataclass(frozen=True)
class Case:
    """A kind of measurement.

    Args:
        name: on the command line and in the raw results.
        figures: what it yields.
        full, quick: how much work, in earnest and for trying out.
        run: measures a system that is up; None: the measurement is the start itself (see ``child``).
        dependencies: needs a system that takes handles as arguments.
        processes: needs workers that are processes.
        only: names of the systems that it is about; empty: all.
        rounds: at most so many, where more would say nothing new.
    """

    name: str
    figures: tuple[Figure, ...]
    full: Counts
    quick: Counts
    run: Callable[[Peer, int], Figures] | None
    dependencies: bool = False
    processes: bool = False
    only: tuple[str, ...] = ()
    rounds: int = 1000

    def fits(self, peer: Peer) -> bool:
        """Whether a system can do it."""
        able = (peer.dependencies or not self.dependencies) and (peer.processes or not self.processes)
        wanted = not peer.cases or self.name in peer.cases
        return able and wanted and (not self.only or peer.name in self.only)

    def count(self, peer: Peer, quick: bool) -> int:
        """How much work a system gets."""
        counts = self.quick if quick else self.full
        return counts.slow if peer.slow else counts.usual
