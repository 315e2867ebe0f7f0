"""Tasks that are ended while they run: cancelled, or at their walltime; and what becomes of all that was around them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from shoal.errors import AppTimeout
from shoal.serialize import unpack_failure
from shoal.wire.messages import Cancel, Output, Running, Trouble
from shoal.wire.starting import NodeRules

CANCELLED = "concurrent.futures.CancelledError"


def negate(x):
    return -x


def running(client):
    """The attempts announced as running."""
    return {a.tid: a for m in client.of(Running) for a in m.attempts}


def pid_of(worker):
    return int(worker.rpartition("/")[2])


def cancel(client, *tids):
    client.send(Cancel([(0, tid, 1) for tid in tids]))


def begin(client, function, *args, **options):
    """Submit it, and wait until it has printed something, so that it is in its own code; its tid and its worker's process."""
    (tid,) = client.submit(function, *args, **options)
    client.wait(lambda: tid in running(client) and any(m.tid == tid for m in client.of(Output)))
    return tid, psutil.Process(pid_of(running(client)[tid].worker))


def assert_replaced(pools, client, worker):
    """That worker is gone, and two work on without a word of trouble."""
    assert pools.gone([worker])
    client.wait(lambda: client.status().managers[0].workers == 2)
    assert client.of(Trouble) == []


# --------------------------------------------------------------------------- what tasks do when it comes


def loop(path):
    n = 0
    try:
        print("begun")
        while True:
            n += 1
    finally:
        print("leaving")
        with open(path, "w") as file:
            file.write("tidied up")


def nap(path):
    import time

    try:
        print("begun")
        time.sleep(60)
    finally:
        print("leaving")
        with open(path, "w") as file:
            file.write("tidied up")


def wait_below(path):
    import subprocess

    try:
        print("begun")
        subprocess.run(["sleep", "60"], check=True)
    finally:
        print("leaving")
        with open(path, "w") as file:
            file.write("tidied up")


async def wait_in_loop(path):
    import asyncio

    try:
        print("begun")
        await asyncio.sleep(60)
    finally:
        print("leaving")
        with open(path, "w") as file:  # noqa: ASYNC230
            file.write("tidied up")


@pytest.mark.parametrize("function", [loop, nap, wait_below, wait_in_loop], ids=lambda f: f.__name__)
def test_a_cancelled_task_is_interrupted_and_can_tidy_up(pools, client, tmp_path, function):
    """Its finally blocks run, what they print arrives, and it is answered as cancelled, all at once."""
    path = tmp_path / "mark"
    tid, worker = begin(client, function, str(path))
    begun = time.monotonic()
    cancel(client, tid)
    result = client.result(tid)
    assert time.monotonic() - begun < 1.5, "nobody waited for the end by force"
    assert (result.failure.type_name, result.failure.lost) == (CANCELLED, False)
    assert result.started > 0
    assert path.read_text() == "tidied up"
    assert "".join(m.text for m in client.of(Output)) == "begun\nleaving\n"
    assert_replaced(pools, client, worker)


def in_c():
    print("begun")
    return sum(range(10**12))


def in_c_with_a_child():
    import ctypes

    return ctypes.PyDLL(None).system(b"echo begun; sleep 600")


def holds_on():
    import time

    while True:
        try:
            print("on")
            time.sleep(60)
        except BaseException:
            print("no")


@pytest.mark.parametrize("function", [in_c, in_c_with_a_child, holds_on], ids=lambda f: f.__name__)
def test_who_does_not_end_is_ended_by_force(pools, client, function):
    """In a C call, or holding on to life: it is killed after a moment, with what it has started."""
    tid, worker = begin(client, function)
    below = worker.children(recursive=True)
    cancel(client, tid)
    assert client.result(tid, 6.0).failure.type_name == CANCELLED
    assert pools.gone(below)
    assert_replaced(pools, client, worker)


def test_a_task_that_swallows_the_interrupt_and_returns_is_cancelled(pools, client):
    """What it returns after that is not wanted, and its worker is replaced all the same."""

    def give_in():
        import time

        try:
            print("begun")
            time.sleep(60)
        except BaseException:
            return "a value"

    tid, worker = begin(client, give_in)
    cancel(client, tid)
    assert client.result(tid).failure.type_name == CANCELLED
    assert_replaced(pools, client, worker)


