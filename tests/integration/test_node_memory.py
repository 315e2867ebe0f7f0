"""Tasks that take more memory than they may, and tasks that the kernel ends."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest

import shoal
from shoal.blocks.providers.local import LocalProvider
from shoal.errors import MemoryLimitExceeded, WorkerLost
from shoal.serialize import unpack_failure
from shoal.wire.messages import Trouble
from shoal.wire.starting import NodeRules

MB = 10**6


def hold(megabytes, seconds=0.0):
    import time

    data = b"x" * (megabytes * 10**6)
    time.sleep(seconds)
    return len(data)


def hold_below(megabytes, seconds):
    import subprocess
    import sys

    code = f"import time; data = b'x' * {megabytes * 10**6}; time.sleep({seconds})"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


@pytest.mark.parametrize("where", [hold, hold_below], ids=["itself", "a child"])
def test_a_task_is_held_to_the_memory_that_it_asked_for(pools, where):
    """It is ended, with what it has started, by an error that says how much it had, and may be run again."""
    client = pools.start(workers=1)
    (tid,) = client.submit(where, 400, 60.0, memory=100 * MB)
    failure = client.result(tid, 20.0).failure
    error = unpack_failure(failure)
    assert isinstance(error, MemoryLimitExceeded)
    assert isinstance(error, MemoryError)
    assert (error.limit, error.option, failure.lost) == (100 * MB, "memory", False)
    assert 100 * MB < error.used < 600 * MB
    assert where.__name__ in str(error)
    assert 'memory="' in str(error)
    assert client.value(client.submit(hold, 1)[0]) == MB
    assert not client.of(Trouble)


def test_what_a_worker_had_before_is_not_charged(pools):
    """The limit of a task is on what is added while it runs."""
    client = pools.start(workers=1)

    def keep(megabytes):
        import sys

        sys.kept = b"x" * (megabytes * 10**6)

    client.value(client.submit(keep, 300)[0])
    assert client.value(client.submit(hold, 50, 1.0, memory=200 * MB)[0]) == 50 * MB
    assert len({r.worker for r in client.results.values()}) == 1


def test_a_small_limit_leaves_room_for_the_worker_itself(pools):
    """What a fresh process takes before it comes to the task is not the task's."""
    client = pools.start(workers=1)
    assert client.value(client.submit(hold, 0, 0.6, memory=1000)[0]) == 0


def test_what_forked_children_share_is_counted_once(pools):
    """Four children of a process with 150 MB are no 750 MB."""
    client = pools.start(workers=1)

    def fork(children, seconds):
        import os
        import time

        data = b"x" * (150 * 10**6)
        pids = []
        for _ in range(children):
            pid = os.fork()
            if not pid:
                time.sleep(seconds)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        return len(data)

    assert client.value(client.submit(fork, 4, 1.0, memory=300 * MB)[0]) == 150 * MB


def test_a_worker_may_be_limited_as_a_whole(pools):
    """Whatever its task said, and also if that said nothing."""
    client = pools.start(workers=1, rules=NodeRules(memory_per_worker=200 * MB))
    assert client.value(client.submit(hold, 20, 0.5)[0]) == 20 * MB
    error = unpack_failure(client.result(client.submit(hold, 400, 60.0)[0], 20.0).failure)
    assert isinstance(error, MemoryLimitExceeded)
    assert (error.limit, error.option) == (200 * MB, "memory_per_worker")


def test_retries_run_it_again(tmp_path):
    """An attempt that took too much counts like any that failed."""
    mark = tmp_path / "mark"

    def fickle():
        if not mark.exists():
            mark.touch()
            kept = b"x" * (400 * 10**6)
            time.sleep(60)
            return len(kept)
        return "small"

    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=1)
    with shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path))) as session:
        task = session.submit(fickle, retries=1, resources=shoal.Resources(memory="100 MB"))
        assert task.result(30) == "small"
    shoal.clear()


@pytest.fixture
def group(tmp_path):
    """A control group of 250 MB, as a batch system would make it."""
    assert os.geteuid() == 0, "this test needs a control group of its own, and the right to make one"
    old = Path("/sys/fs/cgroup/memory")
    base, limit = (old, "memory.limit_in_bytes") if old.is_dir() else (Path("/sys/fs/cgroup"), "memory.max")
    found = base / f"shoal-test-{uuid.uuid4().hex[:8]}"
    found.mkdir()
    (found / limit).write_text(str(250 * 2**20))
    for name in ("memory.swappiness", "memory.swap.max"):
        if (found / name).exists():
            (found / name).write_text("0")
    yield found
    deadline = time.monotonic() + 10
    while (found / "cgroup.procs").read_text().split() and time.monotonic() < deadline:
        time.sleep(0.02)
    found.rmdir()


def test_the_end_by_the_kernel_is_recognised(pools, group):
    """It takes the worker, not the manager; the loss says that memory ran out, how much the worker had, and what to do."""
    client = pools.start(workers=2, provider=LocalProvider(worker_init=f"echo $$ > {group}/cgroup.procs"))
    (other,) = client.submit(hold, 1, 1.0)
    (tid,) = client.submit(hold, 1000, 60.0)
    failure = client.result(tid, 20.0).failure
    error = unpack_failure(failure)
    assert isinstance(error, WorkerLost)
    assert failure.lost
    for words in ("SIGKILL", "memory ran out", "MB", "memory=...", "max_workers_per_node"):
        assert words in str(error)
    assert client.value(other) == MB
    assert client.value(client.submit(hold, 1)[0]) == MB
    assert [b.state for b in client.status().blocks] == ["running"]
    pools.stop(client)


def test_a_worker_that_was_killed_by_hand_is_not_blamed_on_memory(pools):
    """The counters of the kernel tell the one from the other."""
    client = pools.start(workers=1)

    def end():
        import os

        os.kill(os.getpid(), 9)

    message = client.result(client.submit(end)[0]).failure.message
    assert "SIGKILL" in message
    assert "memory" not in message
