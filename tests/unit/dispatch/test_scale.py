"""What the machine does costs the same however many managers there are: steps are counted, never timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from shoal.dispatch.events import (
    AttemptsEnded,
    BlobArrived,
    ClientJoined,
    ManagerGone,
    ManagerHeard,
    ManagerRegistered,
    ManagerSuspected,
    ManagerTimedOut,
    TasksSubmitted,
    Ticked,
    ToManager,
)
from shoal.dispatch.machine import Dispatcher
from shoal.dispatch.policy import AGE
from shoal.dispatch.rooms import LOOK_AT
from shoal.outcome import Payload
from shoal.wire.messages import Blob, Recall, Result, Task, Tasks

CODE = b"c" * 16
SLOTS = 32
FEW, MANY = 128, 4096


def task(tid: int, **options: Any) -> Task:
    return Task(tid, 1, CODE, b"", None, Payload(b"body"), **options)


def result(tid: int, seconds: float = 1.0) -> Result:
    return Result(1, tid, 1, [], None, "w", 1.0, 1.0 + seconds)


def steps(call: Callable[[], Any]) -> int:
    """Bytecode instructions that a call executes, in all functions written in Python."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


class World:
    """A machine with a number of managers that are all alike."""

    def __init__(self, managers: int, **kind: int) -> None:
        self.machine = Dispatcher()
        self.now = 0.0
        self(ClientJoined(1), BlobArrived(1, Blob(CODE, b"code")))
        self(*(ManagerRegistered(n, 0, SLOTS, f"m{n}", **kind) for n in range(managers)))
        self(*(ManagerHeard(n, SLOTS) for n in range(managers)))

    def __call__(self, *events: Any) -> list[Any]:
        return self.machine.handle_all(events, self.now)

    def steps(self, *events: Any) -> int:
        return steps(lambda: self(*events))

    def fill(self, more: int = 0, **options: Any) -> dict[int, list[int]]:
        """Give every slot a task, and leave some waiting; returns what went where."""
        free = self.machine.places.cores
        at: dict[int, list[int]] = {}
        for order in self(TasksSubmitted(1, [task(i, **options) for i in range(free + more)])):
            if isinstance(order, ToManager) and isinstance(order.message, Tasks):
                at.setdefault(order.manager, []).extend(t.tid for t in order.message.tasks)
        return at


def submitting(world: World) -> int:
    return world.steps(TasksSubmitted(1, [task(i) for i in range(64)]))


def ending(world: World) -> int:
    number, tids = next(iter(world.fill(more=1000).items()))
    return world.steps(AttemptsEnded(number, [result(tid) for tid in tids]))


def being_heard(world: World) -> int:
    return world.steps(ManagerHeard(5, SLOTS))


def ticking(world: World) -> int:
    world.now = 1.0
    return world.steps(Ticked())


def losing_a_manager(world: World) -> int:
    world.fill(more=1000)
    return world.steps(ManagerGone(5, "killed"))


def asking_for_accelerators(world: World) -> int:
    return world.steps(TasksSubmitted(1, [task(i, gpus=1) for i in range(32)]))


def asking_for_memory_that_nobody_has_left(world: World) -> int:
    managers = len(world.machine.managers)
    world(TasksSubmitted(1, [task(i, memory=70) for i in range(managers)]))
    return world.steps(TasksSubmitted(1, [task(managers + i, memory=60 + i) for i in range(8)]))


def claiming(world: World) -> int:
    managers = len(world.machine.managers)
    world(TasksSubmitted(1, [task(i, memory=70) for i in range(managers)] + [task(managers, memory=90)]))
    for _ in range(int(AGE) + 1):
        world.now += 1.0
        world(*(ManagerHeard(n) for n in range(managers)), Ticked())
    assert len(world.machine.places.claimed) == 1
    while world.machine.places.sweeping:
        world(Ticked())
    return world.steps(TasksSubmitted(1, [task(managers + 1, memory=90)]))


