"""Large values between a session and its workers: right, private, and gone when they are needed no more."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import shoal
from shoal.apps import python_app
from shoal.arena import Borrowed
from shoal.errors import ShoalError

MB = 1 << 20


def load(folder: Path, **options: Any) -> shoal.Session:
    """A session with a pool of its own, up and ready to lend."""
    htex = shoal.HighThroughputExecutor(**{"max_workers_per_node": 2, **options})
    session = shoal.load(shoal.Config(executors=[htex], run_dir=str(folder)))
    pid_of().result(60)
    return session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shoal.Session]:
    """One pool of two workers for most tests here."""
    shoal.clear()
    yield load(tmp_path_factory.mktemp("runs"))
    shoal.clear()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., shoal.Session]]:
    """Loads a session for one test; those of other tests stay as they are."""
    yield lambda **options: load(tmp_path, **options)
    shoal.clear()


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


def parts(future: Any) -> list[Any]:
    """The parts of a value that came from a worker, as it lies here."""
    payload = future.outcome.payload
    return [payload.head, *payload.buffers]


def is_lent(future: Any) -> bool:
    """Whether some part of it lies in shared memory."""
    return any(isinstance(part, Borrowed) for part in parts(future))


@python_app
def pid_of(*anything: Any) -> int:
    import os

    return os.getpid()


@python_app
def same(value: Any) -> Any:
    return value


@python_app
def ones(megabytes: float, number: int = 1) -> Any:
    import numpy as np

    return np.full(int(megabytes * (1 << 17)), number, np.int64)


@python_app
def doubled_in_place(array: Any) -> Any:
    array *= 2
    return array


@python_app
def total(array: Any) -> int:
    return int(array.sum())


# --------------------------------------------------------------------------- right and private


def values() -> dict[str, Any]:
    import pandas as pd

    random = np.random.default_rng(1)
    return {
        "array": random.random((1000, 300)),
        "large-array": random.integers(0, 255, 100 * MB, np.uint8),
        "bytes": random.bytes(3 * MB),
        "bytearray": bytearray(random.bytes(2 * MB)),
        "text": "äbc" * MB,
        "fortran": np.asfortranarray(random.random((700, 400))),
        "strided": random.random((2000, 200))[::2, ::3],
        "read-only": read_only(random.random(100_000)),
        "frame": pd.DataFrame({"a": random.random(200_000), "b": np.arange(200_000), "c": ["x", "yz"] * 100_000}),
        "nested": {"l": [random.random(50_000), (random.bytes(50_000), np.arange(10))], "n": list(range(50_000))},
        "same-twice": [one := random.random(50_000), one],
    }


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert type(one) is type(other)
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    elif hasattr(one, "equals"):
        assert one.equals(other)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.flags.writeable == other.flags.writeable
        assert np.array_equal(one, other)
    else:
        assert type(one) is type(other)
        assert one == other


@pytest.mark.parametrize("name", list(values()))
def test_a_value_goes_there_and_back(session: shoal.Session, name: str) -> None:
    """Arguments and results of all kinds of large values are what they were, by way of shared memory."""
    value = values()[name]
    future = same(value)
    assert_equal(future.result(60), value)
    assert is_lent(future)
    assert_equal(same(future).result(60), value)  # its loan is passed on


def test_what_a_task_changes_is_its_own(session: shoal.Session) -> None:
    """Not the client's array, not the result that another task was given, too."""
    array = np.ones(MB)
    assert doubled_in_place(array).result(30)[0] == 2
    assert array[0] == 1
    made = ones(4)
    changed = [doubled_in_place(made) for _ in range(4)]
    assert [int(f.result(30).max()) for f in changed] == [2] * 4
    assert int(made.result(30).max()) == 1
    assert total(made).result(30) == made.result().size


def test_what_the_client_changes_is_its_own(session: shoal.Session) -> None:
    """An array changed after submission, and a result that was read and changed, change nothing elsewhere."""
    array = np.ones(2 * MB)
    futures = []
    for number in range(10):
        array[:] = number
        futures.append(total(array))
    array[:] = -1
    assert [f.result(30) for f in futures] == [number * array.size for number in range(10)]
    made = ones(4)
    made.result(30)[:] = 99
    assert total(made).result(30) == 4 << 17
    assert total(doubled_in_place(made)).result(30) == 8 << 17


def test_the_same_bytes_for_many_tasks_lie_there_once(session: shoal.Session) -> None:
    """They are copied in once, and all tasks read them."""
    data = os.urandom(8 * MB)
    arena: Any = session.executors["htex"]._lender._arena  # type: ignore[attr-defined]
    before = arena.lent
    futures = [pid_of(data) for _ in range(50)]
    assert arena.lent - before <= 9 * MB
    for future in futures:
        future.result(30)
    assert same(data).result(30) == data


