"""Who gets which accelerators and cores, and when a worker is replaced; with workers that are only books."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import ConfigurationError
from shoal.node.bench import Bench
from shoal.node.gear import Gear, layout, names_of
from shoal.wire.messages import Result
from shoal.wire.starting import NodeRules
from tests.unit.node.test_bench import FakeWorker, task


class Node:
    """A bench with workers that come up when they are asked for."""

    def __init__(self, slots: int, gear: Gear | None = None, lifetime: int = 0) -> None:
        self.bench = Bench(slots, lambda: None, gear=gear, lifetime=lifetime)
        self.bench.blob(b"c" * 16, b"")
        self.started = 0
        self.ran: dict[int, int] = {}
        for index in range(slots):
            self.start(index)

    def start(self, index: int) -> FakeWorker:
        worker = FakeWorker(index)
        worker.pid = self.started
        worker.note_memory = lambda allowed: None
        self.started += 1
        self.bench.add(worker)
        self.bench.ready(worker)
        return worker

    def settle(self) -> None:
        """Hand out, and replace workers that have to be, until nothing changes."""
        bench = self.bench
        while True:
            bench.hand_out()
            if not bench.wanted and not bench.spent:
                return
            for worker in bench.spent:
                assert not worker.flight
                bench.remove(worker)
            bench.spent.clear()
            wanted, bench.wanted = bench.wanted, []
            for index in wanted:
                self.start(index)

    def busy(self) -> list[FakeWorker]:
        return [w for w in self.bench.workers.values() if w.flight]

    def finish(self, worker: FakeWorker) -> None:
        """The oldest attempt of a worker ends."""
        key = next(iter(worker.flight))
        self.ran[worker.pid] = self.ran.get(worker.pid, 0) + 1
        assert self.bench.ended(worker, Result(*key, [], None, "w", 1.0, 2.0))
        worker.unread.clear()


needs = st.fixed_dictionaries(
    {"gpus": st.integers(0, 3), "cores": st.sampled_from([1.0, 1.0, 2.0, 3.0]), "memory": st.sampled_from([0, 5])}
)


@given(st.lists(needs, max_size=25), st.data(), st.sampled_from([0, 1, 3]), st.booleans())
def test_no_two_attempts_share_what_is_theirs_alone(tasks, data, lifetime, bound):
    """Accelerators and cores are held by one attempt at a time, no worker ever sees others than its first, all attempts run."""
    gear = Gear(NodeRules(), ("a", "b", "c"), True, layout("block", 3, range(6)) if bound else [])
    node = Node(3, gear, lifetime)
    # As the pool does it: no more at the node at a time than there are accelerators and cores for.
    waiting = deque(task(tid, **each) for tid, each in enumerate(tasks))
    done = 0
    seen: dict[int, set[tuple[str, ...]]] = {}
    while done < len(tasks):
        held = [t for w in node.busy() for t, _, _ in w.flight.values()] + list(node.bench.queue)
        while waiting and sum(t.gpus for t in held) + waiting[0].gpus <= 3:
            held.append(waiting[0])
            node.bench.queue.append(waiting.popleft())
        node.settle()
        busy = node.busy()
        assert busy, "something can always go on"
        devices = [name for w in busy if w.grant for name in w.grant.devices]
        assert len(devices) == len(set(devices))
        if bound:
            slots = [slot for w in busy for slot in (w.grant.slots if w.grant and w.grant.slots else (w.index,))]
            assert len(slots) == len(set(slots))
        for worker in busy:
            (only, *_), *rest = worker.flight.values()
            granted = worker.grant.devices if worker.grant else ()
            assert len(granted) == only.gpus
            assert not rest or not (only.gpus or only.memory)
            if granted:
                seen.setdefault(worker.pid, set()).add(granted)
        node.finish(data.draw(st.sampled_from(busy)))
        done += 1
    node.settle()
    assert all(len(sets) == 1 for sets in seen.values())
    assert not lifetime or max(node.ran.values(), default=0) <= lifetime
    assert len(node.bench.idle) == 3
    assert node.bench.busy_cores == 0


def test_a_worker_keeps_its_accelerators():
    """One that has had the right ones is chosen before one that has had none; others are replaced only if there is none."""
    gear = Gear(NodeRules(), ("0", "1"))
    workers = [FakeWorker(0), FakeWorker(1)]
    workers[0].devices = ("1",)
    assert gear.choose(1, workers) == (workers[0], ("1",))
    assert gear.choose(2, workers) == (workers[1], ("0", "1"))
    assert gear.choose(2, workers[:1]) == (workers[0], ())
    assert gear.choose(3, workers) is None


def test_the_successor_waits_for_the_last_attempt_of_the_former():
    """It is asked for when the former has got its last one, and gets nothing before that has ended."""
    node = Node(1, lifetime=2)
    bench = node.bench
    bench.queue.extend(task(tid) for tid in range(3))
    bench.hand_out()
    (former,) = bench.workers.values()
    assert bench.wanted == []
    node.finish(former)
    bench.hand_out()
    assert bench.wanted == [0]
    successor = node.start(0)
    bench.hand_out()
    assert not successor.flight
    node.finish(former)
    bench.hand_out()
    assert bench.spent == [former]
    assert successor.flight


def test_a_successor_takes_over_from_a_worker_that_dies():
    """Whichever of the two dies, one of them is left."""
    for first in (True, False):
        node = Node(1, lifetime=1)
        bench = node.bench
        bench.queue.append(task(0))
        bench.hand_out()
        (former,) = bench.workers.values()
        successor = node.start(0)
        if first:
            bench.remove(former)
            assert bench.idle == [successor]
        else:
            bench.remove(successor)
            node.finish(former)
            assert bench.idle == []
            assert bench.spent == [former]


@given(st.integers(1, 9), st.integers(1, 20), st.sampled_from(["block", "alternating"]))
def test_cores_are_shared_out(slots, many, kind):
    """Each worker has some, all have about as many, and where there are enough no two have one."""
    cpus = list(range(10, 10 + many))
    found = layout(kind, slots, cpus)
    assert len(found) == slots
    sizes = [len(own) for own in found]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    used = [cpu for own in found for cpu in own]
    assert set(used) <= set(cpus)
    if many >= slots:
        assert sorted(used) == cpus
    if kind == "block":
        assert all(own == tuple(range(own[0], own[0] + len(own))) for own in found)


def test_workers_are_not_bound_unless_it_is_asked_for():
    """Nor where it is not known which cores there are."""
    assert layout("none", 2, [0, 1]) == []
    assert layout("block", 2, []) == []


def test_names_come_from_the_rules_then_the_environment_then_are_numbers(monkeypatch):
    """And an environment that shows too few is an error, not a wrong device."""
    rules = NodeRules(accelerator_variables=("SHOAL_TEST_SEEN",))
    assert names_of(rules, 2) == ("0", "1")
    monkeypatch.setenv("SHOAL_TEST_SEEN", " 3 , GPU-4,5")
    assert names_of(rules, 2) == ("3", "GPU-4")
    assert names_of(NodeRules(accelerators=("x", "y")), 1) == ("x",)
    with pytest.raises(ConfigurationError, match="SHOAL_TEST_SEEN"):
        names_of(rules, 4)
    monkeypatch.setenv("SHOAL_TEST_SEEN", "-1")
    assert names_of(rules, 1) == ("0",)
