"""A pool that lasts: killed, it comes back with what it had; and it keeps what belongs to clients that are gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ManagerLost, PoolLost, PoolNotFound, ResultDropped, SessionInUse
from shoal.executors.claims import Claims
from shoal.executors.pooled import PoolExecutor
from shoal.links import process_started
from shoal.pool.connection import Connection, read_connection
from shoal.pool.control import pool_status, start_pool, stop_pool
from tests.integration.conftest import eventually

SOON = 30.0


def step(out: str, name: str, gate: str = "", size: int = 0) -> Any:
    """Leave a mark, then wait until the gate is open."""
    with open(out, "a") as file:
        file.write(name + "\n")
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    return bytes(size) if size else name


class Place:
    """A lasting pool, and where its tasks leave marks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out, self.gate = folder / "out", folder / "gate"
        self.name = f"last-{os.getpid()}-{abs(hash(folder)) % 10**6}"

    def start(self, workers: int = 1, **options: Any) -> Connection:
        return start_pool(self.name, LocalProvider(), workers, **options)

    def connection(self) -> Connection:
        return read_connection(self.name)

    def load(self, retries: int = 0) -> shoal.Session:
        shoal.clear()
        htex = shoal.HighThroughputExecutor(pool=self.name)
        return shoal.load(shoal.Config(executors=(htex,), run_dir=str(self.folder), retries=retries))

    def begun(self) -> Counter[str]:
        return Counter(self.out.read_text().split()) if self.out.exists() else Counter()

    def kill(self) -> None:
        """Kill the pool's process, and wait until another one answers."""
        before = self.connection().pid
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda: self.connection().pid != before and pool_status(self.name, SOON))

    def client(self, names: list[str], gated: str = "", size: int = 0) -> tuple[subprocess.Popen[str], str]:
        """Another process that submits tasks; the id of its session."""
        script = (
            "import shoal, sys, time\n"
            f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from test_endurance_lasting import step\n"
            f"htex = shoal.HighThroughputExecutor(pool={self.name!r})\n"
            f"session = shoal.load(shoal.Config(executors=(htex,), run_dir={str(self.folder)!r}))\n"
            f"for name in {names!r}:\n"
            f"    gate = {str(self.gate)!r} if name == {gated!r} else ''\n"
            f"    session.submit(step, ({str(self.out)!r}, name, gate, {size}))\n"
            "executor = session.executors['htex']\n"
            f"while executor.status().queued + executor.status().running + executor.status().done < {len(names)}:\n"
            "    time.sleep(0.01)\n"
            "print(executor.session, flush=True)\n"
            "time.sleep(600)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    shoal.clear()
    with suppress(PoolNotFound):
        stop_pool(found.name)


def executor_of(session: shoal.Session) -> PoolExecutor:
    return session.executors["htex"]  # type: ignore[return-value]


def gone(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


# --------------------------------------------------------------------------- the pool's process


def test_a_killed_pool_comes_back_and_nothing_is_lost(place: Place) -> None:
    """What runs goes on, what had not begun runs, each once; the session goes on, and the old manager ends when it is done."""
    place.start()
    session = place.load()
    running = session.submit(step, (str(place.out), "running", str(place.gate)))
    queued = [session.submit(step, (str(place.out), f"queued-{i}")) for i in range(20)]
    assert eventually(lambda: place.begun()["running"])
    (old,) = pool_status(place.name).managers
    place.kill()
    assert [f.result(SOON) for f in queued] == [f"queued-{i}" for i in range(20)]
    assert not running.done()
    place.gate.touch()
    assert running.result(SOON) == "running"
    assert set(place.begun().values()) == {1}
    assert eventually(lambda: not process_started(old.pid))
    assert session.submit(step, (str(place.out), "later")).result(SOON) == "later"


def test_a_killed_pool_with_ports_comes_back_with_what_it_had_accepted(place: Place) -> None:
    """Its managers end with its process: what ran is lost by name, all else runs once; ports and keys are found anew."""
    place.start(address="127.0.0.1")
    session = place.load()
    running = session.submit(step, (str(place.out), "running", str(place.gate)))
    queued = [session.submit(step, (str(place.out), f"queued-{i}")) for i in range(20)]
    assert eventually(lambda: place.begun()["running"])
    before = place.connection().clients
    place.kill()
    assert place.connection().clients != before
    assert [f.result(SOON) for f in queued] == [f"queued-{i}" for i in range(20)]
    assert isinstance(running.exception(SOON), ManagerLost)
    assert set(place.begun().values()) == {1}


@pytest.mark.parametrize("when", ["together", "afterwards"])
def test_what_was_lost_with_its_manager_runs_again_as_retries_allow(place: Place, when: str) -> None:
    """Pool and manager are killed: a second attempt, after the first was lost."""
    place.start()
    session = place.load(retries=1)
    running = session.submit(step, (str(place.out), "running", str(place.gate)))
    assert eventually(lambda: place.begun()["running"])
    (manager,) = pool_status(place.name).managers
    if when == "together":
        os.kill(manager.pid, signal.SIGSTOP)  # it is not to do anything in between
        threading.Timer(0.05, os.kill, (manager.pid, signal.SIGKILL)).start()
    place.kill()
    if when == "afterwards":
        os.kill(manager.pid, signal.SIGKILL)
    assert eventually(lambda: place.begun()["running"] == 2)
    place.gate.touch()
    assert running.result(SOON) == "running"
    assert session.view().attempts[running.tid] == 2


def test_a_pool_killed_twice_keeps_what_it_had(place: Place) -> None:
    """The second process writes down all that the first knew, and managers of both bring it what they run."""
    place.start()
    session = place.load()
    gated = [session.submit(step, (str(place.out), f"gated-{i}", str(place.gate))) for i in range(5)]
    for count in (1, 2):
        assert eventually(lambda count=count: len(place.begun()) == count)
        place.kill()
    assert eventually(lambda: len(place.begun()) == 3)
    place.gate.touch()
    assert [f.result(SOON) for f in gated] == [f"gated-{i}" for i in range(5)]
    assert set(place.begun().values()) == {1}


def test_many_tasks_while_the_pool_is_killed_again_and_again(place: Place) -> None:
    """Without any retries each of them runs once and gives its value."""
    place.start(workers=2)
    session = place.load()
    tasks = [session.submit(step, (str(place.out), f"task-{i}", "", i % 7 * 10_000)) for i in range(400)]
    for count in (50, 150, 250):
        assert eventually(lambda count=count: len(place.begun()) >= count)
        place.kill()
    values = [task.result(2 * SOON) for task in tasks]
    assert values == [bytes(i % 7 * 10_000) or f"task-{i}" for i in range(400)]
    assert set(place.begun().values()) == {1}
    assert len(place.begun()) == 400


def test_a_task_that_runs_on_can_be_cancelled(place: Place) -> None:
    """Also when its pool's process has been killed meanwhile, or while that is away."""
    place.start(workers=2)
    session = place.load()
    tasks = [session.submit(step, (str(place.out), name, str(place.gate))) for name in ("during", "after")]
    assert eventually(lambda: len(place.begun()) == 2)
    (old,) = pool_status(place.name).managers
    before = place.connection().pid
    os.kill(before, signal.SIGKILL)
    assert tasks[0].cancel()
    assert eventually(lambda: place.connection().pid != before and pool_status(place.name, SOON).clients)
    assert tasks[1].cancel()
    assert eventually(lambda: not process_started(old.pid))


def test_stopping_ends_managers_that_have_outlived_a_process(place: Place) -> None:
    """Nothing is left of them."""
    place.start()
    session = place.load()
    running = session.submit(step, (str(place.out), "running", str(place.gate)))
    assert eventually(lambda: place.begun()["running"])
    (manager,) = pool_status(place.name).managers
    processes = [psutil.Process(manager.pid), *psutil.Process(manager.pid).children(recursive=True)]
    place.kill()
    assert eventually(lambda: pool_status(place.name).clients)
    stop_pool(place.name)
    assert isinstance(running.exception(SOON), PoolLost)
    assert eventually(lambda: not [p for p in processes if process_started(p.pid)])


def test_stopping_a_pool_ends_its_supervisor_and_forgets(place: Place) -> None:
    """It is not started again, its tasks are told, and the next pool of that name begins anew."""
    connection = place.start()
    session = place.load(retries=5)
    task = session.submit(step, (str(place.out), "running", str(place.gate)))
    assert eventually(task.running)
    stop_pool(place.name)
    assert isinstance(task.exception(SOON), PoolLost)
    assert eventually(lambda: not process_started(connection.supervisor))
    shoal.clear()
    place.start()
    status = pool_status(place.name)
    assert (status.queued, status.running, status.sessions) == (0, 0, [])


def test_a_pool_that_cannot_live_is_given_up(place: Place) -> None:
    """A supervisor does not try for ever; then clients are told that their pool is lost, and nothing is left."""
    connection = place.start()
    session = place.load(retries=5)
    task = session.submit(step, (str(place.out), "running", str(place.gate)))
    assert eventually(task.running)
    (Path(connection.folder) / "pool.json").write_text("{}")
    os.kill(connection.pid, signal.SIGKILL)
    assert isinstance(task.exception(SOON), PoolLost)
    assert eventually(lambda: not process_started(connection.supervisor))
    with pytest.raises(PoolNotFound):
        place.connection()


def test_a_pool_and_its_supervisor_killed_together_go_on_when_started_again(place: Place) -> None:
    """The ledger stays: the next pool of that name takes up what was accepted."""
    connection = place.start()
    process, session = place.client(["one", "two"], gated="one")
    assert eventually(lambda: place.begun()["one"])
    gone(process)
    os.killpg(connection.supervisor, signal.SIGKILL)
    assert eventually(lambda: not (process_started(connection.pid) or process_started(connection.supervisor)))
    place.start()
    with Claims(place.name, session) as claims:
        labels = {tid: task.state for tid, task in claims.tasks.items()}
        assert len(labels) == 2
        outcomes = [claims.future(tid).result(SOON) for tid in sorted(claims.tasks)]
    assert outcomes[0].failure is not None
    assert outcomes[0].failure.lost
    assert outcomes[1].failure is None


def test_a_client_that_is_cut_off_comes_back(place: Place) -> None:
    """It is the same client: what finished meanwhile reaches it, what had not arrived is sent again, and all runs once."""
    place.start()
    session = place.load()
    running = session.submit(step, (str(place.out), "running", str(place.gate)))
    assert eventually(lambda: place.begun()["running"])
    for turn in range(3):
        queued = [session.submit(step, (str(place.out), f"queued-{turn}-{i}")) for i in range(100)]
        executor_of(session)._link._line._stream.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        if turn == 1:
            place.gate.touch()
        if turn:
            assert [f.result(SOON) for f in queued] == [f"queued-{turn}-{i}" for i in range(100)]
        else:
            assert eventually(lambda: len(pool_status(place.name, SOON).clients) == 1 and executor_of(session).status())
    assert running.result(SOON) == "running"
    assert eventually(lambda: len(place.begun()) == 301)
    assert set(place.begun().values()) == {1}


# --------------------------------------------------------------------------- clients that are gone


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
def test_another_process_claims_what_a_dead_client_left(place: Place, killed: bool) -> None:
    """Results that finished meanwhile, also if the pool was killed in between, and those that finish later."""
    place.start()
    process, session = place.client(["one", "two", "gated", "last"], gated="gated")
    gone(process)
    assert eventually(lambda: place.begun()["gated"])
    assert eventually(lambda: [s.session for s in pool_status(place.name).sessions] == [session])
    if killed:
        place.kill()
    (found,) = pool_status(place.name).sessions
    assert found.nbytes > 0
    with Claims(place.name, session) as claims:
        assert {task.label for task in claims.tasks.values()} == {"step"}
        assert [claims.result(tid, SOON) for tid in (0, 1)] == ["one", "two"]
        with pytest.raises(TimeoutError):
            claims.result(2, 0.05)
        place.gate.touch()
        assert claims.result(2, SOON) == "gated"
        assert claims.result(3, SOON) == "last"
    assert eventually(lambda: not pool_status(place.name).sessions)
    assert set(place.begun().values()) == {1}


def test_a_session_that_left_on_purpose_can_be_kept(place: Place) -> None:
    """With keep_on_close its tasks go on and can be claimed; without, they end with it."""
    place.start()
    for keep in (True, False):
        session = place.load()
        executor = executor_of(session)
        executor.keep_on_close = keep
        session.submit(step, (str(place.out), f"first-{keep}", str(place.gate)))
        session.submit(step, (str(place.out), f"second-{keep}"))
        assert eventually(lambda keep=keep: place.begun()[f"first-{keep}"])
        shoal.clear()
        place.gate.touch()
        if keep:
            other = place.load()
            with executor_of(other).claims(executor.session) as claims:
                assert [claims.result(tid, SOON) for tid in (0, 1)] == ["first-True", "second-True"]
            shoal.clear()
            place.gate.unlink()
    assert eventually(lambda: not pool_status(place.name).sessions)
    assert not place.begun()["second-False"]


def test_a_session_in_use_is_not_given_away(place: Place) -> None:
    """Its client is connected: the other is told by whom."""
    place.start()
    process, session = place.client(["one"])
    try:
        with pytest.raises(SessionInUse, match=str(process.pid)):
            Claims(place.name, session)
        assert pool_status(place.name).clients
    finally:
        gone(process)


# --------------------------------------------------------------------------- bounds


def test_results_above_the_bound_are_dropped_by_name(place: Place) -> None:
    """The oldest go, and it is said: by the pool, and to whoever claims them."""
    connection = place.start(keep=(300_000, 3600.0))
    process, session = place.client(["gated", "two", "three"], gated="gated", size=200_000)
    assert eventually(lambda: place.begun()["gated"])
    gone(process)
    place.gate.touch()
    log = Path(connection.folder) / "pool.err"
    assert eventually(lambda: log.read_text().count("are dropped") >= 1 and place.begun()["three"])
    assert eventually(lambda: sum(s.nbytes for s in pool_status(place.name).sessions) <= 300_000)
    with Claims(place.name, session) as claims:
        with pytest.raises(ResultDropped, match="300 kB"):
            claims.result(0, SOON)
        assert len(claims.result(2, SOON)) == 200_000


def test_sessions_that_stay_away_too_long_are_dropped(place: Place) -> None:
    """After the time given: what waits is not run any more, and the pool says so."""
    connection = place.start(keep=(1 << 30, 1.0))
    process, session = place.client(["gated", "waiting"], gated="gated")
    assert eventually(lambda: place.begun()["gated"])
    gone(process)
    log = Path(connection.folder) / "pool.err"
    assert eventually(lambda: "is dropped" in log.read_text())
    assert "has been away" in pool_status(place.name).trouble
    place.gate.touch()
    with Claims(place.name, session) as claims:
        assert claims.tasks == {}
    assert not place.begun()["waiting"]


def test_a_pool_without_room_for_its_ledger_says_so_and_goes_on(place: Place) -> None:
    """Tasks run; if it is killed then, what it had is lost by name, runs again only as retries allow, and later tasks run."""
    connection = place.start()
    session = place.load()
    assert session.submit(step, (str(place.out), "one")).result(SOON) == "one"
    psutil.Process(connection.pid).rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))
    session.submit(step, (str(place.out), "x" * 10_000)).result(SOON)
    assert eventually(lambda: "cannot write its ledger" in pool_status(place.name).trouble)
    running = session.submit(step, (str(place.out), "running", str(place.gate)))
    queued = session.submit(step, (str(place.out), "queued"))
    assert eventually(lambda: place.begun()["running"])
    place.kill()
    assert isinstance(running.exception(SOON), PoolLost)
    assert isinstance(queued.exception(SOON), PoolLost)
    assert session.submit(step, (str(place.out), "later")).result(SOON) == "later"
    assert not place.begun()["queued"]