def test_map_with_large_items(session: shoal.Session) -> None:
    """Each item arrives at its own call, in one task or in several."""
    items = [np.full(50_000, n) for n in range(40)]
    for chunksize in (1, 7):
        futures = doubled_in_place.map(items, chunksize=chunksize)
        assert [int(f.result(60)[-1]) for f in futures] == [2 * n for n in range(40)]
    assert all(int(item[0]) == n for n, item in enumerate(items))


def test_many_outputs_and_many_parts(session: shoal.Session) -> None:
    """A value of a hundred arrays, and more results held than are left where they were made."""
    assert_equal(same([np.full(10_000, n) for n in range(100)]).result(30), [np.full(10_000, n) for n in range(100)])
    held = [ones(8, n) for n in range(50)]
    assert [int(f.result(60)[-1]) for f in held] == list(range(50))
    assert is_lent(held[0])
    assert not is_lent(held[-1]), "of the last ones copies were made, so that workers have room"
    assert [total(f).result(60) for f in held[::10]] == [n * 8 << 17 for n in range(0, 50, 10)]


def test_memoized_values(session: shoal.Session) -> None:
    """A large result from the store is what it was, also after it was changed."""

    @python_app(cache=True)
    def spread(n: int) -> Any:
        import numpy as np

        return np.full(500_000, n)

    first = spread(7)
    first.result(30)[:] = 0
    again = spread(7)
    assert set(again.result(30)) == {7}
    assert total(again).result(30) == 7 * 500_000


