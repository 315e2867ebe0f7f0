"""Which worker is interrupted, and when; with workers that are only books."""

from __future__ import annotations

import time

import pytest

from shoal.errors import AppTimeout, WorkerLost
from shoal.node import endings as module
from shoal.node.bench import Bench
from shoal.node.crew import Exit
from shoal.node.endings import CANCELLED, GRACE, Endings
from shoal.outcome import Payload
from shoal.serialize import unpack_failure
from shoal.wire.messages import Task

KEY, OTHER = (1, 7, 1), (1, 8, 1)


def task(key, walltime=0.0):
    return Task(key[1], key[2], b"c", b"", None, Payload(b""), label="work", walltime=walltime, client=key[0])


class FakeWorker:
    def __init__(self) -> None:
        self.index = 0
        self.pid = 4242
        self.flight = {KEY: (task(KEY), 1, 0.0), OTHER: (task(OTHER), 2, 0.0)}
        self.open = {1: 2}
        self.running = None
        self.limit = 0.0
        self.deadline = 0.0
        self.given_at = 100.0
        self.begun_at = 0.0
        self.ending = None
        self.interrupts = []

    def take_back(self):
        return []

    def interrupt(self, ending):
        self.ending = ending
        self.interrupts.append(ending.key)


@pytest.fixture
def worker():
    return FakeWorker()


@pytest.fixture
def endings(worker):
    bench = Bench(1, lambda: None)
    bench.workers[0] = worker
    return Endings(bench, "vm")


def test_what_was_cancelled_is_interrupted_once_it_runs(endings, worker):
    """Before it has begun it is waited for; another one that runs is left alone."""
    endings.cancel({KEY, (1, 99, 1)})
    assert endings.unwanted == {KEY}
    worker.running = OTHER
    endings.look(100.0)
    assert worker.interrupts == []
    assert endings.wait(worker, 100.0) < 0.1
    worker.running = KEY
    endings.look(100.1)
    endings.look(100.2)
    assert worker.interrupts == [KEY]
    assert endings.wait(worker, 100.2) == pytest.approx(GRACE - 0.1)
    failure = endings.failure(worker, task(KEY), Exit(0, 0), "exit code 0")
    assert (failure.type_name, failure.lost) == (CANCELLED, False)
    assert endings.unwanted == set()


def test_an_attempt_that_ends_by_itself_saves_its_worker(endings, worker):
    """Its result was on the way: the worker is not ended by force."""
    endings.cancel({KEY})
    worker.running = KEY
    endings.look(100.0)
    endings.ended(worker, OTHER)
    assert worker.ending is not None
    endings.ended(worker, KEY)
    assert worker.ending is None
    assert endings.unwanted == set()


def test_who_does_not_end_is_ended_with_what_it_has_started(endings, worker, monkeypatch):
    """After the grace the worker and its descendants are killed."""
    killed = []
    monkeypatch.setattr(module.kin, "descendants", lambda pid: [pid + 1])
    monkeypatch.setattr(module.kin, "end", killed.extend)
    endings.cancel({KEY})
    worker.running = KEY
    endings.look(100.0)
    endings.look(100.0 + GRACE / 2)
    assert killed == []
    endings.look(100.0 + GRACE)
    endings.look(100.1 + GRACE)
    assert killed == [4242, 4243]


def test_an_attempt_is_interrupted_at_its_walltime(endings, worker):
    """Counted from its beginning; the failure says how long it was allowed to run, and is no loss."""
    worker.limit = 5.0
    worker.flight[KEY] = (task(KEY, 5.0), 1, 0.0)
    assert endings.wait(worker, 100.0) < 0.1
    worker.running = KEY
    worker.begun_at = time.time() - 1.0
    endings.look(102.0)
    assert worker.deadline == pytest.approx(106.0, abs=0.1)
    assert endings.wait(worker, 102.0) == pytest.approx(4.0, abs=0.1)
    endings.look(105.0)
    assert worker.interrupts == []
    endings.look(106.1)
    assert worker.interrupts == [KEY]
    failure = endings.failure(worker, task(KEY, 5.0), Exit(-9, 0), "signal 9")
    error = unpack_failure(failure)
    assert isinstance(error, AppTimeout)
    assert (error.walltime, error.worker, failure.lost) == (5.0, "vm/4242", False)
    assert "task 7 (work) ran longer than its walltime of 5 s" in str(error)


def test_a_clock_that_was_set_does_not_shorten_a_walltime(endings, worker):
    """An attempt cannot have run for longer than its worker has had it."""
    worker.limit = 5.0
    worker.running = KEY
    worker.begun_at = time.time() - 3600.0
    endings.look(101.0)
    assert worker.deadline == pytest.approx(105.0)
    assert worker.interrupts == []


def test_others_that_a_worker_had_begun_are_lost(endings, worker):
    """Only the attempt that was meant is cancelled; without an interrupt a dead worker is a loss."""
    endings.cancel({KEY})
    worker.running = KEY
    endings.look(100.0)
    failure = endings.failure(worker, task(OTHER), Exit(-9, 0), "signal 9 (SIGKILL)")
    assert failure.lost
    assert isinstance(unpack_failure(failure), WorkerLost)
    assert "SIGKILL" in failure.message


def test_what_comes_back_never_begun_is_known_if_it_was_cancelled(endings):
    """It is not to be handed to another worker."""
    endings.cancel({KEY, OTHER})
    assert endings.unwanted_of([task(OTHER), task((1, 50, 1))]) == {OTHER}
    assert endings.unwanted == {KEY}
