"""Tasks that wait in the pool for what other tasks of it make."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.errors import DependencyError
from shoal.pool.control import stop_pool


@pytest.fixture(params=["embedded", "lasting"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[shoal.Session]:
    shoal.clear()
    lasts = request.param == "lasting"
    name = f"ahead-{os.getpid()}"
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2, pool=name if lasts else None, create=lasts)
    yield shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path), retries=0))
    shoal.clear()
    if lasts:
        stop_pool(name)


@shoal.python_app
def plus(*numbers: int) -> int:
    return sum(numbers) + 1


@shoal.python_app
def after(path: str, value: Any) -> Any:
    import os.path

    while not os.path.exists(path):
        time.sleep(0.005)
    return value


@shoal.python_app
def fails(value: Any) -> Any:
    raise ValueError(value)


@shoal.python_app
def note(path: str, value: Any) -> Any:
    with open(path, "a") as file:
        file.write(f"{value}\n")
    return value


def test_a_chain_runs_while_its_client_is_stopped(session: shoal.Session, tmp_path: Path) -> None:
    """The client's thread that receives is held up, as by a long C call; the chain goes on all the same."""
    gate, out = tmp_path / "gate", tmp_path / "out"
    assert plus(0).result() == 1
    chain = after(str(gate), 0)
    for _ in range(50):
        chain = plus(chain)
    last = note(str(out), chain)
    time.sleep(0.2)  # they are on their way
    link = session.executors["htex"]._link  # type: ignore[attr-defined]
    with link._listener._turn:  # whoever takes in results waits here
        gate.touch()
        deadline = time.monotonic() + 20
        while not out.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert out.exists()
    assert last.result() == 50
    assert out.read_text() == "50\n"


def test_files_lead_from_task_to_task_in_the_pool(session: shoal.Session, tmp_path: Path) -> None:
    """What waits for a promised file, or for the value of the task that makes it, is sent to the pool, and runs after it."""
    gate = tmp_path / "gate"

    @shoal.python_app
    def makes(gate: str, outputs: Any = ()) -> int:
        while not os.path.exists(gate):
            time.sleep(0.005)
        for file in outputs:
            Path(file.filepath).write_text("made")
        return 7

    @shoal.python_app
    def reads(file: Any, number: int = 0) -> str:
        return Path(file.filepath).read_text() + str(number)

    made = makes(str(gate), outputs=[shoal.File(str(tmp_path / name)) for name in ("one", "two")])
    readers = [reads(made.outputs[0]), reads(made.outputs[1], made)]
    last = reads(made.outputs[0], plus(made))
    executor = session.executors["htex"]
    ahead = {tid for tid, _ in executor._ahead}  # type: ignore[attr-defined]
    assert {future.tid for future in (*readers, last)} <= ahead
    gate.touch()
    assert [future.result() for future in (*readers, last)] == ["made0", "made7", "made8"]


def test_a_file_that_is_not_made_stops_those_that_wait(session: shoal.Session, tmp_path: Path) -> None:
    """They are skipped, and never run without it."""

    @shoal.python_app
    def forgets(gate: str, outputs: Any = ()) -> None:
        while not os.path.exists(gate):
            time.sleep(0.005)

    made = forgets(str(tmp_path / "gate"), outputs=[shoal.File(str(tmp_path / "never"))])
    waits = note(str(tmp_path / "out"), made.outputs[0])
    (tmp_path / "gate").touch()
    assert isinstance(waits.exception(), DependencyError)
    assert plus(1).result() == 2
    assert not (tmp_path / "out").exists()


def test_values_are_those_of_the_graph(session: shoal.Session) -> None:
    """A wide and deep graph gives what the same calls give one after the other."""
    layers = [[plus(i) for i in range(20)]]
    plain = [[i + 1 for i in range(20)]]
    for depth in range(10):
        layers.append([plus(layers[-1][i], layers[-1][(i * 7 + depth) % 20]) for i in range(20)])
        plain.append([plain[-1][i] + plain[-1][(i * 7 + depth) % 20] + 1 for i in range(20)])
    assert [f.result() for f in layers[-1]] == plain[-1]
    assert plus(*layers[0], *layers[5]).result() == sum(plain[0]) + sum(plain[5]) + 1


def test_what_waits_for_a_failure_is_skipped(session: shoal.Session, tmp_path: Path) -> None:
    """Dependents of a task that fails never run, whatever the pool had of them; others do."""
    gate, out = tmp_path / "gate", tmp_path / "out"
    source = fails(after(str(gate), 1))
    dependents = [note(str(out), source) for _ in range(5)]
    deeper = note(str(out), dependents[0])
    gate.touch()
    assert isinstance(source.exception(), ValueError)
    assert all(isinstance(f.exception(), DependencyError) for f in [*dependents, deeper])
    assert plus(1).result() == 2
    assert not out.exists()


