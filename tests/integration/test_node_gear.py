"""What tasks get of their node: accelerators and cores of their own, shown to them before anything of theirs is rebuilt."""

from __future__ import annotations

import os

import pytest

import shoal
from shoal.errors import ConfigurationError
from shoal.wire.messages import Trouble
from shoal.wire.starting import NodeRules


def look(seconds, variable="CUDA_VISIBLE_DEVICES"):
    import os
    import time

    begun = time.time()
    time.sleep(seconds)
    return os.environ.get(variable), begun, time.time(), os.getpid()


def overlap(one, other):
    return one[1] < other[2] and other[1] < one[2]


def test_no_two_running_tasks_see_one_accelerator(pools):
    """Each task with gpus sees some of its own, tasks without see none, and afterwards nothing is left in the worker."""
    client = pools.start(workers=3, gpus_per_node=3)
    ones = client.submit(look, 0.1, count=8, gpus=1)
    twos = client.submit(look, 0.1, count=4, gpus=2)
    plain = client.submit(look, 0.05, count=8)
    seen = [client.value(tid, 30.0) for tid in [*ones, *twos]]
    for place, one in enumerate(seen):
        assert len(one[0].split(",")) == (1 if place < len(ones) else 2)
        assert set(one[0].split(",")) <= {"0", "1", "2"}
        for other in seen[:place]:
            assert not overlap(one, other) or set(one[0].split(",")).isdisjoint(other[0].split(","))
    assert {client.value(tid)[0] for tid in plain} == {"-1"}
    assert client.value(client.submit(look, 0.0)[0])[0] == "-1"


def test_a_worker_never_sees_other_accelerators_than_its_first(pools):
    """Libraries look once in the life of a process: for other devices a worker is replaced."""
    client = pools.start(workers=2, gpus_per_node=2)
    seen = {}
    for gpus in (1, 2, 1, 2, 1):
        shown, _, _, pid = client.value(client.submit(look, 0.0, gpus=gpus)[0], 20.0)
        assert len(shown.split(",")) == gpus
        assert seen.setdefault(pid, shown) == shown
    assert not client.of(Trouble), "a worker that is replaced is no trouble"


def test_accelerators_have_the_names_that_the_block_was_given(pools, monkeypatch):
    """A list in the environment of the block counts, and names of the configuration before that; in all variables asked for."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    client = pools.start(workers=2)
    tids = client.submit(look, 0.2, count=2, gpus=1)
    assert {client.value(tid)[0] for tid in tids} == {"4", "GPU-7"}
    assert client.status().managers[0].gpus == 2
    rules = NodeRules(accelerators=("x", "y"), accelerator_variables=("ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"))
    client = pools.start(workers=1, rules=rules)
    assert client.value(client.submit(look, 0.0, "ROCR_VISIBLE_DEVICES", gpus=2)[0])[0] == "x,y"
    assert client.value(client.submit(look, 0.0, "ZE_AFFINITY_MASK", gpus=2)[0])[0] == "x,y"
    assert client.value(client.submit(look, 0.0, "SHOAL_GPUS", gpus=2)[0])[0] == "x,y"


def test_more_accelerators_than_the_block_was_given_are_refused(pools, monkeypatch):
    """The block fails, and its tasks say why."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    client = pools.start(workers=1, gpus_per_node=2)
    failure = client.result(client.submit(look, 0.0, gpus=1)[0], 20.0).failure
    assert "gpus_per_node = 2" in failure.message
    assert "CUDA_VISIBLE_DEVICES=4" in failure.message


def test_the_environment_is_there_when_the_task_is_rebuilt(pools):
    """A function that is unpickled by reading the environment reads what the task was given."""
    client = pools.start(workers=1, gpus_per_node=1)

    class Eager:
        def __reduce__(self):
            return os.getenv, ("CUDA_VISIBLE_DEVICES",)

    assert client.value(client.submit(lambda shown: shown, Eager(), gpus=1)[0]) == "0"


def cores(seconds):
    import os
    import threading
    import time

    found = []
    thread = threading.Thread(target=lambda: found.append(sorted(os.sched_getaffinity(0))))
    thread.start()
    thread.join()
    begun = time.time()
    time.sleep(seconds)
    return found[0], begun, time.time(), sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize("kind", ["block", "alternating"])
def test_workers_are_bound_to_cores(pools, kind):
    """Each to its own; a task of several cores has those of as many workers, and none of them works meanwhile."""
    mine = sorted(os.sched_getaffinity(0))
    assert len(mine) >= 2, "these tests need two cores"
    client = pools.start(workers=2, rules=NodeRules(cpu_affinity=kind))
    tids = client.submit(cores, 0.3, count=2)
    first, second = (client.value(tid) for tid in tids)
    assert sorted(first[0] + second[0]) == mine
    assert first[0] == first[3]
    mixed = [client.submit(cores, 0.05, cores=1.0 + turn % 2)[0] for turn in range(8)]
    seen = [client.value(tid, 20.0) for tid in mixed]
    for turn, one in enumerate(seen):
        assert (one[0] == mine) == (turn % 2 == 1)
        for other in seen[:turn]:
            assert not overlap(one, other) or set(one[0]).isdisjoint(other[0])
    again = [client.value(tid)[0] for tid in client.submit(cores, 0.2, count=2)]
    assert sorted(again[0] + again[1]) == mine


def test_workers_are_not_bound_unless_asked_for(pools):
    """By default every task may use every core."""
    client = pools.start(workers=2)
    assert client.value(client.submit(cores, 0.0)[0])[0] == sorted(os.sched_getaffinity(0))


def test_options_of_workers_reach_them(tmp_path):
    """Through the public API: names of accelerators, seen by a task."""
    htex = shoal.HighThroughputExecutor(max_workers_per_node=1, accelerators=["a", "b"])
    shoal.clear()
    with shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path))):
        app = shoal.python_app(look, gpus=2)
        assert app(0.0).result(20)[0] == "a,b"
    shoal.clear()


@pytest.mark.parametrize(
    "options",
    [
        {"accelerators": -1},
        {"accelerators": ["a", "a"]},
        {"accelerator_variables": []},
        {"cpu_affinity": "some"},
        {"memory_per_worker": "much"},
        {"max_tasks_per_worker": -1},
        {"drain_before": -1.0},
        {"grace": -1.0},
        {"gpus_per_node": 2, "accelerators": 3},
        {"grace": 3.0, "pool": "p"},
    ],
)
def test_options_that_cannot_be_are_refused(options):
    """With the option's name, when the spec is made."""
    with pytest.raises(ConfigurationError, match=f"HighThroughputExecutor.{next(iter(options))}"):
        shoal.HighThroughputExecutor(**options)
