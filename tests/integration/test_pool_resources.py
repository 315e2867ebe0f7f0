"""What a pool's nodes have is not given away twice; and a pool that was stopped, as by a closed lid, goes on as if nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import shoal
from shoal.blocks.providers.local import LocalProvider
from shoal.dispatch.failures import CANCELLED
from shoal.errors import ConfigurationError
from shoal.links import Poll, UnixDoor
from shoal.wire.frames import Codec
from shoal.wire.messages import Cancel, Running, Trouble, Welcome

GB = 10**9


def nap(seconds):
    import time

    begun = time.time()
    time.sleep(seconds)
    return begun, time.time()


def most_at_once(spans):
    """How many of these spans of time lie over each other at most."""
    return max(sum(a <= begun < b for a, b in spans) for begun, _ in spans)


def running(client):
    """The attempts announced as running."""
    return {a.tid for m in client.of(Running) for a in m.attempts}


# --------------------------------------------------------------------------- memory and accelerators


@pytest.mark.parametrize("needs", [{"memory": 4 * GB}, {"gpus": 1}], ids=["memory", "gpus"])
def test_no_more_run_at_once_than_there_is_room_for(pools, needs):
    """Of tasks that need memory or an accelerator only so many run at once, while others use the free workers."""
    client = pools.start(workers=3, memory_per_node=5 * GB, gpus_per_node=1)
    needy = client.submit(nap, 0.2, count=3, **needs)
    others = client.submit(nap, 0.2, count=3)
    spans = [client.value(tid) for tid in needy]
    assert most_at_once(spans) == 1
    assert min(client.value(tid)[0] for tid in others) < spans[1][0]
    (manager,) = client.status().managers
    assert (manager.memory, manager.memory_free, manager.gpus, manager.gpus_free) == (5 * GB, 5 * GB, 1, 1)


def test_the_status_tells_what_is_free(pools):
    """Memory and accelerators, in all and free, of each manager and of the pool."""
    client = pools.start(workers=2, memory_per_node=5 * GB, gpus_per_node=2)
    (tid,) = client.submit(nap, 1.0, memory=2 * GB, gpus=1)
    client.wait(lambda: tid in running(client))
    status = client.status()
    (manager,) = status.managers
    assert (manager.memory, manager.memory_free, manager.gpus, manager.gpus_free) == (5 * GB, 3 * GB, 2, 1)
    assert (status.memory, status.memory_free, status.gpus, status.gpus_free) == (5 * GB, 3 * GB, 2, 1)


def test_a_node_finds_out_how_much_memory_it_has(pools):
    """Without being told, a pool knows the memory of its nodes, and what can never run there."""
    client = pools.start(workers=1)
    begun, _ = client.value(client.submit(nap, 0.0, memory=1000)[0])
    assert begun > 0
    (manager,) = client.status().managers
    assert 0 < manager.memory <= psutil.virtual_memory().total
    (tid,) = client.submit(nap, 0.0, memory=manager.memory + 1)
    with pytest.raises(ConfigurationError, match="memory of task .*largest node"):
        client.value(tid, 2.0)


@pytest.mark.parametrize(
    ("needs", "words"),
    [({"memory": 64 * GB}, r"memory.*64 GB.*has 5 GB"), ({"gpus": 2}, r"gpus.*has 1"), ({"cores": 3.0}, r"cores.*2")],
    ids=["memory", "gpus", "cores"],
)
def test_what_is_too_large_fails_at_once(pools, needs, words):
    """The answer names what was asked for and what there is; it does not wait for a manager where the sizes are given."""
    provider = LocalProvider(init_blocks=0, max_blocks=1)
    client = pools.start(workers=2, provider=provider, memory_per_node=5 * GB, gpus_per_node=1)
    with pytest.raises(ConfigurationError, match=words):
        client.value(client.submit(nap, 0.0, **needs)[0], 2.0)


def test_a_cancelled_task_gives_its_memory_back_when_it_has_ended(pools):
    """A running one is interrupted; only then the next one that needs the memory begins."""
    client = pools.start(workers=2, memory_per_node=5 * GB)
    (first,) = client.submit(nap, 30.0, memory=4 * GB)
    (second,) = client.submit(nap, 0.0, memory=4 * GB)
    client.wait(lambda: first in running(client))
    client.send(Cancel([(0, first, 1)]))
    assert client.result(first, 8.0).failure.type_name == CANCELLED
    assert client.value(second)[0] >= client.results[first].ended


def test_an_executor_says_what_its_pool_lacks(tmp_path):
    """Before anything is sent: which need, how much there is, and the option that says so; empty if it can be had."""
    spec = shoal.HighThroughputExecutor(max_workers_per_node=2, memory_per_node="8 GB", gpus_per_node=1)
    executor = spec.build()
    executor.start(None, tmp_path)  # type: ignore[arg-type]
    try:
        assert executor.lacks(shoal.Resources(cores=2, memory="8 GB", gpus=1)) == ""
        assert executor.lacks(shoal.Resources(cores=3)) == "cores = 3: its nodes have 2 (max_workers_per_node)"
        assert executor.lacks(shoal.Resources(memory="9 GB")) == "memory = 9 GB: its nodes have 8 GB (memory_per_node)"
        assert executor.lacks(shoal.Resources(gpus=2)) == "gpus = 2: its nodes have 1 (gpus_per_node)"
        assert executor.status().name == executor.connection.name
        other = shoal.HighThroughputExecutor(pool=executor.connection.name).build()
        other.start(None, tmp_path)  # type: ignore[arg-type]
        assert "its nodes have 8 GB" in other.lacks(shoal.Resources(memory="9 GB"))
        other.close()
    finally:
        executor.close()


@pytest.mark.parametrize(
    "options",
    [{"memory_per_node": 0}, {"memory_per_node": "much"}, {"gpus_per_node": -1}, {"gpus_per_node": 1, "pool": "p"}],
)
def test_sizes_that_cannot_be_are_refused(options):
    """With the option's name, when the spec is made."""
    with pytest.raises(ConfigurationError, match=f"HighThroughputExecutor.{next(iter(options))}"):
        shoal.HighThroughputExecutor(**options)


