"""Processes that are killed or stopped outright, seen from a client: what is lost is named, what is not goes on, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

import shoal
from shoal.errors import ManagerLost, WorkerLost
from shoal.pool.connection import pools_folder, remove_connection
from shoal.pool.control import list_pools
from shoal.pool.start import make_spec, spawn_pool, wait_for_file
from tests.integration.conftest import eventually
from tests.integration.damage import Mark, is_alive, processes

SLOW = 60.0
"""Seconds for what takes a few on an idle machine."""


def nap(seconds: float, file: str = os.devnull) -> int:
    """Leave a line, then sleep."""
    with open(file, "a") as lines:
        lines.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return os.getpid()


class Scene:
    """A pool with short patience, and a session that uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.touch()
        self._pools: list[Any] = []

    def load(self, workers: int = 2, blocks: int = 1, retries: int = 0, **changes: Any) -> shoal.Session:
        """Start both; returns once all workers are up."""
        name = f"stops-{uuid.uuid4().hex[:8]}"
        provider = shoal.LocalProvider(init_blocks=blocks, max_blocks=blocks)
        spec = make_spec(name, provider, max_workers_per_node=workers, folder=self.folder / name)
        spec = msgspec.structs.replace(spec, **changes)
        process, _ = spawn_pool(spec)
        connection = wait_for_file(spec, process)
        self._pools.append((process, connection))
        self.pool = connection.pid
        htex = shoal.HighThroughputExecutor(pool=name)
        session = shoal.load(shoal.Config(executors=(htex,), run_dir=str(self.folder), retries=retries))
        self.executor: Any = session.executors["htex"]
        up = [workers] * blocks
        assert eventually(lambda: [m.workers for m in self.executor.status().managers] == up, SLOW)
        return session

    def lines(self) -> list[str]:
        return self.notes.read_text().splitlines()

    def close(self) -> None:
        shoal.clear()
        for process, connection in self._pools:
            process.terminate()
            process.wait(20)
            remove_connection(connection)


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Mark:
    found = Mark()
    monkeypatch.setenv(Mark.NAME, found.word)
    return found


@pytest.fixture
def scene(tmp_path: Path, mark: Mark) -> Iterator[Scene]:
    shoal.clear()
    found = Scene(tmp_path)
    yield found
    found.close()
    assert eventually(lambda: not mark.left()), f"left behind: {mark.left()}"


# --------------------------------------------------------------------------- stopped, and going on


def test_a_stopped_worker_holds_up_nobody_else(scene: Scene) -> None:
    """What runs there goes on when it does; what waits runs elsewhere meanwhile; nothing is lost."""
    session = scene.load()
    held = session.submit(nap, (0.3, str(scene.notes)))
    assert eventually(scene.lines, SLOW)
    worker = psutil.Process(int(scene.lines()[0]))
    worker.suspend()
    others = {session.submit(nap, (0.01,)).result(SLOW) for _ in range(20)}
    assert worker.pid not in others
    assert not held.done()
    worker.resume()
    assert held.result(SLOW) == worker.pid
    assert session.view().attempts[held.tid] == 1


def test_a_manager_stopped_for_a_while_loses_nothing(scene: Scene) -> None:
    """It is named, gets no new tasks, and hands in its results when it goes on."""
    session = scene.load(suspect_after=4.0)
    running = [session.submit(nap, (0.5,)) for _ in range(2)]
    assert eventually(lambda: scene.executor.status().running == 2, SLOW)
    manager = processes(scene.pool, "manager")[0]
    manager.suspend()
    assert eventually(lambda: "silent for" in scene.executor.status().trouble, SLOW)
    said = scene.executor.status().trouble
    assert f"pid {manager.pid} on {os.uname().nodename}" in said
    assert "gets no new tasks" in said
    waiting = session.submit(nap, (0,))
    assert eventually(lambda: scene.executor.status().queued == 1, SLOW)
    manager.resume()
    pids = [f.result(SLOW) for f in (*running, waiting)]
    assert all(pids)
    assert {session.view().attempts[f.tid] for f in (*running, waiting)} == {1}


def test_a_manager_stopped_for_good_is_replaced(scene: Scene) -> None:
    """After ``lost_after`` its attempts are lost by name, and its stopped processes ended; what waited runs in the next block."""
    session = scene.load(suspect_after=4.0, lost_after=8.0)
    lost = session.submit(nap, (60,), label="lost")
    again = session.submit(nap, (0.5, str(scene.notes)), retries=1)
    assert eventually(lambda: scene.executor.status().running == 2 and scene.lines(), SLOW)
    waiting = [session.submit(nap, (0,)) for _ in range(10)]
    manager = processes(scene.pool, "manager")[0]
    block = [manager, *manager.children(recursive=True)]
    for process in block:
        process.suspend()
    error = lost.exception(SLOW)
    assert isinstance(error, ManagerLost)
    for word in ("lost", "block 0", f"pid {manager.pid} on {os.uname().nodename}", "silent for"):
        assert word in str(error)
    pids = {f.result(SLOW) for f in (again, *waiting)}
    assert not pids & {process.pid for process in block}
    assert eventually(lambda: not any(map(is_alive, block)), SLOW)


