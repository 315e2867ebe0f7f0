"""What is measured in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.case import Case
from benchmarks.peers.peer import Peer


@dataclass(frozen=True)
class Step:
    """One measurement.

    Args:
        round: 1, 2, ...; 0 for a run that only warms the page cache and is not counted.
        case: what.
        peer: on which system.
        count: with how much work.
    """

    round: int
    case: Case
    peer: Peer
    count: int


def plan(cases: Sequence[Case], peers: Sequence[Peer], rounds: int, quick: bool = False) -> Iterator[Step]:
    """All steps in order: the systems take turns within a case, the cases within a round.

    A machine that slows down for a while thus slows down all systems, and no case has all its rounds in that while.
    """
    for number in range(rounds + 1):
        for case in cases:
            if number == 0 and case.run is not None:
                continue
            for peer in peers:
                if case.fits(peer) and number <= min(case.rounds, peer.rounds):
                    yield Step(number, case, peer, case.count(peer, quick))