# --------------------------------------------------------------------------- stopped for a while


def stop(processes, seconds):
    """Stop these processes, wait, and let them go on."""
    for process in processes:
        process.suspend()
    time.sleep(seconds)
    for process in reversed(processes):
        process.resume()


def test_a_pool_that_was_stopped_with_all_its_processes_loses_nothing(pools):
    """As when a lid is closed: afterwards the tasks end, once each, and no manager is lost for a silence that was our own."""
    # Managers give signs of life every 2.5 s: within the limits here, with little to spare.
    client = pools.start(workers=2, suspect_after=4.0, lost_after=5.0)
    long = client.submit(nap, 1.5, count=2)
    short = client.submit(nap, 0.1, count=6)
    client.wait(lambda: running(client) >= set(long))
    family = pools.family(client.connection.pid)
    stop(family, 6.5)
    for tid in [*long, *short]:
        assert client.value(tid)
    assert [b.state for b in client.status().blocks] == ["running"]
    assert not client.of(Trouble)
    time.sleep(1.2)
    assert [b.state for b in client.status().blocks] == ["running"]


def test_a_manager_that_was_stopped_for_a_moment_is_not_lost(pools):
    """Silent for longer than makes suspect, for less than makes lost: it goes on, and its tasks end once each."""
    client = pools.start(workers=1, suspect_after=3.0, lost_after=15.0)
    (tid,) = client.submit(nap, 0.5)
    waiting = client.submit(nap, 0.0, count=3)
    client.wait(lambda: tid in running(client))
    stop(pools.roles(client)["shoal.node.manager"], 5.0)
    for each in [tid, *waiting]:
        assert client.value(each)
    status = client.status()
    assert [b.state for b in status.blocks] == ["running"]
    assert "silent" in status.trouble


def test_a_manager_that_stays_stopped_is_lost(pools):
    """Where the pool itself has been running, silence counts as ever."""
    client = pools.start(workers=1, suspect_after=3.0, lost_after=4.0)
    (tid,) = client.submit(nap, 30.0)
    client.wait(lambda: tid in running(client))
    (manager,) = pools.roles(client)["shoal.node.manager"]
    manager.suspend()
    result = client.result(tid, 8.0)
    assert result.failure.lost
    assert "silent" in result.failure.message


CLIENT = """
import sys
from shoal.executors.client import ClientLink
from shoal.executors.listening import Greeting
from shoal.links import dial
from shoal.wire.starting import Address
import threading
class Nobody:
    def busy(self): return False
    def lost(self, error):
        print("lost", error, flush=True)
        done.set()
done = threading.Event()
link = ClientLink(dial(Address(sys.argv[1])), "p", Greeting("s", "n"), Nobody(), patience=1.5)
link.start()
print("up", flush=True)
while not link.welcomed and not done.wait(0.05):
    pass
if link.welcomed:
    print("welcomed", flush=True)
link.close()
"""


@pytest.mark.parametrize(("stopped", "end"), [(True, "welcomed"), (False, "lost pool 'p' did not answer within 1.5 s")])
def test_a_client_that_was_stopped_does_not_blame_its_pool(tmp_path, stopped, end):
    """Time in which a client was stopped is no time that its pool has let it wait; other time is."""
    url = f"unix://{tmp_path}/clients"
    door = UnixDoor(f"{tmp_path}/clients")
    poll = Poll()
    poll.add_link(door, lambda: None)
    script = subprocess.Popen([sys.executable, "-c", CLIENT, url], stdout=subprocess.PIPE, text=True)
    try:
        assert script.stdout.readline() == "up\n"
        while (received := door.receive()) is None:
            poll.once(1.0)
        identity, _ = received
        if stopped:
            os.kill(script.pid, signal.SIGSTOP)
            time.sleep(2.5)
            os.kill(script.pid, signal.SIGCONT)
            time.sleep(0.2)
            door.send(identity, Codec().encode(Welcome("p", 1)))
        assert script.stdout.readline().startswith(end)
        assert script.wait(10) == 0
    finally:
        script.kill()
        script.wait()
        script.stdout.close()
        door.close()
        poll.close()
