"""What a pool writes down for the case that it is killed: the ledger, the marks, the managers' last words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.dispatch.events import (
    AttemptsEnded,
    ClientJoined,
    Key,
    ManagerHeard,
    ManagerRegistered,
    TasksSubmitted,
    ToClient,
    ToManager,
)
from shoal.dispatch.failures import manager_lost
from shoal.dispatch.machine import Dispatcher
from shoal.node.word import leave_word
from shoal.outcome import Payload
from shoal.pool.ledger import Ledger, read_ledger
from shoal.pool.marks import Marks, read_marks
from shoal.pool.remains import take_words
from shoal.pool.sessions import Bounds, Sessions
from shoal.wire.messages import Blob, Result, Results, Task, Tasks
from shoal.wire.starting import Address, ManagerSpec


def task(tid: int, attempt: int = 1, body: bytes = b"body") -> Task:
    return Task(tid, attempt, b"code", b"", None, Payload(body), label=f"app{tid}")


def result(tid: int, value: bytes = b"value", client: int = 1) -> Result:
    return Result(client, tid, 1, [Payload(value)], started=1.0, ended=100.0)


class Shell:
    """A dispatch machine with its sessions and their ledger, as a pool has them."""

    def __init__(self, path: Path, bounds: Bounds | None = None) -> None:
        self.path = path
        self.errors: list[OSError] = []
        self.machine = Dispatcher((1, 0, 0))
        self.ledger = Ledger(path, self.errors.append)
        self.sessions = Sessions(self.machine, self.ledger, bounds or Bounds(1 << 30, 3600.0))
        self.now = 0.0

    def begin(self, unbegun: set[Key] | None = None) -> Shell:
        past = read_ledger(self.path)
        events = self.sessions.restore(past, unbegun or set(), 0.0) if past is not None else []
        self.ledger.begin()
        self.tell(*events)
        limbo = self.sessions.limbo
        for client in {key[0] for key in limbo}:  # nothing is left of the process before
            lost = [
                Result(*key, [], manager_lost(limbo.pop(key)[0], "m", "killed"))
                for key in list(limbo)
                if key[0] == client
            ]
            self.sessions.before([ToClient(client, Results(lost))])
        return self

    def tell(self, *events: Any) -> list[Any]:
        commands = self.machine.handle_all(events, self.now)
        self.sessions.before(commands)
        return commands

    def open(self, session: str = "s", client: int = 1) -> Shell:
        self.sessions.open(client, session, "a test")
        self.tell(ClientJoined(client))
        return self

    def submit(self, *tids: int, client: int = 1) -> None:
        self.sessions.blob(Blob(b"code", b"the code"))
        self.machine.blobs.add(b"code", b"the code")
        self.tell(TasksSubmitted(client, self.sessions.accept(client, [task(tid) for tid in tids])))

    def manager(self, slots: int = 1, number: int = 1) -> list[int]:
        """A manager comes; returns the tasks that it gets."""
        commands = self.tell(ManagerRegistered(number, 0, slots, "m"), ManagerHeard(number, slots))
        return [
            t.tid
            for c in commands
            if isinstance(c, ToManager) and isinstance(c.message, Tasks)
            for t in c.message.tasks
        ]

    def end(self, *results: Result) -> list[Any]:
        return self.tell(AttemptsEnded(1, list(results)))

    def states(self, session: str = "s") -> dict[int, str]:
        return {held.tid: held.state for held in self.sessions.held(self.sessions.find(session)).tasks}

    def batches(self, session: str = "s") -> list[Result]:
        kept = self.sessions.find(session)
        assert kept is not None
        return [r for results in self.sessions.resume(kept, "again") for r in results.results]


def test_a_new_process_knows_what_the_last_one_had(tmp_path: Path) -> None:
    """Waiting attempts wait, those at managers are lost by name, results that nobody took are there."""
    first = Shell(tmp_path / "ledger").begin().open()
    first.submit(1, 2, 3)
    assert first.manager() == [1]
    first.end(result(1))
    second = Shell(tmp_path / "ledger").begin()
    assert second.states() == {1: "done", 2: "done", 3: "waiting"}
    done, lost = second.batches()
    assert (done.tid, bytes(done.values[0].head)) == (1, b"value")
    assert lost.tid == 2
    assert lost.failure is not None
    assert lost.failure.lost
    assert "killed" in lost.failure.message
    assert second.manager() == [3]


def test_what_a_manager_had_not_begun_waits_again(tmp_path: Path) -> None:
    """Its last word says so."""
    first = Shell(tmp_path / "ledger").begin().open()
    first.submit(1, 2)
    assert first.manager(slots=2) == [1, 2]
    second = Shell(tmp_path / "ledger").begin(unbegun={(1, 2, 1)})
    assert second.states() == {1: "done", 2: "waiting"}


def test_results_that_were_taken_are_forgotten(tmp_path: Path) -> None:
    """By the oldest messages first; the attempts are unknown then, and may come again as new ones."""
    first = Shell(tmp_path / "ledger").begin().open()
    first.submit(1, 2)
    assert first.manager(slots=2) == [1, 2]
    first.end(result(1))
    first.end(result(2))
    first.sessions.taken(1, 1)
    first.sessions.taken(1, 1)  # the same again
    first.tell()
    assert first.states() == {2: "done"}
    second = Shell(tmp_path / "ledger").begin()
    assert [r.tid for r in second.batches()] == [2]
    second.sessions.taken(1, 99)
    assert second.states() == {}


def test_the_same_attempt_is_accepted_once(tmp_path: Path) -> None:
    """A client that comes back may send again what has arrived."""
    shell = Shell(tmp_path / "ledger").begin().open()
    assert [t.tid for t in shell.sessions.accept(1, [task(1), task(2)])] == [1, 2]
    assert [t.tid for t in shell.sessions.accept(1, [task(2), task(3), task(2, 2)])] == [3, 2]
    assert [t.tid for t in shell.sessions.accept(7, [task(2)])] == [2]  # a client that gave no session


def test_a_session_that_ends_leaves_nothing(tmp_path: Path) -> None:
    """Neither here nor in the ledger."""
    first = Shell(tmp_path / "ledger").begin().open().open("other", 2)
    first.submit(1)
    first.submit(5, client=2)
    first.sessions.end(1)
    first.tell()
    second = Shell(tmp_path / "ledger").begin()
    assert second.sessions.find("s") is None
    assert second.states("other") == {5: "waiting"}


def test_a_ledger_that_is_cut_off_anywhere_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """The process may have been killed while it wrote: what it had accepted before is there."""
    path = tmp_path / "ledger"
    shell = Shell(path).begin().open()
    sizes = []
    for tid in range(1, 4):
        shell.submit(tid)
        sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    for length in range(sizes[0], len(whole)):
        path.write_bytes(whole[:length])
        past = read_ledger(path)
        assert past is not None
        assert len(past.sessions[1].tasks) == sum(size <= length for size in sizes)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    past = read_ledger(path)
    assert past is not None
    assert len(past.sessions[1].tasks) == 2


@pytest.mark.parametrize("content", [b"", b"nonsense", b"SHOALLG", b"SHOALLG2" + bytes(50)])
def test_what_is_no_ledger_says_nothing(tmp_path: Path, content: bytes) -> None:
    """Nor does a file that is not there."""
    path = tmp_path / "ledger"
    assert read_ledger(path) is None
    path.write_bytes(content)
    assert read_ledger(path) is None


def test_a_large_ledger_is_made_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody needs any more goes; what is needed stays, with its order and its labels."""
    monkeypatch.setattr("shoal.pool.ledger._COMPACT", 100_000)
    path = tmp_path / "ledger"
    shell = Shell(path).begin().open()
    shell.manager()
    for tid in range(100):
        shell.submit(tid)
        shell.end(result(tid, bytes(10_000)))
        if tid < 98:
            shell.sessions.taken(1, tid + 1)
    shell.submit(200, 201)
    before = path.stat().st_size
    assert before > 1_000_000
    assert shell.sessions.look(1.0) == ([], [])
    shell.tell()
    assert path.stat().st_size < 30_000
    assert [r.tid for r in Shell(path).begin().batches()] == [98, 99, 200]
    assert Shell(path).begin().states() == {98: "done", 99: "done", 200: "done", 201: "waiting"}