def test_what_waits_for_the_good_part_of_a_flawed_chunk_runs(session: shoal.Session, tmp_path: Path) -> None:
    """One of the calls of a chunk fails: what takes its value is skipped, what takes the others has theirs."""
    gate = tmp_path / "gate"

    @shoal.python_app
    def picky(number: int, path: str) -> int:
        while not os.path.exists(path):
            time.sleep(0.005)
        if number == 2:
            raise ValueError(number)
        return number

    sums = [plus(plus(future)) for future in picky.map(range(4), [str(gate)] * 4, chunksize=4)]
    gate.touch()
    assert [sums[n].result(20) for n in (0, 1, 3)] == [2, 3, 5]
    assert isinstance(sums[2].exception(20), DependencyError)


def test_one_that_waits_there_can_be_cancelled(session: shoal.Session, tmp_path: Path) -> None:
    """It never runs; what it waited for does."""
    gate, out = tmp_path / "gate", tmp_path / "out"
    source = after(str(gate), 1)
    dependent = note(str(out), source)
    assert dependent.cancel()
    gate.touch()
    assert source.result() == 1
    assert plus(source).result() == 2
    assert dependent.cancelled()
    assert not out.exists()


def test_a_retried_source_feeds_those_that_wait(tmp_path: Path) -> None:
    """The second attempt's value reaches a task that was sent before the first attempt failed."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=1)
    shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path), retries=2))
    try:
        marker = tmp_path / "tried"

        @shoal.python_app
        def second_time(path: str) -> int:
            import os

            if not os.path.exists(path):
                open(path, "w").close()
                raise RuntimeError("first")
            return 5

        assert plus(plus(second_time(str(marker)))).result(30) == 7
    finally:
        shoal.clear()


def test_large_values_pass_by_the_client(session: shoal.Session) -> None:
    """Arrays go from the task that makes them to the one that takes them, and are right and private."""
    np = pytest.importorskip("numpy")

    @shoal.python_app
    def make(n: int) -> Any:
        import numpy as np

        return np.full(200_000, n, dtype="f8")

    @shoal.python_app
    def change(array: Any) -> Any:
        array += 1
        return array

    sources = [make(n) for n in range(8)]
    changed = [change(change(s)) for s in sources]
    assert [float(f.result()[7]) for f in changed] == [n + 2.0 for n in range(8)]
    assert [float(f.result()[7]) for f in sources] == [float(n) for n in range(8)]
    assert isinstance(changed[0].result(), np.ndarray)


def test_a_lost_worker_leaves_those_that_wait_to_the_session(session: shoal.Session, tmp_path: Path) -> None:
    """The source is lost: its dependents are skipped with the reason, and the pool goes on."""
    gate, out = tmp_path / "gate", tmp_path / "out"

    @shoal.python_app
    def whoami(path: str) -> int:
        import os
        import time

        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(60)
        return 1

    source = whoami(str(gate))
    dependent = note(str(out), source)
    while not (gate.exists() and gate.read_text()):
        threading.Event().wait(0.01)
    os.kill(int(gate.read_text()), signal.SIGKILL)
    assert isinstance(dependent.exception(20), DependencyError)
    assert plus(1).result(20) == 2
    assert not out.exists()


def test_a_pool_that_is_started_again_gets_all_that_waits(session: shoal.Session, tmp_path: Path) -> None:
    """Of a chain whose first task runs when the pool dies nothing is left hanging; in a pool that lasts it goes on."""
    gate = tmp_path / "gate"
    running = after(str(gate), 1)
    while not running.running():
        threading.Event().wait(0.01)
    chain = plus(plus(running))
    fresh = plus(1)
    pool = session.executors["htex"].connection.pid  # type: ignore[attr-defined]
    psutil.Process(pool).kill()
    gate.touch()
    assert fresh.result(30) == 2
    if session.executors["htex"].connection.kind == "lasting":  # type: ignore[attr-defined]
        assert chain.result(30) == 3
    else:
        assert chain.exception(30) is not None
    assert plus(plus(1)).result(30) == 3


@shoal.python_app
def node(number: int, fails: bool, *values: int) -> int:
    if fails:
        raise ValueError(number)
    return number + sum(values)


@pytest.mark.parametrize("seed", range(3))
def test_random_graphs_end_as_their_edges_say(session: shoal.Session, seed: int) -> None:
    """Values, failures and what depends on them, whatever was sent ahead and whatever was not; nothing is left behind."""
    chance = random.Random(seed)
    for _ in range(10):
        size = chance.randrange(5, 120)
        futures: list[Any] = []
        expected: list[int | None] = []
        for number in range(size):
            sources = chance.sample(range(number), min(number, chance.choice((0, 1, 1, 2, 3, 8))))
            fails = chance.random() < 0.05
            futures.append(node(number, fails, *[futures[s] for s in sources]))
            values = [expected[s] for s in sources]
            expected.append(None if fails or None in values else number + sum(v for v in values if v is not None))
            if chance.random() < 0.02:
                time.sleep(0.005 * chance.random())
        for future, value in zip(futures, expected, strict=True):
            error = future.exception(60)
            assert (future.result() if error is None else None) == value
    executor: Any = session.executors["htex"]
    assert not executor._ahead
    assert not executor.outstanding()
