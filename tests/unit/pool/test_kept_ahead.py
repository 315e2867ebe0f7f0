"""A lasting pool keeps what waits for values: through the ends of its process, and after its client is gone for good."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.dispatch.events import (
    AttemptsEnded,
    AttemptsEndedElsewhere,
    AttemptsRunning,
    BlobArrived,
    CancelRequested,
    ClientGoneForGood,
    ClientJoined,
    Key,
    ManagerHeard,
    ManagerRegistered,
    TasksSubmitted,
    ToClient,
    ToManager,
)
from shoal.dispatch.machine import Dispatcher
from shoal.outcome import Failure, Payload
from shoal.pool.ledger import Ledger, read_ledger
from shoal.pool.sessions import Bounds, Sessions
from shoal.pool.unread import CUT, Unread
from shoal.wire.messages import (
    Blob,
    Input,
    NeedBlob,
    Output,
    Result,
    Results,
    Returned,
    Running,
    RunningAttempt,
    Task,
    Tasks,
)


def task(tid: int, *sources: int, made: tuple[int, ...] = (), attempt: int = 1) -> Task:
    """A task that takes the values of others; of those in ``made`` they come with it."""
    inputs = [Input(s, 0, Payload(b"v%d" % s) if s in made else None) for s in sources]
    return Task(tid, attempt, b"code", b"", None, Payload(b""), inputs, label=f"app{tid}")


class Pool:
    """The machine, the sessions and the ledger of a pool, whose process can be killed; client 1 has a session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sent: dict[int, Task] = {}
        self.results: dict[int, Result] = {}
        self.returned: list[int] = []
        self._begin(set())
        self.sessions.open(1, "s", "a test")
        self.sessions.blob(Blob(b"code", b"the code"))
        self.tell(ClientJoined(1))
        self.machine.blobs.add(b"code", b"the code")

    def _begin(self, unbegun: set[Key]) -> None:
        self.machine = Dispatcher((1, 0, 0))
        self.ledger = Ledger(self.path, lambda error: pytest.fail(str(error)))
        self.sessions = Sessions(self.machine, self.ledger, Bounds(1 << 30, 3600.0))
        past = read_ledger(self.path)
        events = self.sessions.restore(past, unbegun, 0.0) if past is not None else []
        self.ledger.begin()
        assert {key[1] for key in self.sessions.limbo} == set(self.sent)
        self.tell(*events, ManagerRegistered(1, 0, 4, "m"), ManagerHeard(1, 4))

    def tell(self, *events: object) -> None:
        commands = self.machine.handle_all(events, 0.0)  # type: ignore[arg-type]
        self.sessions.before(commands)
        for command in commands:
            message = command.message if isinstance(command, ToManager | ToClient) else None
            if isinstance(message, Tasks):
                for one in message.tasks:
                    assert one.tid not in self.sent, "it is there already"
                    was = self.results.get(one.tid)
                    assert was is None or was.attempt < one.attempt, "it has ended"
                    assert all(i.payload and bytes(i.payload.head) == b"v%d" % i.task for i in one.inputs)
                    self.sent[one.tid] = one
            elif isinstance(message, Results):
                self.results.update((r.tid, r) for r in message.results)
            elif isinstance(message, Returned):
                self.returned += [tid for _, tid, _ in message.attempts]
            elif isinstance(message, NeedBlob):
                self.tell(BlobArrived(1, Blob(b"code", b"the code")))

    def submit(self, *tasks: Task) -> None:
        self.tell(TasksSubmitted(1, self.sessions.accept(1, list(tasks))))

    def end(self, tid: int, fails: bool = False) -> None:
        """An attempt ends: at its manager, or at one that the process before had sent it to."""
        one = self.sent.pop(tid)
        failure = Failure("ValueError", "no") if fails else None
        values = [] if fails else [Payload(b"v%d" % tid)]
        result = Result(1, tid, one.attempt, values, failure, "w", 1.0, 2.0)
        key = (1, tid, one.attempt)
        if key not in self.sessions.limbo:
            self.tell(AttemptsEnded(1, [result]))
            return
        del self.sessions.limbo[key]
        self.sessions.before([ToClient(1, Results([result]))])
        self.results[tid] = result
        self.tell(AttemptsEndedElsewhere([result]))

    def kill(self, unbegun: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        """Another process takes its place; of what was sent some had not begun, the rest runs on."""
        for tid in unbegun:
            del self.sent[tid]
        self._begin({(1, tid, 1) for tid in unbegun})

    def compact(self) -> None:
        self.sessions._tell_again()
        self.ledger.begin()

    def states(self) -> dict[int, str]:
        return {held.tid: held.state for held in self.sessions.held(self.sessions.find("s")).tasks}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "ledger")


