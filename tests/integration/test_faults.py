"""What happens when parts die or misbehave, through the public API, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.errors import (
    NoSession,
    NotPicklable,
    PoolLost,
    PoolNotFound,
    PoolUnreachable,
    ResultUnreadable,
    ShoalError,
    WorkerLost,
    WorkerStartFailed,
)
from tests.integration.conftest import eventually


@pytest.fixture
def session(tmp_path: Path) -> Iterator[shoal.Session]:
    """A pool of two workers of this test's own: the test may kill it."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2)
    loaded = shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path)))
    yield loaded
    shoal.clear()


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs (a zombie does not)."""
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_a_worker_killed_during_a_task_is_named_within_five_seconds(session: shoal.Session) -> None:
    """That attempt ends as WorkerLost with the signal; the other tasks and the pool go on."""
    pid = session.submit(nap, (0,)).result(30)
    victim = session.submit(lambda: (time.sleep(60), 1), label="victim")
    others = [session.submit(nap, (0.2,)) for _ in range(4)]
    assert eventually(victim.running)
    worker = session.view().worker[victim.tid]
    started = time.monotonic()
    os.kill(int(worker.split("/")[-1]), signal.SIGKILL)
    error = victim.exception(30)
    assert time.monotonic() - started < 5
    assert isinstance(error, WorkerLost)
    assert "victim" in str(error)
    assert "SIGKILL" in str(error) or "signal 9" in str(error)
    assert all(isinstance(f.result(30), int) for f in others)
    assert session.submit(nap, (0,)).result(30) > 0
    assert pid > 0


def test_a_lost_attempt_is_retried_where_allowed(session: shoal.Session, tmp_path: Path) -> None:
    """The task that kills its worker once succeeds in its second attempt, and the log has both."""
    mark = tmp_path / "mark"

    def once() -> str:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "second"

    task = session.submit(once, retries=1)
    assert task.result(30) == "second"
    view = session.view()
    assert view.attempts[task.tid] == 2


@pytest.mark.parametrize(
    "end", [lambda: os._exit(3), lambda: sys.exit(4), lambda: os.abort()], ids=["_exit", "exit", "abort"]
)
def test_a_task_that_ends_its_process_is_answered(session: shoal.Session, end: Callable[[], None]) -> None:
    """However it ends, the future gets an error and the next task runs."""
    error = session.submit(end).exception(30)
    assert isinstance(error, WorkerLost | SystemExit | ShoalError)
    assert session.submit(nap, (0,)).result(30) > 0


def test_a_killed_manager_loses_only_what_it_had_begun(session: shoal.Session) -> None:
    """The block is gone: running attempts are named; the pool says that nothing can run, or replaces it."""
    first = session.submit(nap, (0,))
    first.result(30)
    running = session.submit(nap, (60,))
    assert eventually(running.running)
    status = session.executors["htex"].status()
    os.kill(status.managers[0].pid, signal.SIGKILL)
    error = running.exception(15)
    assert isinstance(error, ShoalError)
    later = session.submit(nap, (0,))
    assert later.exception(30) is None or isinstance(later.exception(), ShoalError)


def test_a_killed_pool_is_named_and_leaves_no_process(session: shoal.Session) -> None:
    """What ran gets PoolLost; managers and workers end with their pool, and later tasks run in the next."""
    session.submit(nap, (0,)).result(30)
    running = session.submit(nap, (60,))
    waiting = session.submit(lambda x: x, (running,))
    assert eventually(running.running)
    pool = session.executors["htex"].connection.pid
    processes = family(pool)
    assert len(processes) >= 4
    os.kill(pool, signal.SIGKILL)
    assert isinstance(running.exception(10), PoolLost)
    assert isinstance(waiting.exception(10), shoal.ShoalError)
    assert session.submit(nap, (0,)).result(30) not in [p.pid for p in processes]
    assert eventually(lambda: gone(processes))


def test_clearing_the_session_leaves_no_process(session: shoal.Session) -> None:
    """An embedded pool ends with its session, also while a task runs."""
    session.submit(nap, (0,)).result(30)
    session.submit(nap, (60,))
    processes = family(session.executors["htex"].connection.pid)
    shoal.clear()
    assert eventually(lambda: gone(processes))


@pytest.mark.parametrize("ending", ["", "import os; os.kill(os.getpid(), 9)", "raise SystemExit(3)"])
def test_a_script_that_ends_leaves_no_process(tmp_path: Path, ending: str) -> None:
    """Whether it falls off its end, is killed, or exits with tasks running."""
    script = tmp_path / "script.py"
    script.write_text(
        "import shoal, time, psutil\n"
        "@shoal.python_app\n"
        "def nap(s): time.sleep(s)\n"
        f"session = shoal.load(shoal.Config(run_dir={str(tmp_path)!r}))\n"
        "nap(0).result(); nap(60)\n"
        "print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True)\n"
        f"{ending}\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) >= 3, done.stderr
    assert eventually(lambda: not [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != "zombie"])
    if not ending:
        assert "1 task had not finished" in done.stderr


def test_workers_that_do_not_start_are_reported_with_their_stderr(tmp_path: Path) -> None:
    """Within seconds, with what they wrote; never a silent hang."""
    shoal.clear()
    provider = shoal.LocalProvider(worker_init="echo no licence for this host >&2; exit 7")
    htex = shoal.HighThroughputExecutor(max_workers_per_node=1, provider=provider)
    session = shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path)))
    started = time.monotonic()
    error = session.submit(nap, (0,)).exception(30)
    shoal.clear()
    assert isinstance(error, WorkerStartFailed)
    assert "no licence for this host" in str(error)
    assert time.monotonic() - started < 15


class Unpicklable:
    """Refuses to travel."""

    def __reduce__(self) -> Any:
        raise TypeError("this thing stays here")


class Unreadable:
    """Travels, and cannot be rebuilt where it arrives."""

    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    raise OSError("no such device here")


def test_an_unpicklable_argument_is_named_at_once(session: shoal.Session) -> None:
    """Which argument of which app, its type, the reason; nothing is submitted."""

    def fit(data: Any, model: Any) -> None: ...

    before = session.pending()
    with pytest.raises(NotPicklable, match=r"argument 'model' of fit \(a list\).*stays here"):
        session.submit(fit, (1, [Unpicklable()]))
    assert session.pending() == before


def test_an_unpicklable_captured_variable_is_named(session: shoal.Session) -> None:
    """The variable's name and the function that uses it."""
    lock = threading.Lock()

    def work() -> bool:
        return lock.locked()

    with pytest.raises(NotPicklable, match=r"lock.*work"):
        session.submit(work)


