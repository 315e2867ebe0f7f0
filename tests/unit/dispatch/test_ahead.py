"""Attempts that come before their values: they wait in the pool, and run as soon as these are made."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.dispatch.events import (
    AttemptsEnded,
    BlobArrived,
    CancelRequested,
    ClientGoneForGood,
    ClientJoined,
    ClientLeft,
    ManagerHeard,
    ManagerRegistered,
    TasksSubmitted,
    ToClient,
    ToManager,
)
from shoal.dispatch.failures import CANCELLED
from shoal.dispatch.machine import Dispatcher
from shoal.outcome import Failure, Payload
from shoal.wire.messages import Blob, Input, Result, Results, Returned, Task, Tasks

CODE = b"c" * 16


def task(tid: int, *sources: tuple[int, int], attempt: int = 1, given: tuple[int, ...] = ()) -> Task:
    """A task that takes ``(task, output)`` each; those in ``given`` come with their values."""
    inputs = [Input(s, o, Payload(b"given") if s in given else None) for s, o in sources]
    return Task(tid, attempt, CODE, b"", None, Payload(b"body"), inputs)


class World:
    """A machine with client 1 and one manager of four slots."""

    def __init__(self) -> None:
        self.machine = Dispatcher()
        self.sent: dict[int, Task] = {}
        self.results: dict[int, Result] = {}
        self.returned: list[int] = []
        self(ClientJoined(1), BlobArrived(1, Blob(CODE, b"code")))
        self(ManagerRegistered(1, 0, 4, "manager 1", 0, 0), ManagerHeard(1, 4))

    def __call__(self, *events: object) -> None:
        for order in self.machine.handle_all(events, 0.0):  # type: ignore[arg-type]
            message = order.message if isinstance(order, ToManager | ToClient) else None
            if isinstance(message, Tasks):
                self.sent.update({t.tid: t for t in message.tasks})
            elif isinstance(message, Results):
                self.results.update({r.tid: r for r in message.results})
            elif isinstance(message, Returned):
                self.returned += [tid for _, tid, _ in message.attempts]

    def submit(self, *tasks: Task) -> None:
        self(TasksSubmitted(1, list(tasks)))

    def end(self, tid: int, *values: bytes, failure: Failure | None = None, flaws: tuple[int, ...] = ()) -> None:
        sent = self.sent.pop(tid)
        result = Result(1, tid, sent.attempt, [Payload(v) for v in values], failure, "w", 1.0, 2.0)
        result.flaws = [(index, Failure("ValueError", "no")) for index in flaws]
        self(AttemptsEnded(1, [result]))


@pytest.fixture
def world() -> World:
    return World()


def test_it_runs_when_its_value_is_made(world: World) -> None:
    """The dependent is not sent before; then it has the value that the other attempt gave."""
    world.submit(task(0), task(1, (0, 0)))
    assert set(world.sent) == {0}
    world.end(0, b"made")
    assert world.sent[1].inputs == [Input(0, 0, Payload(b"made"))]


def test_outputs_are_told_apart(world: World) -> None:
    """Each input takes the output that it asks for, also two of one task."""
    world.submit(task(0), task(1, (0, 1), (0, 0), (0, 1)))
    world.end(0, b"first", b"second")
    assert [i.payload.head for i in world.sent[1].inputs if i.payload] == [b"second", b"first", b"second"]


def test_what_came_with_its_value_keeps_it(world: World) -> None:
    """Inputs that were there at the client travel with the task; only the others are waited for."""
    world.submit(task(5), task(6, (3, 0), (5, 0), given=(3,)))
    world.end(5, b"made")
    assert [i.payload.head for i in world.sent[6].inputs if i.payload] == [b"given", b"made"]


def test_a_value_that_is_not_being_made_here_is_asked_back(world: World) -> None:
    """The attempt goes back to its client, which sends it with the value later: as the same attempt."""
    world.submit(task(0))
    world.end(0, b"made")
    world.submit(task(1, (0, 0)))
    assert world.returned == [1]
    assert not world.sent
    world.submit(task(1, (0, 0), given=(0,)))
    assert set(world.sent) == {1}


def test_it_waits_for_another_attempt_of_a_task_that_failed(world: World) -> None:
    """A failure leaves the dependent waiting: the client retries, or cancels."""
    world.submit(task(0), task(1, (0, 0)))
    world.end(0, failure=Failure("ValueError", "no"))
    assert set(world.results) == {0}
    assert 1 not in world.sent
    world.submit(task(0, attempt=2))
    world.end(0, b"made")
    assert set(world.sent) == {1}


def test_outputs_of_a_flawed_task_are_asked_back(world: World) -> None:
    """Its client decides whether it is tried again; what took a good one runs then with its value, and is waited for itself."""
    world.submit(task(0), task(1, (0, 1)), task(2, (0, 0)), task(3, (1, 0)))
    world.end(0, b"", b"good", flaws=(0,))
    assert sorted(world.returned) == [1, 2]
    world.submit(task(1, (0, 1), given=(0,)))
    world.end(1, b"made")
    assert set(world.sent) == {3}


def test_good_outputs_of_a_flawed_task_are_used_when_nobody_decides(world: World) -> None:
    """Its client is gone for good: what takes the others fails by name."""
    world.submit(task(0), task(1, (0, 1)), task(2, (0, 0)), task(3, (2, 0), (0, 1)))
    world(ClientGoneForGood(1))
    world.end(0, b"", b"good", flaws=(0,))
    assert {i.payload.head for i in world.sent[1].inputs if i.payload} == {b"good"}
    failures = [world.results[tid].failure for tid in (2, 3)]
    assert all(f is not None and f.type_name.endswith("DependencyError") for f in failures)
    assert not len(world.machine.ahead)


def test_it_can_be_cancelled_while_it_waits(world: World) -> None:
    """The cancelled attempt is answered once, and its value's arrival starts nothing."""
    world.submit(task(0), task(1, (0, 0)))
    world(CancelRequested(1, [(0, 1, 1)]))
    failure = world.results[1].failure
    assert failure is not None
    assert failure.type_name == CANCELLED
    assert not world.machine.ahead._takers
    world.end(0, b"made")
    assert 1 not in world.sent
    assert not len(world.machine.ahead)


