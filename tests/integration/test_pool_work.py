"""What a pool does with tasks, seen from a bare client."""

from __future__ import annotations

import time

import pytest

from shoal.errors import TaskError
from shoal.wire.frames import OUTSIDE, Outside
from shoal.wire.messages import Blob, Cancel, NeedBlob, Output, Results, Running, Task, Tasks, Welcome


def negate(x):
    return -x


def nap(seconds):
    import time

    time.sleep(seconds)
    return "rested"


def test_a_thousand_tasks_end_once_each(client):
    """A client may send before it is welcome; each task gets one result, on one of two workers."""
    tids = client.submit(negate, 7, count=1000)
    client.wait(lambda: len(client.results) == 1000)
    assert {client.value(tid) for tid in tids} == {-7}
    assert len({r.worker for r in client.results.values()}) == 2
    assert [type(m) for m in client.inbox[:1]] == [Welcome]
    assert client.status().done == 1000


def test_large_values_travel_both_ways_and_arrive_writable(client):
    """Five megabytes go there and back through frames of their own; what arrives can be written to, here and there."""
    import numpy as np

    def double(array):
        array[0] = 100.0  # a task's argument is its own
        return array * 2

    given = np.arange(655_360, dtype="f8")
    (tid,) = client.submit(double, given)
    got = client.value(tid)
    assert got.nbytes == 5 << 20
    assert (got[0], got[1], got[-1]) == (200.0, 2.0, 2 * 655_359)
    assert given[0] == 0.0
    client.submit(double, got)


def test_failures_say_what_happened_on_the_worker(client):
    """An exception arrives as itself, with the remote lines; even one that would end a process."""

    def fail(kind):
        import sys

        if kind == "exit":
            sys.exit(3)
        if kind == "interrupt":
            raise KeyboardInterrupt
        return {}[kind]

    (key,), (leave,), (stop,) = client.submit(fail, "no"), client.submit(fail, "exit"), client.submit(fail, "interrupt")
    with pytest.raises(KeyError, match="no"):
        client.value(key)
    failure = client.result(key).failure
    assert "return {}[kind]" in failure.traceback
    assert not failure.lost
    assert client.result(leave).failure.type_name == "SystemExit"
    assert client.result(stop).failure.type_name == "KeyboardInterrupt"
    assert client.value(client.submit(negate, 1)[0]) == -1


def test_several_outputs_come_back_by_name(client):
    """A task with named outputs returns a mapping; each is a value of its own, and a missing one is named."""

    def split(names):
        return dict.fromkeys(names, 1)

    (good,), (short,), (wrong,) = (
        client.submit(split, ["a", "b"], outputs=["b", "a"]),
        client.submit(split, ["a"], outputs=["a", "b"]),
        client.submit(negate, 1, outputs=["a"]),
    )
    assert len(client.result(good).values) == 2
    with pytest.raises(TaskError, match="no value for its output b"):
        client.value(short)
    with pytest.raises(TaskError, match="mapping"):
        client.value(wrong)


def test_a_result_that_cannot_travel_is_a_failure_that_says_so(client):
    """A lock cannot be pickled: the task fails, naming that, and the worker goes on."""

    def lock():
        import threading

        return threading.Lock()

    (tid,) = client.submit(lock)
    with pytest.raises(TypeError, match="the result of lock"):
        client.value(tid)


def test_coroutines_are_run(client):
    """An async function is run to its end on the worker."""

    async def later(x):
        import asyncio

        await asyncio.sleep(0.01)
        return x + 1

    assert client.value(client.submit(later, 1)[0]) == 2


def test_what_a_task_prints_arrives_while_it_runs(client):
    """Lines arrive before the task ends, from both streams, and never after its result."""

    def talk():
        import sys
        import time

        print("one")
        print("oops", file=sys.stderr)
        print("half", end="", flush=True)
        time.sleep(1.0)
        sys.stdout.buffer.write(b" bytes")
        print(" rest")

    (tid,) = client.submit(talk)
    client.wait(lambda: any("half" in m.text for m in client.of(Output)))
    assert tid not in client.results
    client.value(tid)
    texts = {s: "".join(m.text for m in client.of(Output) if m.stream == s) for s in ("stdout", "stderr")}
    assert texts == {"stdout": "one\nhalf bytes rest\n", "stderr": "oops\n"}
    last = max(i for i, m in enumerate(client.inbox) if isinstance(m, Output))
    first = min(i for i, m in enumerate(client.inbox) if isinstance(m, Results))
    assert last < first


def test_a_flood_of_output_is_cut(client):
    """A task that prints megabytes is cut after one, with a note, and still ends."""

    def flood():
        for _ in range(300):
            print("x" * 9999)

    (tid,) = client.submit(flood)
    client.value(tid)
    text = "".join(m.text for m in client.of(Output))
    assert 1 << 20 <= len(text) < (1 << 20) + 200
    assert "is cut here" in text[-100:]


