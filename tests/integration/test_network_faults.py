"""A pool whose workers, or whose client, are on another host, at the end of a cable that is slow, lossy, or cut and healed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

import shoal
from shoal.errors import ConfigurationError, ManagerLost, PoolLost, PoolNotFound
from shoal.pool.connection import Connection, remove_connection
from shoal.pool.control import start_pool, stop_pool
from shoal.pool.start import make_spec, on_interface, spawn_pool, wait_for_file
from tests.integration.conftest import eventually
from tests.integration.damage import Mark
from tests.integration.network import MISSING, Host

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

SLOW = 60.0
"""Seconds for what takes a few on an idle machine."""


def double(number: int, padding: bytes = b"") -> int:
    return 2 * number + len(padding)


def note(file: str, number: int, seconds: float) -> str:
    """Write down that this task runs, and where; then take a while."""
    with open(file, "a") as lines:
        lines.write(f"{number} {os.getpid()}\n")
    time.sleep(seconds)
    return os.uname().nodename


class Far:
    """A pool with its workers on another host, and a session that uses it."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder, self.host = folder, host
        self.mark = Mark()
        os.environ[Mark.NAME] = self.mark.word
        self.notes = folder / "notes"
        self.notes.touch()
        self._process: subprocess.Popen[bytes]
        self._connection: Connection

    def load(self, retries: int = 0, **changes: Any) -> shoal.Session:
        """Start both; returns once a worker is up."""
        name = f"far-{uuid.uuid4().hex[:8]}"
        provider = shoal.LocalProvider(worker_init=self.host.worker_init())
        spec = on_interface(
            make_spec(name, provider, max_workers_per_node=2, folder=self.folder / name), self.host.here
        )
        spec = msgspec.structs.replace(spec, **changes)
        self._process, _ = spawn_pool(spec)
        self._connection = wait_for_file(spec, self._process)
        htex = shoal.HighThroughputExecutor(pool=name)
        session = shoal.load(shoal.Config(executors=(htex,), run_dir=str(self.folder), retries=retries))
        self.executor: Any = session.executors["htex"]
        assert session.submit(note, (os.devnull, 0, 0)).result(SLOW) == self.host.name
        return session

    def trouble(self) -> str:
        return str(self.executor.status().trouble)

    def lines(self) -> list[str]:
        return self.notes.read_text().splitlines()

    def kill_pool(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.host.cut = False
        self.host.delay = self.host.loss = 0.0
        shoal.clear()
        self._process.terminate()
        self._process.wait(20)
        remove_connection(self._connection)
        assert eventually(lambda: not self.mark.left(), SLOW), f"left behind: {self.mark.left()}"


@pytest.fixture
def host() -> Iterator[Host]:
    found = Host()
    yield found
    found.close()


@pytest.fixture
def far(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    monkeypatch.setenv(Mark.NAME, "")
    shoal.clear()
    found = Far(tmp_path, host)
    yield found
    found.close()


def test_a_slow_link(far: Far) -> None:
    """With 200 ms there and back all tasks end, many of them at a time."""
    session = far.load()
    far.host.delay = 0.1
    began = time.monotonic()
    assert [f.result(SLOW) for f in [session.submit(double, (n,)) for n in range(500)]] == [2 * n for n in range(500)]
    assert time.monotonic() - began < 0.2 * 500 / 4, "not one after the other"


def test_a_lossy_link(far: Far) -> None:
    """Of all packets every tenth is lost: all tasks end, each with its first attempt."""
    session = far.load()
    far.host.loss = 0.1
    futures = [session.submit(double, (n, b"x" * 5000)) for n in range(200)]
    assert [f.result(SLOW) for f in futures] == [2 * n + 5000 for n in range(200)]
    assert {session.view().attempts[f.tid] for f in futures} == {1}


def test_cut_and_healed_in_time(far: Far) -> None:
    """A manager out of reach is named and gets no new tasks; once the link is back, all its results arrive: nothing runs twice."""
    session = far.load(suspect_after=4.0, lost_after=60.0)
    futures = [session.submit(note, (str(far.notes), n, 0.5)) for n in range(10)]
    assert eventually(lambda: len(far.lines()) >= 3, SLOW)
    far.host.cut = True
    assert eventually(lambda: "silent for" in far.trouble(), 10.0)
    assert far.host.name in far.trouble()
    assert "gets no new tasks" in far.trouble()
    before = far.executor.status().running
    late = session.submit(note, (str(far.notes), 10, 0))
    assert eventually(lambda: far.executor.status().queued > 0)
    assert far.executor.status().running <= before
    far.host.cut = False
    assert {f.result(SLOW) for f in [*futures, late]} == {far.host.name}
    assert sorted(int(line.split()[0]) for line in far.lines()) == list(range(11))
    assert {session.view().attempts[f.tid] for f in futures} == {1}


def test_cut_for_too_long(far: Far) -> None:
    """Attempts of a manager that stays away are lost, and run again where retries allow; it ends once it is back."""
    session = far.load(suspect_after=4.0, lost_after=8.0)
    futures = [session.submit(note, (str(far.notes), n, 3.0), retries=n) for n in range(2)]
    assert eventually(lambda: len(far.lines()) == 2, SLOW)
    old = far.mark.left()
    far.host.cut = True
    error = futures[0].exception(SLOW)
    assert isinstance(error, ManagerLost)
    for word in ("note", far.host.name, "block 0", "silent for"):
        assert word in str(error)
    assert not futures[1].done()
    far.host.cut = False
    assert futures[1].result(SLOW) == far.host.name
    assert session.view().attempts[futures[1].tid] == 2
    assert sorted(int(line.split()[0]) for line in far.lines()) == [0, 1, 1]
    managers = {line for line in old if "shoal.node" in line}
    assert len(managers) >= 3
    assert eventually(lambda: not managers & set(far.mark.left()), SLOW), "the old manager and its workers end"
    assert session.submit(note, (os.devnull, 0, 0)).result(SLOW) == far.host.name


def test_a_manager_that_was_killed_over_there(far: Far) -> None:
    """Nobody here sees what had begun on another host: no attempt runs twice, whatever was on its way."""
    session = far.load(retries=5, suspect_after=4.0, lost_after=8.0)
    futures = [session.submit(note, (str(far.notes), n, 0.001)) for n in range(2000)]
    assert eventually(lambda: len(far.lines()) > 300, SLOW)
    (manager,) = [line.split()[0] for line in far.mark.left() if "shoal.node.manager" in line and "bash" not in line]
    os.kill(int(manager), signal.SIGKILL)
    assert {f.result(SLOW) for f in futures} == {far.host.name}
    view = session.view()
    ran = Counter(int(line.split()[0]) for line in far.lines())
    assert [n for n, future in enumerate(futures) if ran[n] > view.attempts[future.tid]] == []
    assert {view.attempts[future.tid] for future in futures} == {1, 2}


def test_a_pool_that_was_killed(far: Far) -> None:
    """Managers on other hosts cannot see that their pool is gone: they ask, and end when nobody answers."""
    session = far.load(orphan_after=4.0)
    running = session.submit(note, (str(far.notes), 0, 60))
    assert eventually(lambda: far.lines(), SLOW)
    far.kill_pool()
    assert isinstance(running.exception(SLOW), PoolLost)
    shoal.clear()
    assert eventually(lambda: not far.mark.left(), SLOW), f"left behind: {far.mark.left()}"


CLIENT = """
import sys, time
import shoal, shoal.executors.client as client

name, folder, silence = sys.argv[1:]
client.SILENCE = float(silence)

def slow(number):
    time.sleep(0.1)
    return number

def say(word):
    print(word, flush=True)

session = shoal.load(shoal.Config(executors=(shoal.HighThroughputExecutor(pool=name),), run_dir=folder))
session.submit(slow, (0,)).result(60)
say("up")
futures = [session.submit(slow, (n,)) for n in range(50)]
errors = [f.exception(90) for f in futures]
say(sum(f.result() for f in futures) if not any(errors) else f"{type(errors[-1]).__name__}: {errors[-1]}")
"""


class FarClient:
    """A pool with a door to the network, and a client of it on another host."""

    def __init__(self, folder: Path, host: Host, silence: float) -> None:
        name = f"door-{uuid.uuid4().hex[:8]}"
        self.connection = start_pool(name, shoal.LocalProvider(), 1, address=host.here)
        script = folder / "client.py"
        script.write_text(CLIENT)
        words = [sys.executable, str(script), name, str(folder), str(silence)]
        self.client = subprocess.Popen(host.command(*words), stdout=subprocess.PIPE, text=True)
        assert self.line() == "up"

    def line(self) -> str:
        assert self.client.stdout is not None
        return self.client.stdout.readline().strip()

    def close(self) -> None:
        self.client.kill()
        self.client.wait()
        assert self.client.stdout is not None
        self.client.stdout.close()
        with suppress(PoolNotFound):
            stop_pool(self.connection.name)


@pytest.fixture
def far_client(host: Host, tmp_path: Path) -> Iterator[Callable[[float], FarClient]]:
    made: list[FarClient] = []

    def make(silence: float) -> FarClient:
        made.append(FarClient(tmp_path, host, silence))
        return made[0]

    yield make
    host.cut = False
    for found in made:
        found.close()


def test_a_client_that_was_cut_off_gets_its_results(far_client: Callable[[float], FarClient], host: Host) -> None:
    """What ended while it was out of reach arrives when the link is back."""
    found = far_client(60.0)
    host.cut = True
    threading.Event().wait(2.0)
    host.cut = False
    assert found.line() == str(sum(range(50)))


def test_a_client_whose_pool_is_out_of_reach_is_told(far_client: Callable[[float], FarClient], host: Host) -> None:
    """Nothing pends for ever: after a while its tasks fail, with what is known and the name of the pool."""
    found = far_client(3.0)
    host.cut = True
    said = found.line()
    assert said.startswith("PoolLost: ")
    assert found.connection.name in said
    assert "has not answered for 3 s" in said


def test_ports_are_bound_to_the_interface_asked_for(host: Host) -> None:
    """And to no other one; what is no address is refused where it is written."""
    found = start_pool(f"bound-{uuid.uuid4().hex[:8]}", shoal.LocalProvider(), 1, address=host.here)
    try:
        bound = {c.laddr.ip for c in psutil.Process(found.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        assert bound == {host.here}
        assert found.clients.url.startswith(f"tcp://{host.here}:")
        assert found.clients.server
    finally:
        stop_pool(found.name)
    for wrong in ("0.0.0.0", "localhost", "224.0.0.1", ""):
        with pytest.raises(ConfigurationError, match="address"):
            shoal.HighThroughputExecutor(address=wrong)
