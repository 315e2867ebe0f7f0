"""Looking into a pool that runs, or does not: stacks, top, doctor and logs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time

import psutil
import pytest

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ConfigurationError, PoolNotFound, PoolUnreachable
from shoal.pool.connection import connection_path, list_connections, read_connection
from shoal.pool.control import pool_status, start_pool, stop_pool
from shoal.pool.diagnosis import pool_stacks
from shoal.wire.messages import Running
from tests.integration.commands import run
from tests.integration.conftest import eventually


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """The name of a lasting pool with two workers."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    start_pool("seen", LocalProvider(init_blocks=1, min_blocks=0), max_workers_per_node=2)
    assert eventually(lambda: sum(manager.workers for manager in pool_status("seen").managers) == 2, 30)
    yield "seen"
    for found in list_connections():
        os.kill(found.pid, signal.SIGCONT)
        stop_pool(found.name)


def negate(x):
    return -x


def held_in_c(seconds):
    """Counts in C, and lets nobody else have the interpreter meanwhile."""
    import itertools

    def deep_inside():
        return sum(itertools.repeat(1, int(seconds * 1e9)))

    return deep_inside()


def doze(seconds):
    import time

    def deep_asleep():
        time.sleep(seconds)

    deep_asleep()
    return "rested"


def worker_of(client, tid: int) -> str:
    """Who runs a task."""
    client.wait(lambda: any(a.tid == tid for m in client.of(Running) for a in m.attempts), 30)
    return next(a.worker for m in client.of(Running) for a in m.attempts if a.tid == tid)


# --------------------------------------------------------------------------- stacks


def test_the_stacks_of_every_process_also_in_a_c_call(pools, pool):
    """Pool, manager and workers; of each worker what it runs, and where it is, whether it sleeps or is held in C."""
    client = pools.client(read_connection(pool))
    (held,) = client.submit(held_in_c, 600)
    (asleep,) = client.submit(doze, 600)
    workers = {worker_of(client, held): "deep_inside", worker_of(client, asleep): "deep_asleep"}
    for worker, function in workers.items():  # which is still importing this module, perhaps
        assert eventually(lambda w=worker, f=function: f"in {f}" in pool_stacks(pool, w)[0][1], 30)
    found = dict(pool_stacks(pool))
    assert len(found) == 4
    assert sum("(pool)" in name for name in found) == 1
    assert sum("(manager)" in name for name in found) == 1
    for worker, function in workers.items():
        ((name, text),) = [(n, t) for n, t in found.items() if n.startswith(worker)]
        assert f"in {function}" in text
        assert "thread " in text, "and what the kernel knows"
        label = "held_in_c" if function == "deep_inside" else "doze"
        assert f"({label}), for " in name
    for worker, function in workers.items():
        ((name, text),) = pool_stacks(pool, worker)
        assert name.startswith(worker)
        assert f"in {function}" in text
    shown = run("pool", "stacks", pool, "--worker", next(iter(workers)))
    assert shown.returncode == 0
    assert shown.stdout.count("==>") == 1
    assert "in deep_inside" in shown.stdout


def test_a_worker_that_is_stopped_does_not_keep_others_from_answering(pools, pool):
    """It is named as stopped; the rest is there, and it works on when it may."""
    client = pools.client(read_connection(pool))
    (tid,) = client.submit(doze, 0.5)
    name = worker_of(client, tid)
    worker = psutil.Process(int(name.partition("/")[2]))
    worker.suspend()
    try:
        found = pool_stacks(pool, timeout=20.0)
    finally:
        worker.resume()
    (text,) = [text for who, text in found if who.startswith(name)]
    assert text.startswith("it does not answer")
    assert "is stopped" in text
    assert len(found) == 4
    assert sum("most recent call first" in text for _, text in found) == 3
    assert client.value(tid, 30) == "rested"


def test_a_worker_that_crashes_after_it_was_asked_still_tells_its_own_end(pools, pool):
    """What it wrote before is not taken for what it writes as it crashes."""
    client = pools.client(read_connection(pool))

    def crash_here():
        import os

        os.abort()

    pool_stacks(pool)
    text = client.result(client.submit(crash_here)[0]).failure.message
    assert "SIGABRT" in text
    assert "in crash_here" in text
    assert "serve" not in text.partition("crash_here")[0]


def test_unknown_workers_and_pools_are_mistakes(pool):
    """The sentence says where to look."""
    for worker in ("nowhere/1", f"{os.uname().nodename}/1", "x"):
        with pytest.raises(ConfigurationError, match="no such worker"):
            pool_stacks(pool, worker)
    with pytest.raises(PoolNotFound):
        pool_stacks("unseen")