def test_long_tasks_are_announced_once(client):
    """An attempt that runs for more than a moment is announced, with its worker; short ones are not."""
    client.submit(negate, 1, count=500)
    client.wait(lambda: len(client.results) == 500)
    (long,) = client.submit(nap, 0.4)
    client.value(long)
    announced = [a for m in client.of(Running) for a in m.attempts]
    assert [a.tid for a in announced].count(long) == 1
    assert announced[-1].worker == client.results[long].worker
    assert announced[-1].started == pytest.approx(client.results[long].started)
    # On a busy machine a short one may have been held up, but hardly more than one.
    assert len(announced) < 5


def test_a_change_of_directory_does_not_outlive_its_task(client):
    """The next task starts in the pool's working directory again, also when the other directory is gone."""

    def wander():
        import os
        import tempfile

        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
        return before

    seen = {client.value(tid) for tid in client.submit(wander, count=6)}
    assert len(seen) == 1


def test_tasks_have_the_limits_of_their_environment(client):
    """A manager lets itself open more files; what its tasks may open is what the client's side may."""
    import resource

    def limit():
        import resource

        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert client.value(client.submit(limit)[0]) == resource.getrlimit(resource.RLIMIT_NOFILE)


def test_waiting_tasks_can_be_cancelled(client):
    """What has not begun is dropped and answered as cancelled, in the pool and on the node; all else runs on."""
    running = client.submit(nap, 0.5, count=2)
    client.wait(lambda: len([a for m in client.of(Running) for a in m.attempts]) == 2)
    waiting = client.submit(nap, 0.5, count=3)
    client.send(Cancel([(0, tid, 1) for tid in waiting]))
    for tid in waiting:
        assert client.result(tid, 0.4).failure.type_name == "concurrent.futures.CancelledError"
    assert [client.value(tid) for tid in running] == ["rested"] * 2


def test_a_missing_blob_is_asked_for(client):
    """A task whose code the pool does not have waits until its client has sent it."""
    from shoal.serialize import FunctionImage, pack_call

    image = FunctionImage(negate).snapshot()
    body, _ = pack_call((5,), {}, "negate")
    client.send(Tasks([Task(0, 1, image.code, b"", image.captures_blob or None, body)]))
    client.wait(lambda: client.of(NeedBlob))
    assert client.of(NeedBlob) == [NeedBlob([image.code])]
    client.send(Blob(image.code, image.code_blob))
    assert client.value(0) == -5


@pytest.mark.parametrize("size", [1000, 100_000])
def test_captures_travel_by_digest(client, size):
    """Large captured values are sent once as a blob, inline or in a frame of its own, and each task gets them."""
    from shoal.serialize import FunctionImage, pack_call

    table = {"rows": list(range(size))}

    def rows():
        return len(table["rows"])

    image = FunctionImage(rows).snapshot()
    client.send(Blob(image.code, image.code_blob))
    blob = image.captures_blob
    client.send(Blob(image.captures, Outside(blob) if len(blob) >= OUTSIDE else blob))
    body, _ = pack_call((), {}, "rows")
    client.send(Tasks([Task(tid, 1, image.code, image.captures, None, body) for tid in range(200)]))
    assert {client.value(tid) for tid in range(200)} == {size}


def test_short_tasks_do_not_wait_behind_a_slow_one_of_the_same_function(client):
    """If one call of a fast function is slow, what was queued behind it on its worker runs on the other one."""

    def now_and_then(seconds):
        import time

        if seconds:
            time.sleep(seconds)

    warm = client.submit(now_and_then, 0, count=200)
    client.wait(lambda: len(client.results) == len(warm))
    begun = time.monotonic()
    (slow,) = client.submit(now_and_then, 3.0)
    fast = client.submit(now_and_then, 0, count=500)
    # What shares a packet with the slow one stays with it; all else is done at once.
    client.wait(lambda: sum(tid in client.results for tid in fast) >= 400, 2.0)
    assert time.monotonic() - begun < 2.0
    assert slow not in client.results


def test_two_clients_share_fairly(pools, client):
    """A few tasks of a second client do not wait behind hundreds of a first one."""
    other = pools.client(client.connection)
    client.submit(nap, 0.05, count=100)
    client.wait(lambda: len(client.results) >= 2)
    tids = other.submit(nap, 0.05, count=6)
    other.wait(lambda: len(other.results) == 6, 3.0)
    assert [other.value(tid) for tid in tids] == ["rested"] * 6
    client.read(0)
    assert len(client.results) < 40


def test_tasks_of_several_cores_take_several_slots(client):
    """Two tasks of two cores on two slots run one after the other."""
    tids = client.submit(nap, 0.2, count=2, cores=2.0)
    client.wait(lambda: len(client.results) == 2)
    first, second = sorted((client.results[tid] for tid in tids), key=lambda r: r.started)
    assert second.started >= first.ended


def test_a_task_too_large_for_the_pool_fails_at_once(client):
    """More cores than any manager of the pool has is a mistake that is named."""
    (tid,) = client.submit(negate, 1, cores=64.0)
    with pytest.raises(ValueError, match="at most 2 cores"):
        client.value(tid)
