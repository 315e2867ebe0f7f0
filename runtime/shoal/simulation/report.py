"""What came of a simulation."""

from __future__ import annotations

import msgspec

__all__ = ["Report"]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated run, from the first submission until the last result was with the client. Times are virtual.

    Args:
        makespan: how long it took (seconds).
        throughput: tasks a second.
        ideal: the makespan if nothing but the tasks took time, and no node died (seconds).
        utilisation: the share of all workers' time in which they ran tasks whose results counted.
        tasks: how many have ended with a value.
        failed: how many have ended otherwise, since no node was left.
        attempts: how many were submitted, second ones included.
        lost: how many attempts were lost with their nodes and run again.
        nodes_lost, nodes_started: how many nodes died, and how many came up in all.
        suspected: how often a node was silent for so long that it got no new tasks.
        messages: what the interchange received and sent.
        interchange: the share of the time in which the interchange was busy.
        rounds: how often it asked the machine.
        waiting: most attempts that waited in the pool at a time.
    """

    makespan: float
    throughput: float
    ideal: float
    utilisation: float
    tasks: int
    failed: int
    attempts: int
    lost: int
    nodes_lost: int
    nodes_started: int
    suspected: int
    messages: int
    interchange: float
    rounds: int
    waiting: int