def test_what_waits_is_said_to_wait(pool: Pool) -> None:
    """Also after the process was killed, and it counts as unfinished while the client is away."""
    for _ in range(2):
        pool.submit(task(0), task(1, 0), task(2, 1))
        assert pool.states() == {0: "sent", 1: "waiting", 2: "waiting"}
        pool.sessions.away(1, 0.0)
        assert [(s.unfinished, s.done) for s in pool.sessions.absent()] == [(3, 0)]
        pool.kill()


def test_values_that_the_client_has_taken_are_not_missed(pool: Pool) -> None:
    """They were filled in as they came, and so they are when the ledger is read, or written anew."""
    pool.submit(task(0), task(1), task(2, 0, 1))
    pool.end(0)
    pool.sessions.taken(1, 1)
    pool.kill()
    pool.compact()
    pool.kill()
    pool.end(1)
    assert set(pool.sent) == {2}
    pool.end(2)
    assert {tid: r.failure for tid, r in pool.results.items()} == {0: None, 1: None, 2: None}


def test_what_went_back_to_its_client_can_come_again(pool: Pool) -> None:
    """With its value; also from another process of the pool, which does not know it in between."""
    for tid, killed in ((1, False), (2, True)):
        pool.submit(task(tid * 10))
        pool.end(tid * 10)
        pool.submit(task(tid, tid * 10))
        assert pool.returned == [tid]
        if killed:
            pool.kill()
        assert tid not in pool.states()
        pool.submit(task(tid, tid * 10, made=(tid * 10,)))
        assert tid in pool.sent
        pool.returned.clear()


def test_one_that_was_cancelled_does_not_come_back(pool: Pool) -> None:
    """What it waited for starts nothing, before and after the process was killed."""
    pool.submit(task(0), task(1, 0))
    pool.tell(CancelRequested(1, [(0, 1, 1)]))
    pool.kill()
    pool.end(0)
    assert not pool.sent
    assert pool.states() == {0: "done", 1: "done"}


def test_a_failure_is_left_to_the_client_while_it_may_come_again(pool: Pool) -> None:
    """It tries again, or cancels; once it is gone for good what waits ends, and what waits for that, and the rest goes on."""
    pool.submit(task(0), task(1, 0), task(2, 1), task(3), task(4, 3))
    pool.end(0, fails=True)
    assert set(pool.results) == {0}
    pool.kill()
    assert pool.states()[1] == "waiting"
    pool.tell(ClientGoneForGood(1))
    assert set(pool.results) == {0, 1, 2}
    failure = pool.results[2].failure
    assert failure is not None
    assert failure.type_name.endswith("DependencyError")
    assert "task 1" in failure.message
    pool.submit(task(5, 3), task(6, 5))
    pool.end(3, fails=True)
    assert set(pool.results) == {0, 1, 2, 3, 4, 5, 6}
    assert not len(pool.machine.ahead)


def test_one_that_is_tried_again_is_waited_for_also_by_those_left_behind(pool: Pool) -> None:
    """Its client had sent the second attempt before it went."""
    pool.submit(task(0), task(1, 0))
    pool.end(0, fails=True)
    pool.submit(task(0, attempt=2))
    pool.tell(ClientGoneForGood(1))
    assert set(pool.results) == {0}
    pool.end(0)
    assert set(pool.sent) == {1}


