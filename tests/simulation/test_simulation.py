"""The machines of a pool on a virtual clock: what must hold at any size, and however many nodes die."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.errors import ConfigurationError
from shoal.simulation import Scenario, simulate

UNLUCKY = Scenario(nodes=20, workers=4, tasks=2000, duration=0.5, spread=0.5, lifetime=20.0, start=1.0, seed=7)


def with_(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario(**{name: getattr(scenario, name) for name in scenario.__struct_fields__} | changes)


def test_the_same_scenario_gives_the_same_report():
    """Nothing but the seed decides what is left to chance."""
    assert simulate(UNLUCKY) == simulate(UNLUCKY)
    assert simulate(UNLUCKY) != simulate(with_(UNLUCKY, seed=8))


def test_the_time_is_that_of_the_tasks_and_of_what_each_step_costs():
    """With few workers it takes as long as the tasks do; with very many as long as the client needs to submit."""
    few = simulate(Scenario(nodes=2, workers=32, tasks=640, duration=1.0))
    assert few.ideal == 10.0
    assert 10.0 < few.makespan < 10.1
    assert few.utilisation > 0.99
    many = simulate(Scenario(nodes=500, workers=32, tasks=16_000, duration=0.01, client_task=100e-6))
    assert 1.6 < many.makespan < 1.65


def test_an_interchange_that_is_too_slow_is_the_bound():
    """A task costs the interchange what the scenario says."""
    report = simulate(Scenario(nodes=64, workers=32, tasks=20_000, duration=0.001, pool_task=1e-3, pool_message=0.0))
    assert 20.0 < report.makespan < 20.5
    assert report.interchange > 0.97


def test_lost_nodes_are_replaced_and_what_they_ran_runs_again():
    """Each task has one outcome, a value, though nodes died; each second attempt has a lost one before it."""
    report = simulate(UNLUCKY)
    assert (report.tasks, report.failed) == (2000, 0)
    assert report.nodes_lost > 3
    assert report.lost > 0
    assert report.attempts == report.tasks + report.lost
    assert report.nodes_started > UNLUCKY.nodes
    assert report.suspected == 0


def test_a_node_that_dies_unnoticed_is_suspected_and_then_given_up():
    """Where nothing tells of its end, silence does, and its tasks run again elsewhere."""
    report = simulate(with_(UNLUCKY, notice=None, lifetime=100.0))
    assert (report.tasks, report.failed) == (2000, 0)
    assert report.suspected == report.nodes_lost > 0
    assert report.attempts == report.tasks + report.lost
    assert report.makespan > 120.0


def test_a_thousand_nodes_are_used_well():
    """Of 32,000 workers hardly one is idle while there is work."""
    report = simulate(Scenario(nodes=1000, workers=32, tasks=64_000, duration=60.0))
    assert report.utilisation > 0.97
    assert report.tasks == 64_000


@settings(max_examples=40, deadline=None)
@given(
    scenario=st.builds(
        Scenario,
        nodes=st.integers(1, 12),
        workers=st.integers(1, 4),
        tasks=st.integers(1, 300),
        duration=st.sampled_from([0.0, 0.001, 0.1, 3.0]),
        spread=st.sampled_from([0.0, 0.5, 1.0]),
        latency=st.sampled_from([0.0, 0.001, 0.3]),
        start=st.sampled_from([0.0, 5.0]),
        lifetime=st.sampled_from([0.0, 30.0, 300.0]),
        notice=st.sampled_from([None, 0.0, 2.0]),
        seed=st.integers(0, 5),
    )
)
def test_each_task_has_exactly_one_outcome(scenario: Scenario):
    """Whatever dies, and whoever notices: the client is told once of each task, and nothing is forgotten."""
    report = simulate(scenario)
    assert report.tasks + report.failed == scenario.tasks
    assert report.attempts == scenario.tasks + report.lost
    assert 0.0 <= report.utilisation <= 1.0 + 1e-9
    assert report.makespan >= scenario.start


@pytest.mark.parametrize("wrong", [{"nodes": 0}, {"duration": -1.0}, {"spread": 2.0}, {"notice": -1.0}])
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, float]):
    """The field at fault is named."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Scenario(**wrong)
