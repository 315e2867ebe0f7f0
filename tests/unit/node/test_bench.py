"""Which worker gets what, and when; with workers that are only books."""

from __future__ import annotations

import pytest

from shoal.node.bench import DEEP, PACKET_TASKS, QUEUED_WORK, STALLED_AFTER, Bench
from shoal.outcome import Payload
from shoal.wire.messages import Result, Task

CODE = b"c" * 16


class FakeWorker:
    """A worker's book-keeping without a process; packets stay in ``unread`` until the test reads them."""

    def __init__(self, index: int) -> None:
        self.index = self.pid = index
        self.ready = False
        self.special = self.last = self.retired = False
        self.left = 0
        self.grant = None
        self.devices = ()
        self.equipped = []
        self.cores = 0
        self.load = 0.0
        self.steady = False
        self.flight = {}
        self.open = {}
        self.known = set()
        self.seen_mark = 0
        self.seen_at = 0.0
        self.mark = 0
        self.unread = []
        self.blobs = []
        self.full = False

    def send(self, codec, message):
        if self.full:
            raise BlockingIOError
        self.blobs.append(message.digest)
        self.known.add(message.digest)

    def equip(self, grant, outfit):
        self.grant = grant
        self.devices = self.devices or grant.devices
        self.equipped.append(grant)

    def give(self, codec, tasks, loads):
        if self.full:
            raise BlockingIOError
        number = len(self.unread) + 1
        self.unread.append(tasks)
        self.open[number] = len(tasks)
        for task, load in zip(tasks, loads, strict=True):
            self.flight[task.client, task.tid, task.attempt] = (task, number, load)
            self.load += load

    def ended(self, key):
        found = self.flight.pop(key, None)
        if found is None:
            return None
        self.load -= found[2]
        self.open[found[1]] -= 1
        if not self.open[found[1]]:
            del self.open[found[1]]
        return found[0], found[2]

    def take_back(self):
        """All packets but the first, which the worker has received."""
        back = [task for packet in self.unread[1:] for task in packet]
        del self.unread[1:]
        for task in back:
            self.ended((task.client, task.tid, task.attempt))
        return back

    def not_begun(self):
        return []


def task(tid: int, *, code: bytes = CODE, client: int = 1, **needs: float) -> Task:
    return Task(tid, 1, code, b"", None, Payload(b""), client=client, **needs)


def finish(bench: Bench, worker: FakeWorker, tid: int, seconds: float) -> None:
    assert bench.ended(worker, Result(1, tid, 1, [Payload(b"")], None, "w", 1.0, 1.0 + seconds))
    worker.unread.clear()


def tids(worker: FakeWorker) -> list[list[int]]:
    return [[t.tid for t in packet] for packet in worker.unread]


class Desk:
    def __init__(self, slots: int) -> None:
        self.deepened = 0
        self.bench = Bench(slots, self.deepen)
        self.workers = [FakeWorker(i) for i in range(slots)]
        for worker in self.workers:
            self.bench.add(worker)
            self.bench.ready(worker)
        self.bench.blob(CODE, b"code")

    def deepen(self) -> None:
        self.deepened += 1

    def give(self, *tasks: Task) -> None:
        self.bench.queue.extend(tasks)
        self.bench.hand_out()

    def teach(self, seconds: float) -> None:
        """Let it see how long the function takes."""
        self.give(task(10_000))
        worker = next(w for w in self.workers if w.flight)
        finish(self.bench, worker, 10_000, seconds)
        self.deepened = 0


@pytest.fixture
def desk() -> Desk:
    return Desk(2)


def test_an_unknown_function_goes_one_to_a_worker(desk):
    """Nobody waits behind an attempt of unknown length: one each, in order, the rest stays."""
    desk.give(*[task(i) for i in range(5)])
    assert sorted(packet for w in desk.workers for packet in tids(w)) == [[0], [1]]
    assert [t.tid for t in desk.bench.queue] == [2, 3, 4]
    assert desk.deepened == 0


def test_very_short_ones_share_packets_and_both_workers_get_some(desk):
    """Attempts known to be very short go many in a packet, evenly, up to a bound of work; the pool is told before."""
    desk.teach(1e-6)
    desk.give(*[task(i) for i in range(10)])
    assert sorted(len(packet) for w in desk.workers for packet in w.unread) == [5, 5]
    assert desk.deepened == 1
    desk.give(*[task(i) for i in range(10, 10_000)])
    for worker in desk.workers:
        assert all(len(packet) <= PACKET_TASKS for packet in worker.unread)
        assert worker.load <= 2 * QUEUED_WORK
        assert len(worker.flight) <= DEEP
    assert desk.bench.queue


def test_short_ones_wait_behind_others_singly(desk):
    """Attempts that are short but not tiny go one in a packet, and a few may wait in a worker's link."""
    desk.teach(0.0005)
    desk.give(*[task(i) for i in range(100)])
    for worker in desk.workers:
        assert 2 <= len(worker.unread) <= 20
        assert all(len(packet) == 1 for packet in worker.unread)


def test_nothing_short_waits_behind_something_long(desk):
    """A worker with an attempt of unknown length gets nothing more."""
    desk.teach(1e-6)
    desk.bench.blob(b"l" * 16, b"")
    desk.give(task(0, code=b"l" * 16), task(1, code=b"l" * 16))
    desk.give(*[task(i) for i in range(2, 50)])
    assert len(desk.bench.queue) == 48


