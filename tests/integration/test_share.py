"""``shoal.share``: one value for many tasks, read where it lies."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.errors import NotPicklable


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., shoal.Session]]:
    shoal.clear()

    def start(*executors: Any) -> shoal.Session:
        chosen = executors or (shoal.HighThroughputExecutor(max_workers_per_node=2),)
        return shoal.load(shoal.Config(executors=chosen, run_dir=str(tmp_path)))

    yield start
    shoal.clear()


@shoal.python_app
def look(array: Any, place: int) -> tuple[float, bool]:
    return float(array[place]), bool(array.flags.writeable)


@shoal.python_app
def address(array: Any) -> tuple[int, int]:
    import os

    return os.getpid(), array.__array_interface__["data"][0]


@shoal.python_app
def write(array: Any) -> None:
    array[0] = -1


@shoal.python_app
def add(table: dict[str, Any], key: str) -> int:
    table[key] = 1
    return len(table)


def test_tasks_read_it_in_place(load: Callable[..., shoal.Session]) -> None:
    """All tasks of a worker see the array at the same address: none has made a copy; and none can write to it."""
    load()
    shared = shoal.share(np.arange(1_000_000, dtype=float))
    assert shared.done()
    assert [f.result() for f in [look(shared, i) for i in range(50)]] == [(float(i), False) for i in range(50)]
    places = [f.result() for f in [address(shared) for _ in range(40)]]
    assert len(set(places)) == len({pid for pid, _ in places})
    assert isinstance(write(shared).exception(), ValueError)


def test_it_is_as_it_was_when_it_was_shared(load: Callable[..., shoal.Session]) -> None:
    """A change of the original afterwards is not seen by tasks; the caller's own reading is a copy that can be changed."""
    load()
    array = np.zeros(100_000)
    shared = shoal.share(array)
    array[3] = 7
    mine = shared.result()
    mine[3] = 9
    assert look(shared, 3).result() == (0.0, False)


def test_what_is_no_array_is_each_task_s_own(load: Callable[..., shoal.Session]) -> None:
    """A dictionary that holds a large array: tasks may change the dictionary, and no other task sees that."""
    load(shoal.HighThroughputExecutor(max_workers_per_node=1))
    shared = shoal.share({"data": np.ones(100_000), "text": "x" * 100_000})
    assert [add(shared, f"key {i}").result() for i in range(3)] == [3, 3, 3]


@pytest.mark.parametrize("size", [10, 100_000], ids=["small", "large"])
@pytest.mark.parametrize("where", ["threads", "without shared memory", "lasting"])
def test_it_works_on_every_executor(
    load: Callable[..., shoal.Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, size: int
) -> None:
    """Where no memory is shared, the value travels."""
    if where == "lasting":
        monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
        load(shoal.HighThroughputExecutor(pool="shared", create=True, max_workers_per_node=1))
    else:
        load(shoal.ThreadPoolExecutor() if where == "threads" else shoal.HighThroughputExecutor(shared_memory=0))
    try:
        shared = shoal.share(np.arange(size))
        assert [f.result()[0] for f in [look(shared, i) for i in range(5)]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    finally:
        shoal.clear()
        if where == "lasting":
            from shoal.pool.control import stop_pool

            stop_pool("shared")


def test_its_memory_goes_with_its_last_future(load: Callable[..., shoal.Session]) -> None:
    """The file in memory is closed when nobody can use it any more; tasks under way keep it."""

    def files() -> set[int]:
        """Those of this process, by their inodes."""
        found = set()
        for fd in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                if "shoal-arena" in os.readlink(f"/proc/self/fd/{fd}"):
                    found.add(os.stat(f"/proc/self/fd/{fd}").st_ino)
        return found

    load()
    assert look(np.zeros(10), 0).result() == (0.0, True)
    before = files()
    shared = shoal.share(np.arange(1_000_000))
    made = files() - before
    assert len(made) == 1
    tasks = [look(shared, i) for i in range(20)]
    del shared
    assert [f.result()[0] for f in tasks] == [float(i) for i in range(20)]
    tasks.clear()
    gc.collect()
    assert not made & files()


def test_what_cannot_travel_is_named(load: Callable[..., shoal.Session]) -> None:
    """An object that cannot be pickled is refused at once."""
    load()
    with pytest.raises(NotPicklable, match="share"):
        shoal.share(threading.Lock())


def test_it_appears_in_the_graph(load: Callable[..., shoal.Session]) -> None:
    """The view of the run has it as a vertex with its name, done."""
    session = load()
    shared = shoal.share(np.zeros(5), label="grid")
    task = look(shared, 0)
    task.result()
    assert shared.task.label == "grid"
    assert task.task.depends_on == (shared.tid,)
    assert session.pending() == 0
