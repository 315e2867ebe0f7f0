"""Managers that have outlived their pool's process, and what becomes of the attempts that they had."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from shoal.dispatch.events import Key
from shoal.node.outliving import Outliving
from shoal.outcome import Payload
from shoal.pool.orphans import Orphans
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Cancel,
    NeedBlob,
    Register,
    Result,
    Results,
    Shutdown,
    Taken,
    Task,
    Welcome,
)


class Poll:
    """Remembers who is called when a process has ended."""

    def __init__(self) -> None:
        self.calls: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, call: Callable[[], None]) -> None:
        self.calls[fd] = call

    def remove(self, fd: int) -> None:
        del self.calls[fd]


def task(tid: int) -> Task:
    return Task(tid, 1, b"code", b"", None, Payload(b""), label="app", client=1)


def result(tid: int) -> Result:
    return Result(1, tid, 1, [Payload(b"value")])


class Scene:
    """Managers with these processes, each of which was sent some attempts."""

    def __init__(self, sent: dict[int, list[int]], alive: list[int], blobs: dict[bytes, bytes] | None = None) -> None:
        self.poll = Poll()
        self.fds = {pid: os.open("/dev/null", os.O_RDONLY) for pid in alive}
        self.said: list[tuple[bytes, Any]] = []
        self.results: list[Result] = []
        self.again: list[int] = []
        self.tasks: dict[Key, tuple[Task, int]] = {
            (1, tid, 1): (task(tid), pid) for pid, tids in sent.items() for tid in tids
        }
        ways = (
            lambda who, message: self.said.append((who, message)),
            self.results.extend,
            lambda tasks: self.again.extend(t.tid for t in tasks),
            (blobs or {}).get,
        )
        pids = {fd: pid for pid, fd in self.fds.items()}
        self.orphans = Orphans("p", pids, self.tasks, self.poll, ways)  # type: ignore[arg-type]
        self.orphans.begin()

    def register(self, pid: int, holds: list[int], identity: bytes = b"") -> bytes:
        identity = identity or str(pid).encode()
        keys = [(1, tid, 1) for tid in holds]
        self.orphans.register(identity, Register(PROTOCOL_VERSION, 0, "h", pid, "3.11", 1, holds=keys))
        return identity

    def ends(self, pid: int) -> None:
        self.poll.calls[self.fds[pid]]()

    def lost(self) -> list[int]:
        return [r.tid for r in self.results if r.failure is not None and r.failure.lost]

    def done(self) -> list[int]:
        return [r.tid for r in self.results if r.failure is None]

    def told(self, identity: bytes) -> list[type]:
        return [type(message) for who, message in self.said if who == identity]


def test_what_a_manager_has_goes_on_and_what_it_has_not_waits_again() -> None:
    """It is told to end once it has nothing left; its results are acknowledged."""
    it = Scene({7: [1, 2, 3]}, [7])
    who = it.register(7, [1])
    assert it.again == [2, 3]
    assert it.told(who) == [Welcome]
    assert it.orphans.take(who, Results([result(1)]))
    assert it.done() == [1]
    assert it.told(who) == [Welcome, Taken, Shutdown]
    assert it.tasks == {}


def test_what_was_with_a_manager_that_is_gone_is_lost_once_all_are_heard() -> None:
    """Not before: another may have it."""
    it = Scene({7: [1], 8: [2], 9: [3]}, [7, 8])
    assert it.lost() == []
    it.register(7, [1])
    assert it.lost() == []
    it.ends(8)
    assert sorted(it.lost()) == [2, 3]
    it.ends(7)
    assert sorted(it.lost()) == [1, 2, 3]
    assert it.tasks == {}


def test_without_any_manager_all_is_lost_at_once() -> None:
    """There is nobody to wait for."""
    assert Scene({7: [1, 2]}, []).lost() == [1, 2]


def test_results_that_are_known_already_are_dropped() -> None:
    """A manager sends again what it does not know to have arrived."""
    it = Scene({7: [1]}, [7])
    who = it.register(7, [1, 5])
    it.orphans.take(who, Results([result(5)]))
    it.orphans.take(who, Results([result(1), result(1)][:1]))
    it.orphans.take(who, Results([result(1)]))
    assert it.done() == [1]
    assert [m.count for _, m in it.said if isinstance(m, Taken)] == [1, 2, 3]


def test_a_manager_that_connects_once_more_is_the_same() -> None:
    """By its process."""
    it = Scene({7: [1]}, [7])
    old = it.register(7, [1])
    new = it.register(7, [1], b"new")
    assert not it.orphans.take(old, Results([result(1)]))
    assert it.orphans.take(new, Results([result(1)]))
    assert it.done() == [1]


def test_strangers_are_sent_away() -> None:
    """Whoever claims to be a manager of before, and is none of those that were found."""
    it = Scene({7: [1]}, [7])
    assert it.told(it.register(99, [1])) == [Shutdown]
    assert not it.orphans.take(b"99", Results([result(1)]))
    assert it.done() == it.lost() == []


def test_cancelling_and_blobs_reach_the_manager_that_has_the_attempt() -> None:
    """What needs a blob that is gone would wait for ever: its manager is ended."""
    it = Scene({7: [1], 8: [2]}, [7, 8], {b"here": b"data"})
    first, second = it.register(7, [1]), it.register(8, [2])
    it.orphans.cancel([(1, 2, 1), (1, 3, 1)])
    it.orphans.take(first, NeedBlob([b"here"]))
    it.orphans.take(second, NeedBlob([b"gone"]))
    assert it.told(first) == [Welcome, Blob]
    assert it.told(second) == [Welcome, Cancel, Shutdown]


def test_what_is_cancelled_before_its_manager_comes_is_ended_when_it_comes() -> None:
    """What runs there is cancelled there; what had not begun ends here, and is not queued again."""
    scene = Scene({7: [1, 2, 3]}, alive=[7])
    scene.orphans.cancel([(1, 1, 1), (1, 2, 1)])
    assert not scene.said
    who = scene.register(7, [1])
    assert (who, Cancel([(1, 1, 1)])) in scene.said
    assert [r.tid for r in scene.results if r.failure is not None] == [2]
    assert scene.again == [3]


def test_a_manager_keeps_results_until_they_are_taken() -> None:
    """Those of the oldest messages go first; with another process of the pool the counting begins anew."""
    kept = Outliving(10.0)
    for tid in range(4):
        kept.sent([result(tid)])
    kept.taken(2)
    kept.taken(1)
    assert [r.tid for results in kept.unread() for r in results] == [2, 3]
    kept.begin(100.0, 1)
    assert not kept.found(1, connected=False, now=101.0)
    assert not kept.given_up(109.0)
    assert kept.found(2, connected=True, now=109.5)
    assert not kept.found(2, connected=True, now=110.0)
    assert not kept.given_up(999.0)
    kept.taken(1)
    assert [r.tid for results in kept.unread() for r in results] == [3]
    assert not kept.found(2, connected=False, now=200.0)
    assert kept.given_up(211.0)
