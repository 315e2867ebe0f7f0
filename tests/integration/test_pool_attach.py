"""Coming to a pool that is there, or is not, or is not what it was: attach or start, other versions, and stopping the right process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psutil
import pytest

import shoal
from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ConfigurationError, PoolExists, PoolNotFound, VersionMismatch
from shoal.pool.connection import Connection, connection_path, list_connections, read_connection
from shoal.pool.control import ensure_pool, list_pools, pool_status, start_pool, stop_pool
from shoal.pool.ending import PoolProcess
from shoal.wire.messages import PROTOCOL_VERSION
from shoal.wire.starting import Address
from tests.integration.commands import run


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for the pools of one test, all of which end with it."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    for found in list_connections():
        stop_pool(found.name)


def start_one(name: str) -> Connection:
    return start_pool(name, LocalProvider(), max_workers_per_node=1)


# --------------------------------------------------------------------------- attach or start

SESSION = """
import os, sys
import shoal
print("ready", flush=True)
sys.stdin.readline()
executor = shoal.HighThroughputExecutor(pool="common", create=True, max_workers_per_node=1)
with shoal.load(shoal.Config(executors=[executor])) as session:
    print(session.submit(os.getppid).result(30), flush=True)
"""


def test_of_two_notebooks_that_want_one_pool_at_once_both_get_it(home):
    """Two processes attach to a name that nobody has started: there is one pool, with one worker's manager, for both."""
    sessions = [
        subprocess.Popen([sys.executable, "-c", SESSION], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for session in sessions:
        assert session.stdout.readline() == "ready\n"
    for session in sessions:
        session.stdin.write("go\n")
        session.stdin.flush()
    managers = [session.communicate(timeout=60)[0].strip() for session in sessions]
    assert managers[0] == managers[1]
    assert psutil.pid_exists(int(managers[0])), "it outlives both"
    assert [c.name for c in list_connections()] == ["common"]


def test_ensure_pool_says_whether_it_has_started_it(home):
    """First it starts, then it finds; and it finds in vain only as long as it was told to wait."""
    first, started = ensure_pool("mine", start_one)
    assert started
    again, started = ensure_pool("mine", start_one)
    assert not started
    assert again == first

    def taken(name: str) -> Connection:
        raise PoolExists(name)

    with pytest.raises(PoolExists):
        ensure_pool("never", taken, timeout=0.1)


def test_create_needs_a_name_and_takes_the_nodes():
    """Without the name of a pool there is nothing to create; what is said of nodes is for a pool that may be started."""
    with pytest.raises(ConfigurationError, match="create.*name"):
        shoal.HighThroughputExecutor(create=True)
    with pytest.raises(ConfigurationError, match="leave it out"):
        shoal.HighThroughputExecutor(pool="x", max_workers_per_node=2)
    assert shoal.HighThroughputExecutor(pool="x", create=True, max_workers_per_node=2).max_workers_per_node == 2


def test_start_on_the_command_line_attaches_if_asked(home):
    """``--or-attach`` makes starting a pool that runs no mistake, and says which it was."""
    first = run("pool", "start", "mine", "--workers", "1", "--or-attach")
    assert first.returncode == 0
    assert "is up" in first.stdout
    again = run("pool", "start", "mine", "--workers", "1", "--or-attach")
    assert again.returncode == 0
    assert "is running already" in again.stdout
    assert 'pool="mine"' in again.stdout
    assert run("pool", "start", "mine").returncode == 1


# --------------------------------------------------------------------------- other versions


def rewrite(name: str, **changes: object) -> dict[str, object]:
    """Make a running pool's connection file that of another version."""
    path = connection_path(name)
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not None}))
    return data


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"protocol": PROTOCOL_VERSION - 1, "version": "0.0.9"}, "older"),
        ({"protocol": PROTOCOL_VERSION + 1, "version": "9.0", "clients": {"nonsense": 1}, "slots": "many"}, "newer"),
        ({"protocol": None, "clients": None, "log": None}, "older"),
        ({"clients": "an address of another kind"}, "older"),
    ],
    ids=["older", "newer and stranger", "says little", "not what it says"],
)
def test_a_pool_of_another_version_is_listed_and_stopped_and_nothing_else(home, pools, changes, word):
    """Whatever else its file says: its name and version are shown, attaching is refused with what to do, stopping ends it."""
    connection = start_one("foreign")
    family = pools.family(connection.pid)
    rewrite("foreign", **changes)
    (info,) = list_pools()
    assert (info.name, info.pid, info.state) == ("foreign", connection.pid, word)
    assert info.version == changes.get("version", shoal.__version__)
    for refused in (pool_status, read_connection):
        with pytest.raises(VersionMismatch, match=r"pool 'foreign'.*Fix: .*shoal pool stop foreign"):
            refused("foreign")
    executor = shoal.HighThroughputExecutor(pool="foreign", create=True)
    with pytest.raises(VersionMismatch, match="shoal pool stop foreign"):
        shoal.new_session(shoal.Config(executors=[executor]))
    with pytest.raises(PoolExists):
        start_one("foreign")
    listed = run("pool", "list").stdout
    assert "foreign" in listed
    assert word in listed
    assert run("pool", "stop", "foreign").returncode == 0
    assert pools.gone(family)
    assert list_pools() == []


def test_a_file_that_is_no_connection_file_is_no_pool(home):
    """Nothing to list, nothing to stop, nothing in the way of a pool of that name."""
    for text in ("", "{}", "[]", '{"name": "x"}', "\0\1"):
        connection_path("scrap").write_text(text)
        assert list_pools() == []
        with pytest.raises(PoolNotFound):
            stop_pool("scrap")
    start_one("scrap")


# --------------------------------------------------------------------------- the right process


def stand_in(pid: int, started: int) -> Connection:
    """A connection that names a process."""
    return Connection(
        name="x", kind="lasting", pid=pid, pid_started=started, started=0.0, host=os.uname().nodename,
        protocol=PROTOCOL_VERSION, python="3.11", clients=Address(""), folder="", sockets="", log="",
    )  # fmt: skip


def test_a_reused_pid_is_never_signalled():
    """A process that has the pid of a pool, but did not start when the pool did, is left alone; so are pids that are none."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        from shoal.links import process_started

        started = process_started(sleeper.pid)
        for pid, when in ((sleeper.pid, started - 1), (sleeper.pid, 0), (0, 0), (-1, 0), (2**22 + 1, 1)):
            process = PoolProcess(stand_in(pid, when))
            assert process.wait(0.0), "as good as ended"
            assert process.end(0.01)
            process.close()
        assert sleeper.poll() is None
        right = PoolProcess(stand_in(sleeper.pid, started))
        assert not right.wait(0.0)
        assert right.end(10.0)
        right.close()
        assert sleeper.wait(10) == -15
    finally:
        sleeper.kill()
        sleeper.wait()


def test_stopping_by_a_file_whose_pid_is_anothers_harms_nobody(home):
    """The connection file of a dead pool, its pid meanwhile another process's: stop says that there is no such pool."""
    connection = start_one("old")
    stop_pool("old")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        dead = {**to_plain(connection), "pid": sleeper.pid, "supervisor": 0, "sockets": ""}
        connection_path("old").write_text(json.dumps(dead))
        with pytest.raises(PoolNotFound):
            stop_pool("old")
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def to_plain(connection: Connection) -> dict[str, object]:
    import msgspec

    return msgspec.to_builtins(connection)
