"""Pools that last: starting, asking, scaling and stopping them from any process of their owner."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ConfigurationError, PoolExists, PoolNotFound, PoolStartFailed, PoolUnreachable
from shoal.pool.claims import claimed
from shoal.pool.connection import connection_path, list_connections, read_connection
from shoal.pool.control import list_pools, pool_status, scale_pool, start_pool, stop_pool
from shoal.wire.messages import Running, Shutdown, Trouble, Welcome


def negate(x):
    return -x


def nap(seconds):
    import time

    time.sleep(seconds)
    return "rested"


@pytest.fixture
def lasting(tmp_path, monkeypatch):
    """The name of a lasting pool that may have up to three blocks of one worker."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    start_pool("steady", LocalProvider(init_blocks=1, min_blocks=0, max_blocks=3), max_workers_per_node=1)
    yield "steady"
    for found in list_connections():
        stop_pool(found.name)


def test_a_lasting_pool_is_found_asked_and_stopped(pools, lasting):
    """It answers when start_pool returns, is listed, lives on without clients, and is gone after stop_pool."""
    (info,) = list_pools()
    assert (info.name, info.kind, info.state) == ("steady", "lasting", "up")
    assert info.status is not None
    assert pool_status("steady").target == 1
    connection = read_connection("steady")
    family = pools.family(connection.pid)
    client = pools.client(connection)
    assert client.value(client.submit(negate, 2)[0]) == -2
    assert pool_status("steady").clients == ["a test"]
    client.close()
    again = pools.client(connection)
    assert again.value(again.submit(negate, 3)[0]) == -3
    stop_pool("steady")
    assert pools.gone(family)
    assert not Path(connection.sockets).exists()
    assert list_pools() == []
    with pytest.raises(PoolNotFound, match="'steady'.*none is running"):
        pool_status("steady")


def test_what_is_on_disk_is_for_its_owner_only(lasting):
    """The connection file has mode 0600, the folders 0700."""
    connection = read_connection(lasting)
    assert stat.S_IMODE(connection_path(lasting).stat().st_mode) == 0o600
    for folder in (connection.folder, connection.sockets, connection_path(lasting).parent):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    for file in Path(connection.folder).iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_second_pool_of_a_name_is_refused(lasting):
    """A name is taken while its pool runs; the first one is not disturbed."""
    with pytest.raises(PoolExists, match="'steady'"):
        start_pool("steady")
    assert pool_status("steady").name == "steady"


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65, "ä"])
def test_names_are_checked(name):
    """Names that could be anything else than a file name in one folder are refused, with the rule."""
    with pytest.raises(ConfigurationError, match="letters, digits"):
        start_pool(name)


def test_a_stale_connection_file_is_removed(pools, lasting):
    """A pool that was killed for good is not listed, its file goes, and its name is free again."""
    connection = read_connection(lasting)
    family = pools.family(connection.pid)
    if connection.supervisor:
        family[:0] = [psutil.Process(connection.supervisor)]
        family[0].kill()
    os.kill(connection.pid, signal.SIGKILL)
    assert pools.gone(family)
    assert list_pools() == []
    assert not connection_path(lasting).exists()
    start_pool("steady", max_workers_per_node=1)


def test_a_reused_pid_is_not_taken_for_the_pool(lasting):
    """The file of a pool names when its process started: another process of that pid is another process."""
    path = connection_path(lasting)
    text = path.read_text()
    data = json.loads(text)
    other = path.with_name("other.json")
    other.write_text(json.dumps({**data, "name": "other", "pid": os.getpid(), "sockets": "", "supervisor": 0}))
    assert [c.name for c in list_connections()] == ["steady"]
    assert not other.exists()


def test_a_pool_that_does_not_answer_is_named(pools, lasting):
    """A stopped process: asking gives PoolUnreachable in time, listing says so, and stop_pool ends it all the same."""
    family = pools.family(read_connection(lasting).pid)
    family[0].suspend()
    begun = time.monotonic()
    with pytest.raises(PoolUnreachable, match="did not answer within 0.3 s.*Fix: "):
        pool_status(lasting, timeout=0.3)
    assert time.monotonic() - begun < 1.0
    assert [i.state for i in list_pools(timeout=0.3)] == ["not answering"]
    stop_pool(lasting, timeout=0.3)
    assert pools.gone(family)