def test_the_news_of_those_that_run_are_told_again(pool: Pool) -> None:
    """Whoever takes over the session hears what was printed, then the results, then what runs: it may have waited for one."""
    pool.submit(task(0), task(1))
    pool.tell(AttemptsRunning(1, [RunningAttempt(1, 0, 1, "w/0", 5.0), RunningAttempt(1, 1, 1, "w/1", 6.0)]))
    pool.sessions.away(1, 0.0)
    for text in ("one ", "two"):
        pool.sessions.heard(Output(1, 0, 1, "stdout", text))
    pool.sessions.heard(Output(1, 7, 1, "stdout", "of a task that nobody knows"))
    pool.end(1)
    kept = pool.sessions.find("s")
    assert kept is not None
    output, results, running = pool.sessions.resume(kept, "again")
    assert isinstance(running, Running)
    assert [item.worker for item in running.attempts] == ["w/0"]
    assert output == Output(1, 0, 1, "stdout", "one two")
    assert isinstance(results, Results)
    assert len(pool.sessions.resume(kept, "again")) == 2, "the text is told once"


def test_text_is_bounded_and_says_so() -> None:
    """The last of each task, and all together: those that printed longest ago lose theirs."""
    unread = Unread(each=1000, most=2500)
    unread.add(Output(1, 1, 1, "stdout", "x" * 5000 + "end"))
    for number in range(100):
        unread.add(Output(1, 2, 1, "stderr" if number % 2 else "stdout", f"{number} "))
    for tid in (3, 4):
        unread.add(Output(1, tid, 1, "stderr", "y" * 900))
    unread.add(Output(2, 1, 1, "stdout", "whole"))
    found = unread.take(1)
    texts = {o.tid: "".join(p.text for p in found if p.tid == o.tid) for o in found}
    assert texts[1] == CUT
    assert texts[2] == CUT or texts[2].endswith("99 ")
    assert texts[4] == "y" * 900
    assert unread.take(1) == []
    assert unread.take(2) == [Output(2, 1, 1, "stdout", "whole")]
    unread.add(Output(1, 1, 1, "stdout", "x" * 5000 + "end"))
    (last,) = unread.take(1)
    assert last.text.startswith(CUT)
    assert len(last.text) == len(CUT) + 1000
    assert last.text.endswith("end")


@settings(deadline=None, max_examples=150)
@given(st.integers(2, 25), st.integers(0, 2**32 - 1))
def test_any_graph_ends_as_its_edges_say(size: int, seed: int) -> None:
    """Whatever ends, fails, is taken, killed and written anew in between: each runs at most once, with the right values."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool(Path(folder) / "ledger")
        graph = {tid: sorted(chance.sample(range(tid), min(tid, chance.randrange(4)))) for tid in range(size)}
        fails = {tid for tid in graph if chance.random() < 0.1}
        bad: set[int] = set()
        skipped: set[int] = set()
        for tid, sources in graph.items():
            if tid in fails or bad.intersection(sources):
                bad.add(tid)
        submitted, ran = 0, set()
        while submitted < size or pool.sent:
            what = chance.randrange(8)
            if what < 3 and submitted < size:
                sources = graph[submitted]
                skipped.update({submitted} if skipped.intersection(sources) else ())
                made = tuple(s for s in sources if s in pool.results and pool.results[s].failure is None)
                skipped.update({submitted} if any(s in pool.results and s not in made for s in sources) else ())
                if submitted not in skipped:
                    pool.submit(task(submitted, *sources, made=made))
                submitted += 1
            elif what < 6 and pool.sent:
                tid = chance.choice(sorted(pool.sent))
                assert tid not in ran
                ran.add(tid)
                pool.end(tid, tid in fails)
            elif what == 6:
                pool.sessions.taken(1, chance.randrange(20))
                kept = pool.sessions.find("s")
                assert kept is not None
                kept.taken = 0
                if chance.random() < 0.5:
                    pool.compact()
            elif what == 7 and chance.random() < 0.5:
                pool.kill(
                    {tid for tid in pool.sent if (1, tid, 1) not in pool.sessions.limbo and chance.random() < 0.5}
                )
        assert not pool.returned
        assert ran == set(graph) - bad | ran & fails
        pool.tell(ClientGoneForGood(1))
        assert not len(pool.machine.ahead)
        assert {tid for tid, r in pool.results.items() if r.failure is None} == set(graph) - bad