def test_an_interrupt_costs_nobody_else_anything(client):
    """Tasks before, beside and behind the cancelled one end once each, with their values."""

    def maybe(seconds):
        import time

        time.sleep(seconds)
        return "fine"

    client.submit(maybe, 0, count=400)
    client.wait(lambda: len(client.results) == 400)
    for _ in range(3):
        before = client.submit(maybe, 0, count=100)
        (slow,) = client.submit(maybe, 60)
        behind = client.submit(maybe, 0, count=300)
        client.wait(lambda slow=slow: slow in running(client))
        cancel(client, slow)
        assert client.result(slow).failure.type_name == CANCELLED
        assert {client.value(tid) for tid in [*before, *behind]} == {"fine"}
    assert client.of(Trouble) == []


def test_cancelling_what_has_ended_ends_nothing(client):
    """A late cancel, or one of an attempt that nobody knows, leaves all workers alone."""
    tids = client.submit(negate, 1, count=200)
    client.wait(lambda: len(client.results) == 200)
    cancel(client, *tids, 12345)
    again = client.submit(negate, 2, count=200)
    assert {client.value(tid) for tid in again} == {-2}
    assert len({r.worker for r in client.results.values()}) <= 2


def test_a_race_of_cancels_leaves_one_outcome_each(client):
    """Short tasks cancelled just as they run: each has one result, its value or the cancel, and later ones all run."""

    def brief(x):
        import time

        time.sleep(0.003)
        return x

    for _ in range(30):
        tids = client.submit(brief, 1, count=4)
        client.read(0.004)
        cancel(client, *tids)
        client.wait(lambda tids=tids: all(tid in client.results for tid in tids))
    failures = [r.failure.type_name for r in client.results.values() if r.failure is not None]
    assert set(failures) <= {CANCELLED}
    assert client.value(client.submit(brief, 7)[0]) == 7


def test_results_do_not_wait_behind_a_slow_neighbour(client):
    """Results that a worker holds back to send more at once arrive also if the next task takes long after all."""

    def now_and_then(seconds):
        end = __import__("time").monotonic() + seconds
        while __import__("time").monotonic() < end:
            pass

    client.submit(now_and_then, 0, count=400)
    client.wait(lambda: len(client.results) == 400)
    for _ in range(3):
        first = client.submit(now_and_then, 0, count=30)
        (slow,) = client.submit(now_and_then, 20)
        client.wait(lambda first=first: all(tid in client.results for tid in first), 3.0)
        assert slow not in client.results
        cancel(client, slow)
        client.result(slow)


# --------------------------------------------------------------------------- walltime


@pytest.mark.parametrize("function", [in_c, loop, in_c_with_a_child], ids=lambda f: f.__name__)
def test_a_task_ends_at_its_walltime(client, tmp_path, function):
    """In Python at once, in C a moment later: AppTimeout with the task, the seconds and the worker; its own failure, no loss."""
    args = (str(tmp_path / "mark"),) if function is loop else ()
    (tid,) = client.submit(function, *args, walltime=0.4)
    result = client.result(tid, 8.0)
    error = unpack_failure(result.failure)
    assert isinstance(error, AppTimeout)
    assert isinstance(error, TimeoutError)
    assert (error.walltime, error.worker, result.failure.lost) == (0.4, result.worker, False)
    assert function.__name__ in str(error)
    assert 0.4 <= result.ended - result.started < (1.5 if function is loop else 5.0)
    assert client.value(client.submit(negate, 1)[0]) == -1
    assert client.of(Trouble) == []


def test_tasks_within_their_walltime_notice_nothing(client):
    """Hundreds of short ones with a walltime end with their values on the same two workers."""
    tids = client.submit(negate, 3, count=300, walltime=5.0)
    client.wait(lambda: len(client.results) == 300)
    assert {client.value(tid) for tid in tids} == {-3}
    assert len({r.worker for r in client.results.values()}) == 2


# --------------------------------------------------------------------------- many calls in one task


def test_each_item_has_its_own_value_or_failure(client):
    """A function that is called for each item: failures, also those that would end a process, leave the others alone."""

    def check(x, plus=0):
        import sys

        if x == 2:
            sys.exit(3)
        if x == 3:
            raise KeyError("three")
        return x + plus

    (tid,) = client.submit(check, [(n,) for n in range(5)], each=True, outputs=[str(n) for n in range(5)])
    result = client.result(tid)
    assert result.failure is None
    assert [client.part(tid, n) for n in (0, 1, 4)] == [0, 1, 4]
    assert {index: failure.type_name for index, failure in result.flaws} == {2: "SystemExit", 3: "KeyError"}
    assert len(result.values) == 5
    assert client.value(client.submit(negate, 1)[0]) == -1