def test_a_pool_that_cannot_start_says_why(tmp_path, monkeypatch):
    """If the process ends at once, its stderr is in the error."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('no pool today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PoolStartFailed, match="(?s)'broken' did not start.*no pool today"):
        start_pool("broken")


def test_scaling_up_and_down(pools, lasting):
    """More blocks give more workers at once; fewer let the busy one finish; the limits of the provider hold."""
    client = pools.client(read_connection(lasting))

    def begun(tid):
        # Not only handed to a manager: that might still give it back.
        client.wait(lambda: any(a.tid == tid for m in client.of(Running) for a in m.attempts))

    assert scale_pool(lasting, 99).target == 3
    tids = client.submit(nap, 0.5, count=3)
    client.wait(lambda: len(client.results) == 3)
    assert len({client.results[t].worker for t in tids}) == 3

    (busy,) = client.submit(nap, 1.0)
    begun(busy)
    keeper = next(m.block for m in client.status().managers if m.running)
    assert scale_pool(lasting, 1).target == 1
    assert pools.eventually(lambda: len(pool_status(lasting).managers) == 1)
    assert [m.block for m in pool_status(lasting).managers] == [keeper]
    assert client.value(busy) == "rested"

    (last,) = client.submit(nap, 1.0)
    begun(last)
    scale_pool(lasting, 0)
    assert client.value(last) == "rested", "a busy block finishes"
    assert pools.eventually(lambda: pool_status(lasting).managers == [])
    assert pools.eventually(lambda: [b.state for b in pool_status(lasting).blocks] == ["ended"] * 3)

    (waits,) = client.submit(negate, 1)
    client.wait(lambda: client.of(Trouble))
    assert "has no blocks" in client.of(Trouble)[0].text
    assert waits not in client.results
    scale_pool(lasting, 1)
    assert client.value(waits) == -1


def test_a_failed_pool_can_be_tried_again(pools, tmp_path, monkeypatch):
    """After its blocks failed a pool answers at once; scaling it by hand tries again, and it works if it can."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    flag = tmp_path / "works-now"
    start_pool("mended", LocalProvider(worker_init=f"test -e {flag} || exit 5"), max_workers_per_node=1)
    try:
        client = pools.client(read_connection("mended"))
        (tid,) = client.submit(negate, 1)
        assert "WorkerStartFailed" in client.result(tid).failure.type_name
        assert "exit code 5" in pool_status("mended").trouble
        flag.touch()
        scale_pool("mended", 1)
        assert client.value(client.submit(negate, 2)[0]) == -2
    finally:
        stop_pool("mended")


def test_a_pool_with_a_long_path_uses_tcp_with_keys(pools, tmp_path):
    """Where no Unix socket path is short enough, the links are TCP with CURVE."""
    client = pools.start(clients=None, managers=None)
    assert client.connection.clients.url.startswith("tcp://127.0.0.1:")
    assert client.value(client.submit(negate, 4)[0]) == -4

    assert client.connection.clients.secret
    assert client.status().clients == ["a test"]


def test_clients_of_a_pool_that_is_stopped_are_told(pools, lasting):
    """Each client hears that the pool ends, and why, before it is gone."""
    clients = [pools.client(read_connection(lasting)) for _ in range(2)]
    for client in clients:
        client.submit(nap, 30.0)
        client.wait(lambda client=client: client.of(Welcome))
    stop_pool(lasting)
    for client in clients:
        client.wait(lambda client=client: client.of(Shutdown))
        assert client.of(Shutdown) == [Shutdown("stopped by its owner")]


STARTER = """
import sys, time
from shoal.blocks.providers.local import LocalProvider
from shoal.errors import PoolExists
from shoal.pool.control import start_pool
print("ready", flush=True)
sys.stdin.readline()
try:
    print(start_pool("wanted", LocalProvider(), max_workers_per_node=1).pid, flush=True)
except PoolExists:
    print("taken", flush=True)
"""


def test_of_several_that_start_a_name_at_once_one_does(pools, tmp_path, monkeypatch):
    """Three processes, one name: one pool, which answers; the others are told that it exists, and nothing is left over."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    starters = [
        subprocess.Popen([sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        for starter in starters:
            assert starter.stdout.readline() == "ready\n"
        for starter in starters:
            starter.stdin.write("go\n")
            starter.stdin.flush()
        told = [starter.communicate(timeout=20)[0].strip() for starter in starters]
        connection = read_connection("wanted")
        assert sorted(told) == sorted([str(connection.pid), "taken", "taken"])
        client = pools.client(connection)
        assert client.value(client.submit(negate, 1)[0]) == -1
        processes = [
            p for p in psutil.process_iter(["environ", "cmdline"]) if "shoal.pool" in (p.info["cmdline"] or [])
        ]
        homes = [(p.info["environ"] or {}).get("SHOAL_HOME") for p in processes]
        assert homes.count(str(tmp_path / "home")) == 1
        assert [str(p) for p in (tmp_path / "run").glob("*/p-*")] in ([connection.sockets], [])
    finally:
        for found in list_connections():
            stop_pool(found.name)
    assert [p.name for p in connection_path("wanted").parent.iterdir()] == ["wanted.d"]


def test_a_claim_is_held_by_one_and_ends_with_its_process(tmp_path, monkeypatch):
    """A held claim refuses others, also of the same process; that of a dead process is cleaned up; none is left."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    with claimed("mine"):
        with pytest.raises(PoolExists, match="'mine'"), claimed("mine"):
            pass
        with pytest.raises(PoolExists), claimed("mine"):
            pass
        with claimed("another"):
            pass
    held = "from shoal.pool.claims import claimed; import os\nwith claimed('mine'): os._exit(0)"
    subprocess.run([sys.executable, "-c", held], check=True)
    folder = connection_path("mine").parent
    assert [p.name for p in folder.iterdir()] == [".mine.claim"]
    with claimed("mine"), pytest.raises(PoolExists), claimed("mine"):
        pass
    assert list(folder.iterdir()) == []


def test_the_claim_of_another_host_is_respected_for_a_while(tmp_path, monkeypatch):
    """Whether a process of another host is alive cannot be told: its claim holds as long as a start may take."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    claim = connection_path("far").with_name(".far.claim")
    claim.symlink_to("1:1:elsewhere:0")
    with pytest.raises(PoolExists), claimed("far"):
        pass
    os.utime(claim, (1.0, 1.0), follow_symlinks=False)
    with claimed("far"):
        pass
    assert not claim.is_symlink()
