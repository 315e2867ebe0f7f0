"""The thread that runs jobs."""

from __future__ import annotations

import threading

from shoal.memo.jobs import JobThread


def test_jobs_run_in_their_order_and_close_waits_for_them() -> None:
    """On a thread that is there only once there is something to do."""
    jobs = JobThread("memo-test")
    seen: list[int] = []
    names: set[str] = set()
    assert jobs.close(5)
    jobs = JobThread("memo-test")
    for number in range(1000):
        jobs.put(seen.append, number)
    jobs.put(lambda: names.add(threading.current_thread().name))
    assert jobs.close(30)
    assert seen == list(range(1000))
    assert names == {"memo-test"}
    jobs.put(seen.append, -1)
    assert seen[-1] == 999


def test_a_job_comes_again_and_again_between_others() -> None:
    """Though nothing else is to be done."""
    jobs = JobThread("memo-test")
    came = threading.Semaphore(0)
    jobs.every(0.001, came.release)
    jobs.put(lambda: None)
    for _ in range(3):
        assert came.acquire(timeout=30)
    assert jobs.close(30)


def test_close_does_not_wait_for_ever() -> None:
    """A job that hangs is left behind."""
    jobs = JobThread("memo-test")
    go = threading.Event()
    jobs.put(go.wait)
    assert not jobs.close(0.01)
    go.set()
    assert jobs.close(30)
