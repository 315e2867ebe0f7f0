"""What a run leaves behind: one event log of the session, one of its pool."""

from __future__ import annotations

from pathlib import Path

import shoal
from shoal.events import (
    AttemptEnded,
    BlockChanged,
    EnvironmentSeen,
    Event,
    ManagerRegistered,
    PoolEnded,
    PoolStarted,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskSubmitted,
)
from shoal.record.log import LogReader


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


def test_a_run_and_its_pool_are_on_record(tmp_path: Path):
    """Configuration, environment, code, inputs, attempts and ends; blocks and managers in the pool's own log."""

    def double(x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        return 2 * x

    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=1)
    with shoal.load(shoal.Config(executors=[htex], run_dir=tmp_path)) as session:
        first = session.submit(double, (4,))
        session.submit(double, (first,)).result(30)
        session.submit(double, (-1,)).exception(30)
    run = LogReader(session.run_dir / "events.log").read()
    assert kinds(run)[0] is RunStarted
    assert kinds(run)[-1] is RunEnded
    assert '"htex"' in run[0].config
    environment = next(event for event in run if isinstance(event, EnvironmentSeen))
    assert any(package.startswith("pyzmq==") for package in environment.packages)
    submitted = [event for event in run if isinstance(event, TaskSubmitted)]
    assert [len(event.code) for event in submitted] == [16, 16, 16]
    assert len({event.code for event in submitted}) == 1
    assert len({event.inputs for event in submitted}) == 3
    assert submitted[1].values == [(0, 0)]
    ended = [event for event in run if isinstance(event, AttemptEnded)]
    assert [event.kind for event in ended] == ["value", "value", "failure"]
    assert all(event.worker and 0 < event.started <= event.ended for event in ended)
    assert [event.error for event in run if isinstance(event, TaskEnded)] == ["ValueError: negative"]
    pool = kinds(LogReader(session.run_dir / "htex" / "pool.log").read())
    assert pool[0] is PoolStarted
    assert pool[-1] is PoolEnded
    assert {BlockChanged, ManagerRegistered} <= set(pool)