def test_a_ledger_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    """Half a truth would make attempts run twice; it is said once, and the pool goes on."""
    path = tmp_path / "ledger"
    shell = Shell(path).begin().open()
    shell.ledger._fd, full = -1, shell.ledger._fd
    os.close(full)
    shell.ledger._fd = os.open("/dev/full", os.O_WRONLY)
    shell.submit(1)
    shell.submit(2)
    assert len(shell.errors) == 1
    assert not path.exists()
    assert shell.states() == {1: "waiting", 2: "waiting"}


def test_bounds_of_what_is_kept(tmp_path: Path) -> None:
    """The oldest results of those who are away become errors that say so; present clients are left alone."""
    shell = Shell(tmp_path / "ledger", Bounds(25_000, 100.0)).begin().open()
    shell.submit(1, 2, 3)
    shell.manager(slots=3)
    for tid in (1, 2, 3):
        shell.end(result(tid, bytes(10_000)))
    assert shell.sessions.look(10.0) == ([], [])
    shell.sessions.away(1, 10.0)
    late, said = shell.sessions.look(20.0)
    assert late == []
    assert len(said) == 1
    assert "1 results for a test" in said[0]
    (status,) = shell.sessions.absent()
    assert (status.done, status.unfinished) == (3, 0)
    assert status.nbytes <= 25_000
    first, second, third = shell.batches()
    assert first.failure is not None
    assert "25 kB" in first.failure.message
    assert [len(r.values) for r in (second, third)] == [1, 1]
    shell.sessions.away(1, 30.0)
    assert shell.sessions.look(131.0)[0] == [1]


