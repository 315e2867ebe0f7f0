"""Clients that leave at once: what they sent before they went counts."""

from __future__ import annotations

import os
import signal

import pytest

import shoal
from shoal.blocks.providers.local import LocalProvider
from shoal.executors.claims import Claims
from shoal.pool.control import pool_status, start_pool, stop_pool
from shoal.wire.messages import Shutdown, StatusRequest
from tests.integration.conftest import eventually


def negate(x):
    return -x


def negate_later(x, gate):
    import os
    import time

    while not os.path.exists(gate):
        time.sleep(0.01)
    return -x


def test_what_a_client_sent_before_it_went_is_taken_in(pools):
    """It closes before the pool has read anything, so an answer finds nobody; the tasks and the farewell behind it count."""
    client = pools.start(workers=1)
    (tid,) = client.submit(negate, 1)
    assert client.value(tid) == -1
    pool, family = client.connection.pid, pools.family(client.connection.pid)
    os.kill(pool, signal.SIGSTOP)
    client.send(StatusRequest(1))
    for n in range(20):
        client.submit(negate, n)
    client.send(Shutdown("enough"))
    client.line.close(1.0)
    os.kill(pool, signal.SIGCONT)
    assert pools.gone(family, 20.0), "it was told to end"
    pools.forget(client)


@pytest.fixture
def lasting(tmp_path, monkeypatch):
    """The name of a pool that lasts."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    start_pool("kept", LocalProvider(), max_workers_per_node=1)
    yield "kept"
    stop_pool("kept")


def test_a_session_that_is_kept_leaves_all_its_tasks_also_when_it_ends_at_once(lasting, tmp_path):
    """With keep_on_close tasks leave that waited for the pool's welcome; all of them can be claimed."""
    for turn in range(3):
        gate = tmp_path / str(turn)
        htex = shoal.HighThroughputExecutor(pool=lasting)
        with shoal.new_session(shoal.Config(executors=(htex,), run_dir=str(tmp_path))) as session:
            executor = session.executors["htex"]
            executor.keep_on_close = True
            for n in range(100):
                session.submit(negate_later, (n, str(gate)))
            session.close()
        assert eventually(
            lambda session=executor.session: session in {s.session for s in pool_status(lasting).sessions}
        )
        gate.touch()
        with Claims(lasting, executor.session) as claims:
            assert sorted(claims.result(tid, 30.0) for tid in claims.tasks) == [-n for n in reversed(range(100))]