def test_an_unpicklable_result_is_the_task_s_failure(session: shoal.Session) -> None:
    """The message says that it is the result, and of what."""
    error = session.submit(lambda: threading.Lock(), label="make_lock").exception(30)
    assert isinstance(error, NotPicklable)
    assert "result of make_lock" in str(error)


def test_a_result_that_cannot_be_unpickled_harms_nobody_else(session: shoal.Session) -> None:
    """That result() raises ResultUnreadable each time; all else goes on."""
    bad = session.submit(Unreadable)
    good = [session.submit(nap, (0,)) for _ in range(4)]
    with pytest.raises(ResultUnreadable, match="no such device here"):
        bad.result(30)
    with pytest.raises(ResultUnreadable):
        bad.result(30)
    assert all(f.result(30) > 0 for f in good)


def test_an_exception_that_cannot_be_pickled_arrives_as_text(session: shoal.Session) -> None:
    """Its type's name and message are kept."""

    class Odd(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} and {b}")
            self.lock = threading.Lock()

    def work() -> None:
        raise Odd(1, 2)

    error = session.submit(work).exception(30)
    assert "Odd" in type(error).__name__ + str(error)
    assert "1 and 2" in str(error)


def test_a_pool_that_is_not_there_is_named() -> None:
    """With the names of those that are."""
    shoal.clear()
    with pytest.raises(PoolNotFound, match="nowhere"):
        shoal.load(shoal.Config(executors=(shoal.HighThroughputExecutor(pool="nowhere"),)))


def test_a_stopped_pool_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """A pool whose process is stopped (SIGSTOP) makes tasks fail after start_timeout, not hang."""
    from shoal.pool.control import start_pool, stop_pool

    shoal.clear()
    connection = start_pool("frozen-test", shoal.LocalProvider(), 1)
    os.kill(connection.pid, signal.SIGSTOP)
    try:
        htex = shoal.HighThroughputExecutor(pool="frozen-test", start_timeout=1.0)
        session = shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path)))
        error = session.submit(nap, (0,)).exception(15)
        assert isinstance(error, PoolUnreachable)
        assert "frozen-test" in str(error)
    finally:
        os.kill(connection.pid, signal.SIGCONT)
        shoal.clear()
        stop_pool("frozen-test")


def test_a_forked_child_does_not_use_its_parent_s_session(session: shoal.Session) -> None:
    """It is told so, instead of hanging on threads that it does not have."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            session.submit(nap, (0,))
            os.write(write, b"submitted")
        except NoSession:
            os.write(write, b"refused")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"refused"
    assert session.submit(nap, (0,)).result(30) > 0


def test_a_load_cell_heals_after_the_pool_died(tmp_path: Path) -> None:
    """The same configuration gives a new session once the old one's pool is gone for good."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2, restarts=0)
    session = shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path)))
    session.submit(nap, (0,)).result(30)
    os.kill(session.executors["htex"].connection.pid, signal.SIGKILL)
    assert eventually(lambda: not session.usable())
    fresh = shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path)))
    assert fresh is not session
    assert fresh.submit(nap, (0,)).result(30) > 0
    shoal.clear()


def test_a_forked_child_that_closes_leaves_its_parent_alone(session: shoal.Session) -> None:
    """Waiting there is refused, closing does nothing: the pool is the parent's."""
    running = session.submit(nap, (0.5,))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            running.result(5)
        except NoSession:
            code = 0
        session.close()
        shoal.clear()
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert running.result(30) > 0
    assert session.submit(nap, (0,)).result(30) > 0
    assert len(session.view()) == 2


@pytest.mark.parametrize(
    "work",
    [
        "for i in range(30000): s.submit(time.sleep, (0.01,), executors='htex')",
        "s.submit(time.sleep, (60,), executors='threads')",
    ],
    ids=["many on the pool", "a long one on a thread"],
)
def test_a_script_with_work_left_ends_soon(tmp_path: Path, work: str) -> None:
    """It says how much was left, and waits for none of it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import shoal, time\n"
        "ex = [shoal.HighThroughputExecutor(max_workers_per_node=1), shoal.ThreadPoolExecutor()]\n"
        f"s = shoal.load(shoal.Config(executors=ex, run_dir={str(tmp_path)!r}))\n"
        "s.submit(abs, (1,), executors='htex').result()\n"
        f"{work}\n"
        "print(time.time())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert time.time() - float(done.stdout) < 8
    assert "had not finished" in done.stderr
    assert "Traceback" not in done.stderr
