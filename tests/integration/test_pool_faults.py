"""What a pool does when its parts are killed, broken or fed with nonsense."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ManagerLost, WorkerLost, WorkerStartFailed
from shoal.events import BlockChanged, ManagerLeft, ManagerRegistered, PoolEnded, PoolStarted, WorkerEnded
from shoal.record.log import LogReader
from shoal.wire.messages import PROTOCOL_VERSION, Hello, Refused, Register, Running, Scale, Tasks, Trouble


def negate(x):
    return -x


def nap(seconds):
    import time

    time.sleep(seconds)
    return "rested"


def running(client):
    """The attempts announced as running."""
    return {a.tid: a for m in client.of(Running) for a in m.attempts}


def pid_of(worker):
    return int(worker.rpartition("/")[2])


def test_a_killed_worker_is_named_and_replaced(client):
    """SIGKILL of a worker during a task: WorkerLost with the signal within seconds, and the pool has two workers again."""
    (tid,) = client.submit(nap, 30.0)
    client.wait(lambda: tid in running(client))
    os.kill(pid_of(running(client)[tid].worker), signal.SIGKILL)
    begun = time.monotonic()
    with pytest.raises(WorkerLost, match=r"nap.*signal 9 \(SIGKILL\)"):
        client.value(tid, 5.0)
    assert time.monotonic() - begun < 5.0
    assert client.results[tid].failure.lost
    assert client.results[tid].started > 0
    client.submit(nap, 0.3, count=2)
    client.wait(lambda: len(client.results) == 3)
    assert len({r.worker for r in list(client.results.values())[1:]}) == 2


@pytest.mark.parametrize(
    ("how", "told"),
    [("import os; os._exit(7)", "exit code 7"), ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV")],
    ids=["exit", "segfault"],
)
def test_a_task_that_ends_its_worker_is_lost_alone(client, how, told):
    """A task that ends the process takes itself along, and nothing that waited behind it."""

    def end(how):
        exec(how)

    before = client.submit(negate, 1, count=300)
    client.wait(lambda: len(client.results) == 300)
    (bad,) = client.submit(end, how)
    after = client.submit(negate, 2, count=300)
    with pytest.raises(WorkerLost, match=told):
        client.value(bad)
    assert {client.value(tid) for tid in after} == {-2}
    assert len(before) == 300


def test_innocents_in_the_packet_of_a_killer_are_not_lost(client):
    """A short function that once ends its process: only that call is lost, those packed with it run elsewhere."""

    def maybe(how):
        exec(how)
        return "fine"

    client.submit(maybe, "pass", count=400)
    client.wait(lambda: len(client.results) == 400)
    good = client.submit(maybe, "pass", count=20)
    (bad,) = client.submit(maybe, "import os; os._exit(1)")
    good += client.submit(maybe, "pass", count=200)
    with pytest.raises(WorkerLost):
        client.value(bad)
    client.wait(lambda: all(tid in client.results for tid in good))
    lost = [tid for tid in good if client.results[tid].failure is not None]
    # Results that the dead worker had not sent yet are lost with it; never what it had not begun.
    assert all(tid < bad for tid in lost)


def test_a_killed_manager_is_replaced_and_what_had_not_begun_runs(pools):
    """SIGKILL of a manager: its running task is ManagerLost, its workers end, a new block runs what waited."""
    client = pools.start(workers=1)
    (tid,) = client.submit(nap, 30.0)
    waiting = client.submit(negate, 4, count=5)
    client.wait(lambda: tid in running(client))
    roles = pools.roles(client)
    roles["shoal.node.manager"][0].kill()
    with pytest.raises(ManagerLost, match="nap.*SIGKILL"):
        client.value(tid, 5.0)
    assert [client.value(t) for t in waiting] == [-4] * 5
    assert pools.gone(roles["shoal.node.worker"])
    assert [b.state for b in client.status().blocks] == ["failed", "running"]


def test_a_killed_pool_leaves_no_process(pools, client):
    """SIGKILL of the pool process: managers and workers end at once, in the middle of a task."""
    (tid,) = client.submit(nap, 30.0)
    client.wait(lambda: tid in running(client))
    family = pools.family(client.connection.pid)
    assert len(family) == 4
    family[0].kill()
    assert pools.gone(family)
    Path(client.connection.sockets, "clients").unlink(missing_ok=True)
    pools.forget(client)


def test_a_frozen_worker_is_ended_with_its_manager(pools):
    """A worker that is stopped and cannot see anything close ends with its manager all the same."""
    client = pools.start(workers=1)
    client.value(client.submit(negate, 1)[0])
    family = pools.family(client.connection.pid)
    family[-1].suspend()
    family[1].kill()
    assert pools.gone([family[-1]])


CLIENT = """
import sys, time
from pathlib import Path
from shoal.blocks.providers.local import LocalProvider
from shoal.pool.start import make_spec, spawn_pool
process, connection = spawn_pool(make_spec("orphan", LocalProvider(), max_workers_per_node=2, folder=Path(sys.argv[1])))
print(process.pid, flush=True)
time.sleep(60)
"""


def test_an_embedded_pool_ends_with_its_client(pools, tmp_path):
    """SIGKILL of the client: its pool ends with blocks and workers, and removes its connection file and sockets."""
    owner = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path / "p")], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(owner.stdout.readline())
        assert pools.eventually(lambda: len(pools.family(pid)) == 4)
        family = pools.family(pid)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    assert pools.gone(family)
    assert not Path(os.environ["SHOAL_HOME"], "pools", "orphan.json").exists()


def test_ctrl_c_ends_nothing(pools, client):
    """SIGINT goes to all processes of a terminal; pool, managers and workers take no notice."""
    (tid,) = client.submit(nap, 0.5)
    client.wait(lambda: tid in running(client))
    for process in pools.family(client.connection.pid):
        process.send_signal(signal.SIGINT)
    assert client.value(tid) == "rested"


def test_processes_that_a_task_left_behind_end_with_its_block(pools, client):
    """A task may start processes; those that still run when the block ends are ended with it."""

    def leave():
        import subprocess

        return subprocess.Popen(["sleep", "60"]).pid

    import psutil

    child = psutil.Process(client.value(client.submit(leave)[0]))
    pools.family(client.connection.pid)[1].kill()
    assert pools.gone([child])


# --------------------------------------------------------------------------- what cannot start


def test_workers_that_do_not_start_fail_their_tasks_with_their_stderr(pools, tmp_path, monkeypatch):
    """A broken environment of the workers: tasks fail within seconds with what the worker wrote; so do later ones."""
    (tmp_path / "broken").mkdir()
    site = """
        import sys
        if "shoal.node.worker" in sys.orig_argv:
            raise SystemExit("this environment is broken")
    """
    (tmp_path / "broken" / "sitecustomize.py").write_text(textwrap.dedent(site))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"), prepend=os.pathsep)
    client = pools.start()
    tids = client.submit(negate, 1, count=3)
    for tid in tids:
        with pytest.raises(WorkerStartFailed, match="this environment is broken"):
            client.value(tid, 5.0)
    (late,) = client.submit(negate, 1)
    with pytest.raises(WorkerStartFailed):
        client.value(late, 1.0)
    assert any(t.fatal for t in client.of(Trouble))
    assert client.status().blocks[0].state == "failed"


def test_a_block_that_does_not_start_fails_its_tasks_with_its_stderr(pools):
    """A worker_init that exits: tasks fail with the exit code and with what it wrote."""
    client = pools.start(provider=LocalProvider(worker_init="echo no such module >&2\nexit 3"))
    (tid,) = client.submit(negate, 1)
    with pytest.raises(WorkerStartFailed, match="(?s)exit code 3.*no such module"):
        client.value(tid, 5.0)


def test_worker_init_runs_before_the_workers(pools):
    """Lines of worker_init run in bash on the node, and what they export is there for tasks."""
    client = pools.start(provider=LocalProvider(worker_init="export SHOAL_TEST_WORD='two words'"))

    def word():
        import os

        return os.environ["SHOAL_TEST_WORD"]

    assert client.value(client.submit(word)[0]) == "two words"


# --------------------------------------------------------------------------- nonsense


def test_malformed_frames_are_ignored(pools, client):
    """Garbage, frames that are no message, and messages that belong to another door change nothing."""
    bad = pools.client(client.connection, hello=False)
    for frames in (
        [b""],
        [b"\xff" * 100],
        [b"\x93\x01\x02\x03"],
        [b"\x91\xa5tasks"],
        [b"{}", b"x" * 100_000],
        [b"", b"", b""],
        [os.urandom(1000)],
    ):
        bad.line.send(frames)
    bad.send(Tasks([]))
    bad.send(Register(PROTOCOL_VERSION, 0, "evil", 1, "3.11", 64))
    assert client.value(client.submit(negate, 3)[0]) == -3
    status = client.status()
    assert [m.slots for m in status.managers] == [2]


def test_another_protocol_is_refused(pools, client):
    """A client of another version is told what differs, and its tasks are not taken."""
    other = pools.client(client.connection, hello=False)
    other.send(Hello(PROTOCOL_VERSION + 1, "s", "other", "3.11", os.getpid()))
    other.wait(lambda: other.of(Refused))
    assert other.of(Refused) == [Refused("protocol", str(PROTOCOL_VERSION), str(PROTOCOL_VERSION + 1))]
    other.submit(negate, 1)
    assert not other.read(0.2)


# --------------------------------------------------------------------------- the pool's own log


def test_the_pool_writes_down_its_life(pools):
    """Blocks, managers and lost workers are in the pool's log, from its start to its end."""
    client = pools.start(workers=1)
    (tid,) = client.submit(nap, 30.0)
    client.wait(lambda: tid in running(client))
    os.kill(pid_of(running(client)[tid].worker), signal.SIGKILL)
    client.result(tid)
    pools.stop(client)
    events = LogReader(Path(client.connection.log)).read()
    kinds = [type(e) for e in events]
    assert kinds[0] is PoolStarted
    assert kinds[-1] is PoolEnded
    assert [e.state for e in events if isinstance(e, BlockChanged)][:3] == ["requested", "pending", "running"]
    assert {ManagerRegistered, WorkerEnded} <= set(kinds)
    assert any("SIGKILL" in e.reason for e in events if isinstance(e, WorkerEnded))
    assert ManagerLeft in kinds