def test_a_busy_worker_that_stalls_is_named_also_if_nobody_else_is_idle(desk):
    """It may hold results back; what waits there stays, since nobody could take it."""
    desk.teach(0.0005)
    desk.give(*[task(i) for i in range(100)])
    for worker in desk.workers:
        worker.mark = 1
    waiting = [len(w.unread) for w in desk.workers]
    assert desk.bench.stalled(1.0) == []
    assert desk.bench.stalled(1.0 + 2 * STALLED_AFTER) == desk.workers
    assert [len(w.unread) for w in desk.workers] == waiting


def test_an_attempt_with_a_walltime_is_alone_with_its_worker(desk):
    """However short its function is known to be: it shares no packet, waits behind nothing, and nothing behind it."""
    desk.teach(1e-6)
    desk.give(*[task(i, walltime=1.0) for i in range(2)], *[task(i) for i in range(2, 50)])
    assert sorted(packet for w in desk.workers for packet in tids(w)) == [[0], [1]]
    assert len(desk.bench.queue) == 48


def test_what_waits_behind_a_stalled_one_is_taken_back(desk):
    """If a worker makes no progress while another is idle, its unread packets go to the idle one, in order."""
    desk.teach(0.0005)
    slow = desk.workers[1]
    desk.give(task(0))
    busy = next(w for w in desk.workers if w.flight)
    idle = next(w for w in desk.workers if not w.flight)
    desk.give(*[task(i) for i in range(1, 7)])
    while idle.flight:
        finish(desk.bench, idle, next(iter(idle.flight))[1], 0.0005)
    busy.mark = 1
    assert desk.bench.stalled(1.0) == []
    assert desk.bench.stalled(1.0 + STALLED_AFTER / 2) == []
    assert len(busy.unread) > 1
    waiting = [t.tid for packet in busy.unread[1:] for t in packet]
    assert desk.bench.stalled(1.0 + 2 * STALLED_AFTER) == [busy]
    assert [t.tid for t in desk.bench.queue] == waiting
    desk.bench.hand_out()
    assert tids(idle)[0][0] == waiting[0]
    assert slow in desk.workers


def test_cores_bound_what_runs_at_once():
    """An attempt of three cores holds three of four slots; the next of two waits, and nothing overtakes it."""
    desk = Desk(4)
    desk.give(task(0, cores=3.0), task(1, cores=2.0), task(2))
    assert [t.tid for t in desk.bench.queue] == [1, 2]
    worker = next(w for w in desk.workers if w.flight)
    finish(desk.bench, worker, 0, 1.0)
    desk.bench.hand_out()
    assert not desk.bench.queue


def test_attempts_wait_for_their_blob(desk):
    """Without its code an attempt is set aside, asked for once, and first in line when the code comes."""
    other = b"o" * 16
    desk.give(task(0, code=other), task(1, code=other), task(2))
    assert desk.bench.missing == [other]
    assert [packet for w in desk.workers for packet in tids(w)] == [[2]]
    desk.bench.blob(other, b"x")
    assert [t.tid for t in desk.bench.queue] == [0, 1]


def test_a_blob_goes_to_a_worker_once(desk):
    """Each worker gets the code before its first task, and not again."""
    desk.give(task(0), task(1))
    for worker in desk.workers:
        finish(desk.bench, worker, next(iter(worker.flight))[1], 1.0)
    desk.give(task(2), task(3))
    assert [w.blobs for w in desk.workers] == [[CODE], [CODE]]


def test_a_full_link_keeps_the_attempt(desk):
    """If a worker's link has no room, its attempts stay in line, and are handed out once there is."""
    for worker in desk.workers:
        worker.full = True
    desk.give(task(0))
    assert [t.tid for t in desk.bench.queue] == [0]
    for worker in desk.workers:
        worker.full = False
    desk.bench.hand_out()
    assert not desk.bench.queue


def test_a_lost_worker_keeps_what_it_had_begun_and_gives_the_rest_back(desk):
    """What a dead worker never received goes to the head of the line; what it received is reported as begun."""
    desk.teach(0.0005)
    desk.give(*[task(i) for i in range(100)])
    worker = desk.workers[0]
    received = [t.tid for t in worker.unread[0]]
    waiting = [t.tid for packet in worker.unread[1:] for t in packet]
    begun, back = desk.bench.remove(worker)
    assert [t.tid for t in begun] == received
    assert [t.tid for t in back] == waiting
    assert [t.tid for t in desk.bench.queue][: len(waiting)] == waiting
    assert desk.bench.busy_cores == 1


def test_dropping_takes_only_what_has_not_begun(desk):
    """Cancelling names attempts, or a client; what is with a worker and begun stays."""
    desk.give(*[task(i) for i in range(4)], task(9, client=2))
    dropped = desk.bench.drop({(1, 0, 1), (1, 2, 1)})
    assert [t.tid for t in dropped] == [2]
    assert [t.tid for t in desk.bench.drop(client=2)] == [9]
    assert [t.tid for t in desk.bench.queue] == [3]


def test_giving_up_returns_all_that_has_not_begun(desk):
    """On recall everything but what workers have begun is given back, blobs or not."""
    desk.give(*[task(i) for i in range(4)], task(5, code=b"?" * 16))
    assert sorted(desk.bench.give_up()) == [(1, 2, 1), (1, 3, 1), (1, 5, 1)]
    assert not desk.bench.queue