# --------------------------------------------------------------------------- killed


def test_a_block_whose_processes_are_all_killed_is_replaced(scene: Scene) -> None:
    """What ran there is lost by name; what waited runs elsewhere, and a new block comes."""
    session = scene.load(workers=1, blocks=2)
    running = [session.submit(nap, (60, str(scene.notes))) for _ in range(2)]
    assert eventually(lambda: len(scene.lines()) == 2, SLOW)
    waiting = [session.submit(nap, (0,)) for _ in range(20)]
    managers = processes(scene.pool, "manager")
    os.killpg(managers[0].pid, signal.SIGKILL)
    assert eventually(lambda: any(f.done() for f in running), SLOW)
    (error,) = [f.exception() for f in running if f.done()]
    assert isinstance(error, ManagerLost | WorkerLost)
    assert "SIGKILL" in str(error)
    assert os.uname().nodename in str(error)
    assert {f.result(SLOW) for f in waiting}
    assert eventually(lambda: len(processes(scene.pool, "manager")) == 2, SLOW)


def test_a_killed_worker_while_the_manager_is_stopped(scene: Scene) -> None:
    """It is found out when the manager goes on."""
    session = scene.load(workers=1)
    running = session.submit(nap, (60, str(scene.notes)))
    assert eventually(scene.lines, SLOW)
    manager = processes(scene.pool, "manager")[0]
    manager.suspend()
    os.kill(int(scene.lines()[0]), signal.SIGKILL)
    waiting = session.submit(nap, (0,))
    manager.resume()
    error = running.exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert "SIGKILL" in str(error)
    assert waiting.result(SLOW) != int(scene.lines()[0])


# --------------------------------------------------------------------------- the client


CLIENT = """
import os, sys, time
import shoal

def nap(seconds, data=b""):
    time.sleep(seconds)
    return bytes(data)

session = shoal.load(shoal.Config(executors=(shoal.HighThroughputExecutor(max_workers_per_node=2),), run_dir=sys.argv[1]))
big = os.urandom(20_000_000)
held = session.submit(nap, (0, big)).result()
what = sys.argv[2]
if what == "queued":
    futures = [session.submit(nap, (60,)) for _ in range(500)]
elif what == "running":
    futures = [session.submit(nap, (60, big)) for _ in range(2)]
else:
    futures = [session.submit(nap, (0.05, big)) for _ in range(100)]
time.sleep(0.3)
print(session.executors["htex"].connection.pid, session.executors["htex"].connection.sockets, flush=True)
time.sleep(60)
"""


def shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm"))


@pytest.mark.parametrize(
    ("what", "how"),
    [("queued", "kill"), ("running", "kill"), ("on its way", "kill"), ("on its way", "stop, then kill")],
)
def test_nothing_is_left_of_a_killed_client(tmp_path: Path, mark: Mark, what: str, how: str) -> None:
    """Its pool ends with all processes, and takes sockets, connection file and shared memory along."""
    before = (shared_memory(), set(pools_folder().iterdir()))
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    words = [sys.executable, str(script), str(tmp_path), what]
    client = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout is not None
        pid, sockets = client.stdout.readline().split()
        assert len(processes(int(pid), "worker")) == 2
        assert Path(sockets).exists()
        if how != "kill":
            client.send_signal(signal.SIGSTOP)
            time.sleep(0.2)
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
    assert eventually(lambda: not mark.left(), SLOW), f"left behind: {mark.left()}"
    assert not Path(sockets).exists()
    assert eventually(lambda: (shared_memory() <= before[0]) and set(pools_folder().iterdir()) <= before[1], 5.0)


def test_nothing_is_left_of_a_client_and_a_pool_killed_at_once(tmp_path: Path, mark: Mark) -> None:
    """Managers and workers end by themselves; what the pool could not remove goes when its owner's pools are listed."""
    before = set(pools_folder().iterdir())
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    client = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), "running"], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    pid, sockets = client.stdout.readline().split()
    client.send_signal(signal.SIGSTOP)  # so that it does not start the pool again
    os.kill(int(pid), signal.SIGKILL)
    client.kill()
    client.wait()
    client.stdout.close()
    assert eventually(lambda: not mark.left(), SLOW), f"left behind: {mark.left()}"
    assert pid not in {str(info.pid) for info in list_pools()}
    assert not Path(sockets).exists()
    assert set(pools_folder().iterdir()) <= before