def test_a_value_among_many_that_cannot_travel_is_that_items_failure(client):
    """It is named by its place; async functions are run for each item."""

    async def make(kind):
        import threading

        return threading.Lock() if kind else "fine"

    (tid,) = client.submit(make, [(0,), (1,), (0,)], each=True, outputs=["0", "1", "2"])
    result = client.result(tid)
    assert [client.part(tid, n) for n in (0, 2)] == ["fine", "fine"]
    ((index, failure),) = result.flaws
    assert (index, "result 1 of make" in failure.message) == (1, True)


def test_an_interrupt_ends_all_the_calls_of_a_task(client):
    """The attempt as a whole is cancelled, whatever the item at hand makes of it."""

    def stubborn(seconds):
        import time

        try:
            print("begun", seconds)
            time.sleep(seconds)
        except BaseException:
            return "went on"

    tid, _ = begin(client, stubborn, [(0,), (60,), (60,)], each=True, outputs=["0", "1", "2"])
    client.wait(lambda: any("begun 60" in m.text for m in client.of(Output)))
    cancel(client, tid)
    result = client.result(tid)
    assert (result.failure.type_name, result.values) == (CANCELLED, [])


def test_a_child_forked_by_one_item_does_not_run_the_others(client, tmp_path):
    """A task that forks in one call and lets the child return: each item runs once."""

    def split(n, folder):
        import os

        if n == 1:
            child = os.fork()
            if child == 0:
                return "child"
            os.waitpid(child, 0)
        with open(f"{folder}/{n}", "a") as file:
            file.write("x")
        return n

    (tid,) = client.submit(split, [(n, str(tmp_path)) for n in range(3)], each=True, outputs=["0", "1", "2"])
    client.result(tid)
    assert [client.part(tid, n) for n in range(3)] == [0, 1, 2]
    assert [(tmp_path / str(n)).read_text() for n in range(3)] == ["x"] * 3


# --------------------------------------------------------------------------- no orphans


def leave(path):
    """Start a process in a session of its own, and another one that nobody is the parent of; then go on for long."""
    import subprocess
    import time

    print("begun")
    first = subprocess.Popen(["sleep", "600"], start_new_session=True)
    second = subprocess.run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True)
    with open(path, "w") as file:
        file.write(f"{first.pid} {int(second.stdout)}")
    time.sleep(600)


def left(client, path):
    """The task, its worker, and what it has left behind."""
    tid, worker = begin(client, leave, str(path))
    client.wait(path.exists)
    return tid, worker, [psutil.Process(int(word)) for word in path.read_text().split()]


def test_what_a_cancelled_task_has_started_ends_with_it(pools, client, tmp_path):
    """Also in sessions of their own; what another worker's task has started lives on."""
    tid, worker, processes = left(client, tmp_path / "one")
    other, _, others = left(client, tmp_path / "two")
    cancel(client, tid)
    client.result(tid)
    assert pools.gone([worker, *processes])
    assert all(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in others)
    cancel(client, other)
    assert pools.gone(others)


def test_what_a_killed_worker_has_started_ends_with_it(pools, client, tmp_path):
    """A worker that dies for whatever reason leaves nothing behind."""
    _, worker, processes = left(client, tmp_path / "one")
    worker.kill()
    assert pools.gone(processes)


@pytest.mark.parametrize(
    "how", ["the pool ends", "the pool is killed", "the manager is asked to end", "the manager is killed"]
)
def test_what_tasks_have_started_ends_with_the_block(pools, tmp_path, how):
    """In whichever way the pool goes; a manager that is asked to end gives them the time that it has."""
    client = pools.start(rules=NodeRules(drain_before=0.5, grace=0.5))
    _, worker, processes = left(client, tmp_path / "one")
    if how == "the pool ends":
        pools.stop(client)
    elif how == "the pool is killed":
        os.kill(client.connection.pid, signal.SIGKILL)
        pools.forget(client)
        Path(client.connection.sockets, "clients").unlink(missing_ok=True)
    else:
        end = signal.SIGKILL if how == "the manager is killed" else signal.SIGTERM
        pools.roles(client)["shoal.node.manager"][0].send_signal(end)
    assert pools.gone([worker, *processes])