@pytest.mark.parametrize(
    "what",
    [
        submitting,
        ending,
        being_heard,
        ticking,
        losing_a_manager,
        asking_for_accelerators,
        asking_for_memory_that_nobody_has_left,
        claiming,
    ],
)
def test_steps_do_not_grow_with_the_number_of_managers(what: Callable[[World], int]):
    """What is done about an event takes as many steps with 4,096 managers as with 128."""
    few, many = (what(World(n, memory=100, gpus=2)) for n in (FEW, MANY))
    assert many <= 1.1 * few + 100


def test_only_the_silent_are_named_among_many():
    """Of many managers those not heard for long enough are suspected, each once, and then given up; no other is."""
    world = World(1000)
    silent = {3, 500, 999}
    found = []
    for _ in range(130):
        world.now += 1.0
        world(*(ManagerHeard(n) for n in range(1000) if n not in silent))
        found += [(type(o), o.manager) for o in world(Ticked())]
    assert sorted(n for kind, n in found if kind is ManagerSuspected) == sorted(silent)
    assert sorted(n for kind, n in found if kind is ManagerTimedOut) == sorted(silent)


def test_a_place_is_found_though_very_many_must_be_passed_by_first():
    """The only one of very many managers that has room for an attempt is found within a few ticks, and without a claim."""
    managers = 20 * LOOK_AT
    world = World(managers, memory=100)
    at = world.fill(memory=3)
    last, tids = list(at.items())[-1]
    for number, some in at.items():
        world(AttemptsEnded(number, [result(tid) for tid in (tids if number == last else some[:1])]))
    # All have a free core and little memory, one has more of both; nothing of it will grow.
    world(TasksSubmitted(1, [task(10**6 + i) for i in range(SLOTS - 1)]))
    assert {m.free for m in world.machine.managers.values()} == {1}
    sent = world(TasksSubmitted(1, [task(10**7, memory=60)]))
    for _ in range(managers // LOOK_AT + 1):
        if any(isinstance(o.message, Tasks) for o in sent):
            break
        assert world.machine.uneven
        world.now += 0.05
        sent = world(Ticked())
    assert [(o.manager, [t.tid for t in o.message.tasks]) for o in sent] == [(last, [10**7])]
    assert not world.machine.places.claimed


def test_the_one_manager_that_could_hold_an_attempt_is_claimed_among_very_many():
    """Where it stands does not matter: each manager has its turn to be looked at."""
    world = World(2000, memory=100)
    world(ManagerRegistered(2000, 0, 4, "large", 1000), ManagerHeard(2000, 4))
    world(TasksSubmitted(1, [task(i, memory=900) for i in range(2)]))
    for _ in range(60):
        world.now += 1.0
        world(*(ManagerHeard(n) for n in range(2001)), Ticked())
        if world.machine.places.claimed:
            break
    assert list(world.machine.places.claimed) == [2000]


def test_no_more_is_called_back_than_there_is_room_for():
    """While attempts wait behind others at many managers, two free cores elsewhere call back from two of them, not from all."""
    world = World(50)
    at = world.fill()
    for number, tids in at.items():
        world(AttemptsEnded(number, [result(tids[0], 0.001)]))
    world(TasksSubmitted(1, [task(10**6 + i) for i in range(50 * 15)]))
    world(ManagerRegistered(50, 0, 2, "new"), ManagerHeard(50, 2))
    assert len(world.machine.places.behind) > 20
    assert world.machine.places.cores == 2
    world.now = 0.5
    recalled = [o.manager for o in world(Ticked()) if isinstance(o, ToManager) and isinstance(o.message, Recall)]
    world.now = 1.0
    others = [o.manager for o in world(Ticked()) if isinstance(o, ToManager) and isinstance(o.message, Recall)]
    assert (len(recalled), len(others)) == (2, 2)
    assert not set(recalled) & set(others)