def test_what_a_client_leaves_behind_is_forgotten(world: World) -> None:
    """Nothing of a client that left waits any more."""
    world.submit(task(0), task(1, (0, 0)), task(2, (1, 0)))
    world(ClientLeft(1))
    assert not len(world.machine.ahead)


@settings(deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_any_graph_runs_in_the_order_of_its_edges(size: int, seed: int) -> None:
    """Whatever the graph, and the order in which attempts end: all run once, with the values of those that they name."""
    chance = random.Random(seed)
    world = World()
    graph = {tid: sorted(chance.sample(range(tid), min(tid, chance.randrange(4)))) for tid in range(size)}
    ended: set[int] = set()
    submitted = 0
    while len(ended) < size:
        step = chance.randrange(1, 6)
        # As a client does: what has ended comes with its value, the rest is being made.
        batch = [
            task(tid, *[(s, 0) for s in graph[tid]], given=tuple(s for s in graph[tid] if s in ended))
            for tid in range(submitted, min(size, submitted + step))
        ]
        submitted += len(batch)
        if batch:
            world.submit(*batch)
        assert not world.returned
        for tid in chance.sample(sorted(world.sent), chance.randrange(len(world.sent) + 1)):
            heads = [i.payload.head if i.payload else None for i in world.sent[tid].inputs]
            expected = [b"v%d" % s for s in graph[tid]]
            assert all(h in (e, b"given") for h, e in zip(heads, expected, strict=True))
            assert tid not in ended
            ended.add(tid)
            world.end(tid, b"v%d" % tid)
    assert set(world.results) == set(range(size))
    assert not len(world.machine.ahead)