# --------------------------------------------------------------------------- files that are taken away


def test_logs_that_are_removed_do_not_end_a_pool(pools):
    """With the folder of its logs removed a pool starts workers and blocks as before, and makes the folder again."""
    client = pools.start(workers=1, provider=LocalProvider(max_blocks=2))
    worker = client.result(client.submit(negate, 1)[0]).worker
    folder = Path(client.connection.folder)
    shutil.rmtree(folder)
    os.kill(pid_of(worker), signal.SIGKILL)
    client.wait(lambda: client.of(Trouble))
    again = client.result(client.submit(negate, 2)[0])
    assert (again.failure, again.worker != worker) == (None, True)
    shutil.rmtree(folder)
    client.send(Scale(1, 2))
    client.wait(lambda: len(client.status().managers) == 2)
    assert (folder / "block-1.json").exists()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_fails_tasks_with_the_reason(pools):
    """Where neither a worker nor a block can have its files, tasks fail by name with the reason; the pool stays."""
    client = pools.start(workers=1)
    worker = client.result(client.submit(negate, 1)[0]).worker
    folder = Path(client.connection.folder)
    folder.rename(folder.with_name("away"))
    folder.write_text("in the way")
    os.kill(pid_of(worker), signal.SIGKILL)
    client.wait(lambda: any(t.fatal for t in client.of(Trouble)))
    assert any("cannot be started" in t.text and "File exists" in t.text for t in client.of(Trouble))
    with pytest.raises(WorkerStartFailed, match="could not be written.*File exists"):
        client.value(client.submit(negate, 2)[0])
    folder.unlink()
    client.send(Scale(1, 1))
    assert client.value(client.submit(negate, 3)[0]) == -3


def test_a_client_is_told_of_a_message_that_cannot_be_read(pools, client):
    """What a known client sends and the pool cannot decode is answered with the reason; a stranger gets nothing."""
    client.value(client.submit(negate, 1)[0])
    client.line.send([b"\x92\xa5tasks\x91\x93\x01\x02\x03"])
    client.wait(lambda: client.of(Trouble))
    (trouble,) = client.of(Trouble)
    assert (trouble.kind, trouble.fatal) == ("protocol", False)
    assert "dropped a message of a test" in trouble.text
    stranger = pools.client(client.connection, hello=False)
    stranger.line.send([b"\x92\xa5tasks\x91\x93\x01\x02\x03"])
    assert not stranger.read(0.2)
    assert client.value(client.submit(negate, 2)[0]) == -2
