"""Tasks with side effects while parts of their pool are killed and stopped at random: nothing is lost, nothing runs twice by haste.

The seed is drawn anew each time, and shown where something fails; ``make chaos SEEDS="..." TASKS=N ADDRESS=IP`` gives
seeds, more tasks, and other links.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import shoal
from shoal.errors import PoolError
from shoal.events import AttemptEnded, Event, TaskEnded, TaskLaunched
from shoal.record.log import LogReader
from tests.integration.conftest import eventually
from tests.integration.damage import Chaos, Mark, descriptors

TASKS = int(os.environ.get("SHOAL_CHAOS_TASKS", "20000"))
SEEDS = [int(word) for word in os.environ.get("SHOAL_CHAOS_SEEDS", "").split()] or [random.randrange(1 << 30)]
ADDRESS = os.environ.get("SHOAL_CHAOS_ADDRESS") or None
"""With the address of an interface managers are reached over TCP, with keys; else over Unix sockets."""

CHAINS = 50
MODULUS = 1_000_003
LIMITS = {
    "kill worker": 20,
    "kill manager": 3,
    "kill block": 2,
    "kill pool": 2,
    "stop worker": 12,
    "stop manager": 8,
    "stop pool": 8,
}
"""How often each act is done among 20,000 tasks."""

PATIENCE = 60.0 + TASKS / 400
"""Seconds for all tasks; a small part of that on an idle machine."""


def work(folder: str, number: int, seconds: float, *inputs: int) -> int:
    """Note which attempt this is, before anything else; then take a while."""
    frame: Any = sys._getframe()
    while not hasattr(frame.f_locals.get("task"), "attempt"):  # what the worker was told about it
        frame = frame.f_back
    attempt = frame.f_locals["task"].attempt
    file = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{number} {attempt} {time.time():.6f}\n".encode())
    os.close(file)
    if seconds:
        time.sleep(seconds)
    return (number + sum(inputs)) % MODULUS


class Plan(NamedTuple):
    """One task: the tasks whose values it takes, how long it takes, and its value."""

    inputs: list[int]
    seconds: float
    value: int


def make_plan(chance: random.Random, tasks: int) -> list[Plan]:
    """A graph: half of it free, a third in chains, the rest gathers from what was before."""
    plan: list[Plan] = []
    chains = [-1] * CHAINS
    for number in range(tasks):
        kind = chance.random()
        inputs: list[int] = []
        if kind < 0.35:
            chain = chance.randrange(CHAINS)
            inputs = [chains[chain]] if chains[chain] >= 0 else []
            chains[chain] = number
        elif kind < 0.5 and number:
            inputs = [chance.randrange(number) for _ in range(200 if kind < 0.355 else chance.randrange(2, 12))]
        seconds = 0.0 if chance.random() < 0.5 else 0.3 if chance.random() < 0.002 else chance.uniform(0, 0.004)
        plan.append(Plan(inputs, seconds, (number + sum(plan[i].value for i in inputs)) % MODULUS))
    return plan


class Effect(NamedTuple):
    """A line that a task left behind."""

    number: int
    attempt: int
    time: float
    worker: int


def read_effects(folder: Path) -> list[Effect]:
    lines = [(file.name, *line.split()) for file in folder.iterdir() for line in file.read_text().splitlines()]
    return [Effect(int(number), int(attempt), float(when), int(pid)) for pid, number, attempt, when in lines]


def check_record(events: list[Event], effects: list[Effect], tasks: int) -> Counter[str]:
    """Each task has one outcome, each attempt ran at most once, and each that is not the first follows one that was lost."""
    kinds: Counter[str] = Counter()
    launched: dict[tuple[int, int], float] = {}
    lost: set[tuple[int, int]] = set()
    values: dict[int, int] = {}
    for event in events:
        if isinstance(event, TaskLaunched):
            if event.attempt > 1:
                assert (event.tid, event.attempt - 1) in lost, f"{event} before the loss of the attempt before it"
                launched[event.tid, event.attempt] = event.time
        elif isinstance(event, AttemptEnded):
            assert event.tid not in values, f"{event}, but task {event.tid} has its value already"
            assert event.kind in ("value", "lost"), event
            assert (event.tid, event.attempt) not in lost, f"{event} for the second time"
            kinds[event.kind] += 1
            if event.kind == "lost":
                lost.add((event.tid, event.attempt))
            else:
                values[event.tid] = event.attempt
        else:
            assert not isinstance(event, TaskEnded), event
    assert len(values) == tasks
    seen = Counter((effect.number, effect.attempt) for effect in effects)
    assert [effect for effect in effects if seen[effect[:2]] > 1] == [], "attempts that ran twice"
    assert values.items() <= seen.keys(), "a value of an attempt that has not run"
    for number, attempt, when, _ in effects:
        if attempt > 1:
            assert (number, attempt - 1) in lost
            assert when >= launched[number, attempt] - 0.001, (
                f"attempt {attempt} of task {number} ran before it was made"
            )
        assert attempt <= values[number], f"attempt {attempt} of task {number} began after its value had come"
    return kinds


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mark]:
    found = Mark()
    monkeypatch.setenv(found.NAME, found.word)
    shoal.clear()
    yield found
    shoal.clear()


def load(folder: Path) -> shoal.Session:
    provider = shoal.LocalProvider(init_blocks=2, max_blocks=2)
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2, provider=provider, address=ADDRESS)
    return shoal.load(shoal.Config(executors=(htex,), run_dir=str(folder), retries=30))


def working(executor: Any) -> list[int]:
    """The managers that have workers."""
    try:
        return [manager.pid for manager in executor.status().managers if manager.workers]
    except PoolError:
        return []  # its pool is gone at the moment


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_task_has_one_outcome_whatever_is_killed(seed: int, tmp_path: Path, mark: Mark) -> None:
    """A graph of 20,000 tasks under fire: right values, one outcome each, no second attempt but after a loss, nothing left."""
    load(tmp_path / "warm").submit(len, ((),)).result(30)
    shoal.clear()
    before = descriptors()

    effects = tmp_path / "effects"
    effects.mkdir()
    plan = make_plan(random.Random(seed), TASKS)
    app = shoal.python_app(work)
    session = load(tmp_path / "run")
    executor: Any = session.executors["htex"]
    assert eventually(lambda: len(working(executor)) == 2, 30)
    called: Counter[int] = Counter()
    began = time.monotonic()
    limits = {act: max(1, most * TASKS // 20000) for act, most in LIMITS.items()}
    with Chaos(lambda: executor.connection.pid, lambda: working(executor), seed, limits) as chaos:
        futures: list[Any] = []
        for number, (inputs, seconds, _) in enumerate(plan):
            future = app(str(effects), number, seconds, *[futures[i] for i in inputs])
            future.add_done_callback(lambda _, number=number: called.update((number,)))
            futures.append(future)
        shoal.wait(futures, timeout=PATIENCE)
    took = time.monotonic() - began
    assert [future for future in futures if not future.done()] == []
    values = [future.result() for future in futures]
    session.close()
    print(f"seed {seed}: {TASKS} tasks in {took:.1f} s; {dict(chaos.done)}", *chaos.log, sep="\n", file=sys.stderr)

    assert [n for n, task in enumerate(plan) if values[n] != task.value] == []
    assert eventually(lambda: len(called) == TASKS)
    assert set(called.values()) == {1}, "each future is done once"
    kinds = check_record(LogReader(session.run_dir / "events.log").read(), read_effects(effects), TASKS)
    print(f"seed {seed}: {dict(kinds)}", file=sys.stderr)
    assert eventually(lambda: not mark.left()), f"left behind: {mark.left()}"
    del futures, future, session
    assert eventually(lambda: not descriptors() - before), f"open files left: {descriptors() - before}"
