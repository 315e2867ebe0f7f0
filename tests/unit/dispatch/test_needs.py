"""Attempts that need memory or accelerators: where they go, who waits for whom, and that all of them run."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.dispatch.events import (
    AttemptsEnded,
    BlobArrived,
    CancelRequested,
    CapacityLost,
    ClientJoined,
    ClientLeft,
    ManagerGone,
    ManagerHeard,
    ManagerRegistered,
    TasksSubmitted,
    Ticked,
    ToClient,
    ToManager,
)
from shoal.dispatch.machine import Dispatcher
from shoal.dispatch.policy import AGE
from shoal.dispatch.rooms import LOOK_AT
from shoal.outcome import Failure, Payload
from shoal.wire.messages import Blob, Result, Results, Task, Tasks

CODE = b"c" * 16
GB = 10**9


def task(tid: int, **options: Any) -> Task:
    return Task(tid, 1, CODE, b"", None, Payload(b"body"), label=f"f{tid}", **options)


class World:
    """A machine with clients 1 and 2; what was sent where, and what was answered."""

    def __init__(self, **options: Any) -> None:
        self.machine = Dispatcher(**options)
        self.now = 0.0
        self.sent: list[tuple[int, int]] = []
        """(manager, tid) of all that was sent."""
        self.at: dict[int, dict[int, Task]] = {}
        self.failures: dict[int, Failure] = {}
        self(ClientJoined(1), ClientJoined(2), BlobArrived(1, Blob(CODE, b"code")))

    def __call__(self, *events: Any) -> list[tuple[int, int]]:
        """Returns what was sent now."""
        before = len(self.sent)
        for order in self.machine.handle_all(events, self.now):
            if isinstance(order, ToManager) and isinstance(order.message, Tasks):
                self.sent += [(order.manager, t.tid) for t in order.message.tasks]
                self.at.setdefault(order.manager, {}).update({t.tid: t for t in order.message.tasks})
            elif isinstance(order, ToClient) and isinstance(order.message, Results):
                self.failures |= {r.tid: r.failure for r in order.message.results if r.failure is not None}
        return self.sent[before:]

    def manager(self, number: int, slots: int, memory: int = 0, gpus: int = 0) -> list[tuple[int, int]]:
        return self(ManagerRegistered(number, 0, slots, f"m{number}", memory, gpus), ManagerHeard(number, slots))

    def submit(self, *tasks: Task, client: int = 1) -> list[tuple[int, int]]:
        return self(TasksSubmitted(client, list(tasks)))

    def end(self, *tids: int) -> list[tuple[int, int]]:
        sent = []
        for tid in tids:
            number = next(n for n, tasks in self.at.items() if tid in tasks)
            client = self.at[number].pop(tid).client
            sent += self(AttemptsEnded(number, [Result(client, tid, 1, [], None, "w", 1.0, 9.0)]))
        return sent

    def tick(self, seconds: float) -> list[tuple[int, int]]:
        sent = []
        for _ in range(int(seconds)):
            self.now += 1.0
            heard = [ManagerHeard(n) for n in self.machine.managers]
            sent += self(*heard, Ticked())
        return sent


def test_memory_and_accelerators_are_counted():
    """A manager gets no more than it has of either, however many cores are free; the rest runs when some is free again."""
    world = World()
    world.manager(7, 8, memory=10 * GB, gpus=2)
    world.submit(*(task(i, memory=4 * GB) for i in range(3)), *(task(i, gpus=1) for i in range(3, 6)))
    assert sorted(world.sent) == [(7, 0), (7, 1), (7, 3), (7, 4)]
    assert world.end(0) == [(7, 2)]
    assert world.end(3) == [(7, 5)]


def test_an_attempt_goes_where_it_fits():
    """A manager without accelerators, or with too little memory, is passed by, also if it is the emptiest."""
    world = World()
    world.manager(7, 16, memory=2 * GB)
    world.manager(8, 1, memory=8 * GB)
    world.manager(9, 2, memory=2 * GB, gpus=1)
    assert world.submit(task(0, memory=4 * GB), task(1, gpus=1)) == [(8, 0), (9, 1)]


def test_those_behind_one_that_does_not_fit_go_on():
    """An attempt for which there is no room steps aside, and runs as soon as there is room, before later ones."""
    world = World()
    world.manager(7, 2, gpus=1)
    world.submit(task(0, gpus=1), task(1, gpus=1), task(2), task(3), task(4))
    assert world.sent == [(7, 0), (7, 2)]
    assert world.end(0) == [(7, 1)]
    assert world.end(2) == [(7, 3)]


def test_others_are_spread_evenly_while_some_wait_for_accelerators():
    """What has stepped aside fills no cores: the few that can run now go to the emptiest managers, not all to one."""
    world = World(most=(8, 0, 4))
    for number in (7, 8):
        world.manager(number, 8, gpus=1)
    world.submit(*(task(i, gpus=2) for i in range(100)))
    world.submit(*(task(i) for i in range(100, 104)))
    assert Counter(manager for manager, _ in world.sent) == {7: 2, 8: 2}


def test_those_of_the_same_needs_keep_their_order():
    """Nobody overtakes an attempt that waits for the same."""
    world = World()
    world.manager(7, 8, gpus=1)
    world.submit(*(task(i, gpus=1) for i in range(5)))
    world.submit(*(task(i, gpus=1) for i in range(5, 8)))
    for tid in range(8):
        world.end(tid)
    assert [tid for _, tid in world.sent] == list(range(8))


def test_a_higher_priority_goes_first_also_among_those():
    """Of what stepped aside the higher priority goes first; and a low one that did waits for higher ones that did not."""
    world = World()
    world.manager(7, 1, gpus=1)
    world.submit(task(0))
    world.submit(task(1, gpus=1, priority=1), task(2, gpus=1, priority=3), task(3, priority=2))
    assert [world.end(tid) for tid in (0, 2, 3)] == [[(7, 2)], [(7, 3)], [(7, 1)]]


def test_clients_share_fairly_whatever_their_tasks_need():
    """Many attempts of one client that need memory take no more cores than those of another client that need none."""
    world = World()
    world.submit(*(task(i, memory=GB) for i in range(100)))
    world.submit(*(task(i) for i in range(100, 200)), client=2)
    world.manager(7, 4, memory=100 * GB)
    for _ in range(20):
        world.end(next(iter(world.at[7])))
    counts = Counter(tid < 100 for _, tid in world.sent)
    assert abs(counts[True] - counts[False]) <= 2


def test_one_that_waited_long_gets_its_place_among_many_small_ones():
    """After AGE seconds cores are kept for it where only they are lacking, and it runs as soon as enough are free."""
    world = World()
    world.manager(7, 4, memory=8 * GB)
    world.submit(*(task(i) for i in range(4)))
    world.submit(task(99, cores=3.0, memory=6 * GB), *(task(i) for i in range(4, 60)))
    assert world.end(0) == [(7, 4)]
    assert world.tick(AGE + 2) == []
    assert world.end(1, 2) == []
    assert world.end(3) == [(7, 99)]
    assert world.end(99) == [(7, 5), (7, 6), (7, 7)]


def test_what_one_that_waits_cannot_use_yet_is_used_by_others():
    """While accelerators are what is lacking, they are kept for it as they become free, and cores are not."""
    world = World()
    world.manager(7, 8, gpus=2)
    world.submit(task(0, gpus=1), task(1, gpus=1), task(2, cores=4.0, gpus=2), *(task(i, gpus=1) for i in range(3, 9)))
    world.tick(AGE + 2)
    assert world.end(0) == []
    assert [tid for _, tid in world.submit(*(task(i) for i in range(20, 40)))] == list(range(20, 27))
    assert world.end(1) == []
    assert world.end(20, 21) == []
    assert world.end(22) == [(7, 2)]


def test_a_place_elsewhere_ends_a_claim():
    """If another manager has room first, the attempt goes there, and what was kept for it is free again."""
    world = World()
    world.manager(7, 2, gpus=1)
    world.submit(task(0, gpus=1), task(1, gpus=1), task(2, gpus=1))
    world.tick(AGE + 2)
    assert world.manager(8, 2, gpus=1) == [(8, 1)]
    assert world.end(0) == [(7, 2)]


@pytest.mark.parametrize("how", ["cancel", "leave", "hopeless", "gone"])
def test_a_claim_ends_with_its_attempt_or_manager(how: str):
    """What is kept for an attempt that was cancelled, or whose client left, is free at once for others."""
    world = World()
    world.manager(7, 4, memory=8 * GB)
    world.submit(task(0), task(1), task(2, cores=4.0, memory=GB))
    world.submit(*(task(i) for i in range(3, 9)), client=2)
    world.tick(AGE + 2)
    world.end(0)
    (manager,) = world.machine.managers.values()
    assert (manager.claim is not None, manager.kept) == (True, 4)
    if how == "cancel":
        assert len(world(CancelRequested(1, [(1, 2, 1)]))) == 1
    elif how == "leave":
        assert len(world(ClientLeft(1))) == 1
    elif how == "hopeless":
        world(CapacityLost(Failure("x", "no")))
        assert set(world.failures) >= {2}
    else:
        world(ManagerGone(7, "killed"))
        assert len(world.manager(8, 4, memory=8 * GB)) > 0
    assert (manager.claim, manager.kept, manager.memory_left) == (None, 0, 8 * GB)
    assert not world.machine.places.claimed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory": 64 * GB}, ["memory", "64 GB", "15.6 GB", "memory_per_node"]),
        ({"gpus": 3}, ["gpus", "3", "has 2", "gpus_per_node"]),
        ({"cores": 9.0}, ["cores", "9", "at most 8"]),
    ],
)
def test_what_no_manager_can_hold_ends_at_once(options: dict[str, Any], words: list[str]):
    """Where the sizes of a pool are known, what is larger is answered with both sizes and what to do."""
    world = World(most=(8, 15_600_000_000, 2))
    world.submit(task(0, **options))
    for word in words:
        assert word in world.failures[0].message
    assert not world.failures[0].lost
    assert world.machine.attempts == {}


def test_sizes_that_are_not_known_yet_are_waited_for():
    """Before its first manager is there a pool keeps such attempts; then it says which can never run."""
    world = World()
    world.submit(task(0, memory=64 * GB), task(1, memory=GB), task(2, gpus=1), task(3), task(4, cores=5.0), client=2)
    assert (world.failures, world.machine.waiting) == ({}, 5)
    assert world.manager(7, 4, memory=16 * GB) == [(7, 1), (7, 3)]
    assert set(world.failures) == {0, 2, 4}
    world.submit(task(5, gpus=1))
    assert set(world.failures) == {0, 2, 4, 5}


def test_a_pool_whose_nodes_do_not_know_their_memory_says_so():
    """Rather than let a task wait for ever."""
    world = World()
    world.manager(7, 4)
    world.submit(task(0, memory=GB))
    assert "set memory_per_node" in world.failures[0].message


def test_the_largest_manager_counts():
    """A second, larger kind of node makes larger attempts possible."""
    world = World(most=(8, -1, -1))
    world.manager(7, 4, memory=16 * GB)
    world.manager(8, 4, memory=64 * GB)
    assert world.submit(task(0, memory=32 * GB)) == [(8, 0)]


def test_many_kinds_of_needs_all_run():
    """Also where there are more kinds of needs than are looked at in one go."""
    world = World()
    world.manager(7, 2, memory=1000)
    world.submit(*(task(i, memory=500 + i) for i in range(300)))
    world.submit(task(300, memory=3))
    while world.at[7]:
        world.end(next(iter(world.at[7])))
    assert len(world.sent) == 301


NEEDS = st.fixed_dictionaries(
    {"cores": st.sampled_from([1.0, 2.0, 4.0]), "memory": st.integers(0, 8), "gpus": st.integers(0, 3)}
)
NODES = st.tuples(st.integers(1, 4), st.integers(0, 8), st.integers(0, 3))


@settings(max_examples=150, deadline=None)
@given(
    nodes=st.lists(NODES, min_size=1, max_size=3),
    wanted=st.lists(NEEDS, min_size=1, max_size=6),
    small=st.lists(NEEDS, min_size=1, max_size=3),
    look_at=st.sampled_from([1, LOOK_AT]),
    data=st.data(),
)
def test_each_attempt_that_some_manager_can_hold_runs(nodes, wanted, small, look_at, data):
    """However many others keep coming, of any kind, each runs in the end; and no manager is ever given too much."""
    with (
        mock.patch("shoal.dispatch.rooms.LOOK_AT", look_at),
        mock.patch("shoal.dispatch.book.CLEARED_AT_ONCE", look_at),
    ):
        each_runs(nodes, wanted, small, data)


def each_runs(nodes, wanted, small, data):

    def held(needs: dict[str, Any]) -> bool:
        return any(s >= needs["cores"] and m >= needs["memory"] and g >= needs["gpus"] for s, m, g in nodes)

    world = World()
    for number, (slots, memory, gpus) in enumerate(nodes):
        world.manager(number, slots, memory, gpus)
    small = [needs for needs in small if held(needs)] or [{"cores": 1.0}]
    tid, stream = len(wanted), 0
    world.submit(*(task(tid + i, **small[i % len(small)]) for i in range(12)), client=2)
    tid += 12
    world.submit(*(task(i, **needs) for i, needs in enumerate(wanted)))
    missing = {i for i, needs in enumerate(wanted) if held(needs)}
    ends: dict[int, float] = {}
    for _ in range(60 + 60 * len(wanted)):
        for number, (slots, memory, gpus) in enumerate(nodes):
            here = world.at.get(number, {}).values()
            assert sum(t.cores for t in here) <= slots
            assert sum(t.memory for t in here) <= memory
            assert sum(t.gpus for t in here) <= gpus
            for t in here:
                ends.setdefault(t.tid, world.now + (1 + t.tid * 7 % 4))
        missing -= {t for _, t in world.sent}
        if not missing:
            break
        world.tick(1)
        world.end(*[t for number in list(world.at) for t in list(world.at[number]) if ends.get(t, 1e9) <= world.now])
        while world.machine.waiting < 12 + len(missing):
            needs = small[stream % len(small)]
            world.submit(
                task(tid, **needs), client=data.draw(st.sampled_from([1, 2])) if stream < 5 else 1 + stream % 2
            )
            tid, stream = tid + 1, stream + 1
    assert not missing
    assert set(world.failures) == {i for i, needs in enumerate(wanted) if not held(needs) and i in world.failures}
