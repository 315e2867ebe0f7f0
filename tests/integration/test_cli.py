"""The command line, as a person types it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

import shoal


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shoal.cli", *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def pool() -> Iterator[str]:
    """A lasting pool, stopped afterwards whatever the test did."""
    name = "cli-test"
    started = run("pool", "start", name, "--workers", "1", "--max-blocks", "2")
    assert started.returncode == 0, started.stderr
    assert f'HighThroughputExecutor(pool="{name}")' in started.stdout
    yield name
    run("pool", "stop", name)


def test_a_pool_is_started_listed_scaled_and_stopped(pool: str) -> None:
    """Each command says what it did, and the pool outlives the process that started it."""
    listed = run("pool", "list")
    assert pool in listed.stdout
    assert "lasting" in listed.stdout
    assert "aims at 2 blocks" in run("pool", "scale", pool, "2").stdout
    assert "limits" in run("pool", "scale", pool, "3").stdout
    stopped = run("pool", "stop", pool)
    assert stopped.returncode == 0
    assert "is stopped" in stopped.stdout
    assert pool not in run("pool", "list").stdout


def test_a_session_attaches_to_a_running_pool_and_leaves_it_running(pool: str) -> None:
    """Two sessions one after the other use the same workers; closing them does not end the pool."""
    config = shoal.Config(executors=(shoal.HighThroughputExecutor(pool=pool),))
    import os

    shoal.clear()
    with shoal.load(config) as session:
        first = session.submit(os.getppid).result(30)
    with shoal.load(config) as session:
        second = session.submit(os.getppid).result(30)
    shoal.clear()
    assert first == second
    assert psutil.pid_exists(first)
    assert pool in run("pool", "list").stdout


def test_a_name_that_is_taken_is_refused(pool: str) -> None:
    """Exit code 1 and one sentence, no traceback."""
    again = run("pool", "start", pool)
    assert again.returncode == 1
    assert "is running already" in again.stderr
    assert "Traceback" not in again.stderr


def test_mistakes_get_a_sentence() -> None:
    """A pool that is not there, a name that none can have, a number that cannot be."""
    for words, text in (
        (("pool", "stop", "nowhere"), "no pool named 'nowhere'"),
        (("pool", "start", "../x"), "letters, digits"),
        (("pool", "start", "x", "--blocks", "-1"), "init_blocks"),
        (("pool", "scale", "x", "-1"), "0 or more"),
        (("pool", "start", "x", "--workers", "0"), "workers"),
    ):
        done = run(*words)
        assert done.returncode == 1, done
        assert text in done.stderr
        assert "Traceback" not in done.stderr
    assert run("pool", "fly").returncode == 2


def test_doctor_finds_this_installation_well() -> None:
    """Each finding on a line; the code says whether all is well."""
    done = run("doctor")
    for word in ("Python", "pyzmq", "jupyterlab", "lab extension", "server extension", "kernelspec", "pools folder"):
        assert word in done.stdout
    assert done.returncode == 0, done.stdout
    assert "All is well." in done.stdout
