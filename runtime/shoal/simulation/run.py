"""Running a simulation."""

from __future__ import annotations

from math import ceil

from shoal.simulation.agenda import Agenda
from shoal.simulation.pool import SimulatedPool
from shoal.simulation.report import Report
from shoal.simulation.scenario import Scenario

__all__ = ["simulate"]


def simulate(scenario: Scenario) -> Report:
    """Run a scenario to its end: until each task has its outcome. The same scenario gives the same report.

    Args:
        scenario: what to simulate.
    """
    agenda = Agenda()
    pool = SimulatedPool(scenario, agenda)
    client = pool.client
    pool.begin()
    client.begin()
    agenda.run(lambda: client.over)
    makespan = max(client.finished_at, 1e-9)
    slots = scenario.nodes * scenario.workers
    return Report(
        makespan=makespan,
        throughput=client.done / makespan,
        ideal=scenario.start + ceil(scenario.tasks / slots) * scenario.duration,
        utilisation=pool.all_useful() / (slots * makespan),
        tasks=client.done,
        failed=client.failed,
        attempts=client.attempts,
        lost=client.lost,
        nodes_lost=pool.lost,
        nodes_started=pool.started,
        suspected=pool.suspected,
        messages=pool.messages,
        interchange=pool.busy / makespan,
        rounds=pool.rounds,
        waiting=pool.waiting,
    )