# --------------------------------------------------------------------------- marks and words

keys = st.tuples(st.integers(1, 3), st.integers(0, 1 << 40), st.integers(1, 9))


def marked(marks: Marks, sent: list[Key]) -> None:
    marks.note(
        [
            ToClient(1, Results([])),
            ToManager(1, Tasks([Task(t, a, b"", b"", None, Payload(b""), client=c) for c, t, a in sent])),
        ]
    )


@given(st.lists(st.lists(keys, max_size=20), max_size=20))
def test_marks_tell_what_was_sent(tmp_path_factory: pytest.TempPathFactory, rounds: list[list[Key]]) -> None:
    """Every attempt that was noted is read, and no other."""
    path = tmp_path_factory.mktemp("marks") / "marks"
    marks = Marks(path, list)
    for sent in rounds:
        marked(marks, sent)
    assert read_marks(path) == {key for sent in rounds for key in sent}


def test_full_marks_keep_what_is_still_at_managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one half is full the other begins with those; if they are too many, anything may have begun."""
    monkeypatch.setattr("shoal.pool.marks._ROOM", 24 * 10)
    there: list[Key] = []
    marks = Marks(tmp_path / "marks", lambda: there)
    for tid in range(1000):
        there[:] = [(1, t, 1) for t in range(max(0, tid - 3), tid + 1)]
        marked(marks, [(1, tid, 1)])
        found = read_marks(tmp_path / "marks")
        assert found is not None
        assert set(there) <= found
        assert len(found) <= 10
    there[:] = [(1, t, 1) for t in range(50)]
    for tid in range(20):
        marked(marks, [(1, tid, 1)])
    assert read_marks(tmp_path / "marks") is None


def test_numbers_that_no_session_gives_do_no_harm(tmp_path: Path) -> None:
    """What does not fit is as if anything may have begun."""
    marks = Marks(tmp_path / "marks", list)
    marked(marks, [(1, 1 << 70, 1)])
    marked(marks, [(1, 1, 1)])
    assert read_marks(tmp_path / "marks") is None
    assert read_marks(tmp_path / "none") is None


def test_last_words_are_read_once(tmp_path: Path) -> None:
    """Those of all managers together; what cannot be read counts as begun."""
    for block in range(3):
        leave_word(ManagerSpec("p", Address("unix://x"), block, 1, str(tmp_path), "/"), [(1, block, 1), (2, block, 1)])
    (tmp_path / "block-9-1.unbegun").write_bytes(b"\xc1")
    assert take_words(str(tmp_path)) == {(c, b, 1) for c in (1, 2) for b in range(3)}
    assert take_words(str(tmp_path)) == set()