def test_a_pool_that_does_not_answer_is_asked_by_a_signal(pool):
    """Where its door leads nowhere it writes its stacks itself; where it is stopped that is said."""
    path = connection_path(pool)
    text = path.read_text()
    data = json.loads(text)
    data["clients"]["url"] += "-gone"
    path.write_text(json.dumps(data))
    try:
        ((name, stacks),) = pool_stacks(pool, timeout=0.2)
        assert "(pool, which does not answer)" in name
        assert "in _serve" in stacks
        with pytest.raises(PoolUnreachable):
            pool_stacks(pool, "host/1", timeout=0.2)
    finally:
        path.write_text(text)
    process = psutil.Process(data["pid"])
    process.suspend()
    try:
        ((_, stacks),) = pool_stacks(pool, timeout=0.2)
        assert "is stopped" in stacks
    finally:
        process.resume()


# --------------------------------------------------------------------------- top


def test_top_shows_a_pool_once_where_there_is_no_terminal(pools, pool):
    """Blocks, nodes, workers, rates, queue and clients, in plain text, whatever a client calls itself."""
    client = pools.client(read_connection(pool))
    (tid,) = client.submit(doze, 600)
    worker_of(client, tid)
    done = run("pool", "top", pool)
    assert done.returncode == 0
    for text in (
        f"pool {pool}", "0 wait, 1 at nodes", "a second", "workers: 1 of 2 at work", "blocks: 1 run, 1 wanted", "nodes: 1",
        "2/2", "clients: a test",
    ):  # fmt: skip
        assert text in done.stdout, done.stdout
    assert "\x1b" not in done.stdout
    assert run("pool", "top", "unseen").returncode == 1
    assert run("pool", "top", pool, "--every", "0").returncode == 1


def test_top_in_a_terminal_lives_until_ctrl_c(pool):
    """It draws again and again; Ctrl-C ends it with exit code 0 and leaves the terminal as it was."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "shoal.cli", "pool", "top", pool, "--every", "0.1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 30
    while seen.count(b"tasks: ") < 4 and time.monotonic() < deadline:
        seen += os.read(ours, 65536)
    assert seen.count(b"tasks: ") >= 4
    process.send_signal(signal.SIGINT)
    while process.poll() is None and time.monotonic() < deadline:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # it has closed the terminal
            break
    assert process.wait(10) == 0
    os.close(ours)
    assert seen.count(b"\x1b[?1049h") == seen.count(b"\x1b[?1049l") == 1


# --------------------------------------------------------------------------- doctor and logs


def test_doctor_finds_a_healthy_pool_well(pool):
    """Each thing on a line, exit code 0."""
    done = run("doctor", "pool", pool)
    assert done.returncode == 0, done.stdout
    for word in (
        "connection file", "mode 0600", "version", "process", "sockets", "answers", "block 0", "workers", "manager 1", "disk",
        "shared memory", "open files", "All is well.",
    ):  # fmt: skip
        assert word in done.stdout


def test_doctor_says_what_is_wrong_and_what_to_do(pool):
    """A file that others can read, a process that is stopped, one that was killed, a pool that never was."""
    path = connection_path(pool)
    path.chmod(0o644)
    done = run("doctor", "pool", pool)
    assert done.returncode == 1
    assert f"fix: it holds keys: others may have read them. Run 'chmod 600 {path}'" in done.stdout
    path.chmod(0o600)
    connection = read_connection(pool)
    process = psutil.Process(connection.pid)
    process.suspend()
    try:
        done = run("doctor", "pool", pool)
        assert "did not answer" in done.stdout
        assert f"shoal pool stacks {pool}" in done.stdout
    finally:
        process.resume()
    if connection.supervisor:
        os.kill(connection.supervisor, signal.SIGKILL)
    process.kill()
    psutil.wait_procs([process], timeout=10)
    done = run("doctor", "pool", pool)
    assert f"{connection.pid} has ended" in done.stdout
    assert f"start it again with 'shoal pool start {pool}'" in done.stdout
    done = run("doctor", "pool", "unseen")
    assert done.returncode == 1
    assert "is not there" in done.stdout


def test_doctor_and_logs_show_why_a_block_failed(tmp_path, monkeypatch):
    """The end of the failed block's log is under the finding, and in the logs; so is what to do."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    start_pool("broken", LocalProvider(worker_init="echo no licence for today >&2; exit 5"), max_workers_per_node=1)
    try:
        done = run("doctor", "pool", "broken")
        deadline = time.monotonic() + 20
        while "failed" not in done.stdout and time.monotonic() < deadline:
            done = run("doctor", "pool", "broken")
        assert done.returncode == 1
        assert "exit code 5" in done.stdout
        assert "no licence for today" in done.stdout
        assert "shoal pool scale broken" in done.stdout
        logs = run("pool", "logs", "broken")
        assert logs.returncode == 0
        assert "==> block-0.err" in logs.stdout
        assert "no licence for today" in logs.stdout
        only = run("pool", "logs", "broken", "block-0.err")
        assert only.stdout.count("==>") == 1
        assert run("pool", "logs", "broken", "../x").returncode == 1
        assert run("pool", "logs", "unseen").returncode == 1
    finally:
        stop_pool("broken")