def test_a_forked_child_gives_nothing_back(session: shoal.Session) -> None:
    """A client that forks while it holds results can read them afterwards, and so can the child."""
    held = [ones(2, n) for n in range(5)]
    for future in held:
        future.exception(30)

    def child() -> None:
        right = [int(future.result(5)[-1]) for future in held] == list(range(5))
        held.clear()
        os._exit(0 if right else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    others = [ones(2, 100 + n) for n in range(5)]
    assert [int(f.result(30)[-1]) for f in others] == list(range(100, 105))
    assert [int(f.result(30)[0]) for f in held] == list(range(5))


# --------------------------------------------------------------------------- ends and troubles


def test_cancelled_tasks_take_no_memory(session: shoal.Session) -> None:
    """Queued and running ones with large arguments and results: all that they had lent comes back."""

    @python_app
    def slow(array: Any) -> Any:
        import time

        time.sleep(60)
        return array

    arena: Any = session.executors["htex"]._lender._arena  # type: ignore[attr-defined]
    until(lambda: arena.lent <= MB)
    futures = [slow(np.ones(MB)) for _ in range(8)]
    until(lambda: any(future.running() for future in futures))
    cancelled = [future.cancel() for future in reversed(futures)]
    assert all(cancelled)
    futures.clear()
    assert total(ones(1)).result(60) == 1 << 17
    until(lambda: arena.lent <= MB)


def test_errors_reach_the_user(session: shoal.Session) -> None:
    """What cannot be unpickled where it came, or is no value, is said as for small values."""

    class Picky:
        def __init__(self) -> None:
            self.ballast = np.ones(MB)

        def __setstate__(self, state: Any) -> None:
            raise ValueError("not here")

    with pytest.raises(ShoalError, match="not here"):
        same(Picky()).result(30)
    with pytest.raises(AttributeError, match="no attribute 'sum'"):
        total(["x" * MB]).result(30)


def test_a_task_that_kills_its_worker_is_tried_again(own: Callable[..., shoal.Session], tmp_path: Path) -> None:
    """The second attempt reads the same large argument; nobody else is harmed."""
    own()

    @python_app(retries=3)
    def fragile(array: Any, mark: str) -> Any:
        import os
        import signal
        from pathlib import Path

        if not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return array + 1

    made = ones(4)
    futures = [fragile(made, str(tmp_path / f"mark-{n}")) for n in range(3)]
    assert [int(f.result(60).sum()) for f in futures] == [8 << 17] * 3


def test_what_a_dead_worker_never_sent_takes_no_memory(own: Callable[..., shoal.Session]) -> None:
    """Workers that die between putting a large result into their memory and sending it: their files are closed."""
    own(max_workers_per_node=1)

    @python_app
    def cut_off() -> Any:
        import os
        import signal

        import numpy as np

        class Deadly:
            def __reduce__(self) -> Any:
                os.kill(os.getpid(), signal.SIGKILL)
                return (list, ())

        return [np.ones(1 << 20), Deadly()]

    def arenas() -> int:
        found = 0
        for link in Path(f"/proc/{manager.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it comes and goes
                found += "shoal-arena" in os.readlink(link)
        return found

    manager = psutil.Process(pid_of().result(30)).parent()
    assert manager is not None
    assert arenas() == 1
    for _ in range(3):
        with pytest.raises(ShoalError):
            cut_off().result(60)
    held = ones(4)
    assert is_lent(until(lambda: held.done() and held))
    assert pid_of().result(30)
    until(lambda: arenas() == 1)


def test_results_outlive_those_who_made_them(own: Callable[..., shoal.Session]) -> None:
    """A result held by a future is readable when its worker, and then its manager, have been killed; and can be an input."""
    session = own(restarts=0)
    held = [ones(4, n) for n in range(4)]
    for future in held:
        future.exception(30)
    assert is_lent(held[0])
    worker = psutil.Process(pid_of().result(30))
    manager = worker.parent()
    assert manager is not None
    worker.kill()
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert [total(future).result(60) for future in held] == [n * 4 << 17 for n in range(4)]
    manager.kill()
    assert [int(future.result(5)[-1]) for future in held] == list(range(4))
    # Their loans lead nowhere now: another manager's workers get them in the message.
    assert [total(future).result(60) for future in held] == [n * 4 << 17 for n in range(4)]
    assert session.executors["htex"].usable()


def test_nothing_is_lost_where_memory_is_short(own: Callable[..., shoal.Session]) -> None:
    """An arena of a few megabytes: what does not fit travels with the messages."""
    own(shared_memory="4 MB")
    arrays = [np.full(MB // 4, n) for n in range(40)]
    assert [f.result(60) for f in [total(a) for a in arrays]] == [n * MB // 4 for n in range(40)]


def test_without_shared_memory(own: Callable[..., shoal.Session]) -> None:
    """Nothing is lent, either way, and all is as right and private."""
    own(shared_memory=0)
    array = np.ones(MB)
    future = doubled_in_place(array)
    assert future.result(30)[0] == 2
    assert not is_lent(future)
    assert array[0] == 1
    future.result()[:] = 5
    assert total(future).result(30) == 2 * MB


def test_a_limit_on_address_space(own: Callable[..., shoal.Session]) -> None:
    """Workers whose tasks have limited their memory, so that nothing can be mapped, still get and give large values."""
    own(max_workers_per_node=1)

    @python_app
    def limit() -> int:
        import os
        import resource

        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
        return os.getpid()

    limited = limit().result(30)
    assert pid_of().result(30) == limited
    future = doubled_in_place(np.ones(MB))
    assert float(future.result(60).sum()) == 2.0 * MB
    assert not is_lent(future)


# --------------------------------------------------------------------------- what is left behind


def memory_of(process: psutil.Process) -> int:
    """Bytes that it holds, shared memory included."""
    return int(process.memory_info().rss)


def test_memory_does_not_grow(own: Callable[..., shoal.Session]) -> None:
    """Over 2,000 tasks that get and give a megabyte, neither client nor workers hold more than a few of them."""
    own()
    here = psutil.Process()

    def rounds(many: int) -> list[psutil.Process]:
        workers = set()
        array = np.ones(MB // 8)
        for _ in range(many // 20):
            futures = [doubled_in_place(array) for _ in range(20)]
            assert all(f.result(60)[0] == 2 for f in futures)
            workers.add(pid_of().result(30))
        return [psutil.Process(pid) for pid in workers]

    workers = rounds(400)
    before = [memory_of(p) for p in (here, *workers)]
    rounds(1_600)
    after = [memory_of(p) for p in (here, *workers)]
    grown = [b - a for a, b in zip(before, after, strict=True)]
    assert max(grown) < 60 * MB, grown


SCRIPT = """
import os, sys, signal
import numpy as np
import shoal

@shoal.python_app
def same(x):
    return x

if __name__ == "__main__":
    shoal.load(shoal.Config(executors=[shoal.HighThroughputExecutor(max_workers_per_node=1)], run_dir=sys.argv[1]))
    held = [same(np.ones(1 << 17)) for _ in range(5)]
    print([float(f.result().sum()) for f in held])
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["end", "kill"])
def test_nothing_is_left_behind(tmp_path: Path, how: str) -> None:
    """No names in /dev/shm or elsewhere, and not a word at the end, however the client ends."""
    import subprocess

    before = set(os.listdir("/dev/shm"))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "runs"), how],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == (0 if how == "end" else -signal.SIGKILL)
    assert done.stdout.strip() == str([float(1 << 17)] * 5)
    assert done.stderr == ""
    assert {name for name in set(os.listdir("/dev/shm")) - before if "shoal" in name} == set()
