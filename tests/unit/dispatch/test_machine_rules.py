"""Promises of the dispatch machine, held against random histories of clients and managers that come, work and die."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shoal.dispatch.events import (
    AttemptsEnded,
    AttemptsReturned,
    AttemptsRunning,
    BlobArrived,
    BlobsMissing,
    CancelRequested,
    ClientJoined,
    ClientLeft,
    DrainRequested,
    Key,
    ManagerDrained,
    ManagerGone,
    ManagerHeard,
    ManagerRegistered,
    ManagerTimedOut,
    TasksSubmitted,
    Ticked,
    ToClient,
    ToManager,
)
from shoal.dispatch.failures import CANCELLED
from shoal.dispatch.machine import SUSPECT_AFTER, Dispatcher
from shoal.dispatch.policy import AGE
from shoal.dispatch.rooms import LOOK_AT
from shoal.dispatch.states import AttemptState, ManagerState
from shoal.outcome import Failure, Payload
from shoal.wire.messages import Blob, Cancel, ClientGone, NeedBlob, Recall, Result, Results, RunningAttempt, Task, Tasks

CODES = [bytes([n]) * 16 for n in range(3)]
RARELY = st.sampled_from([False, False, False, True])


class ManagerModel:
    """A manager as it really behaves: it hands out in order, never more at a time than it has slots."""

    def __init__(self, slots: int, memory: int, gpus: int) -> None:
        self.slots, self.memory, self.gpus = slots, memory, gpus
        self.blobs: set[bytes] = set()
        self.queue: deque[Task] = deque()
        self.begun: dict[Key, Task] = {}
        self.said: deque[Any] = deque()
        """What it has sent and the pool has not read; lost when it dies."""

    def ended_unheard(self) -> int:
        results = [r for m in self.said if isinstance(m, AttemptsEnded) for r in m.results]
        return sum(r.failure is None or r.failure.type_name != CANCELLED for r in results)

    def drop(self, keys: set[Key]) -> list[Result]:
        dropped = [t for t in self.queue if key_of(t) in keys]
        self.queue = deque(t for t in self.queue if key_of(t) not in keys)
        return [Result(*key_of(t), [], Failure(CANCELLED, "cancelled")) for t in dropped]


def key_of(task: Task) -> Key:
    return (task.client, task.tid, task.attempt)


class Pool(RuleBasedStateMachine):
    """The world around one machine."""

    look_at = LOOK_AT
    """Managers that are looked at in one go."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = ExitStack()
        for name in ("shoal.dispatch.rooms.LOOK_AT", "shoal.dispatch.book.CLEARED_AT_ONCE"):
            self.patches.enter_context(mock.patch(name, self.look_at))
        self.machine = Dispatcher(most=(3, 4, 2), blob_limit=25)
        self.cancelled: set[Key] = set()
        self.stopped = False
        self.now = 0.0
        self.clients: set[int] = set()
        self.next_client = 1
        self.managers: dict[int, ManagerModel] = {}
        self.next_manager = 1
        self.next_tid = 0
        self.accepted: set[Key] = set()
        self.ended: dict[Key, Result] = {}
        self.begun: set[Key] = set()
        self.replies: list[Any] = []

    # ------------------------------------------------------------------ carrying out

    def tell(self, *events: Any) -> None:
        for command in self.machine.handle_all(events, self.now):
            if isinstance(command, ToClient):
                self.for_client(command.client, command.message)
            elif isinstance(command, ToManager):
                self.for_manager(command.manager, command.message)
            elif isinstance(command, ManagerDrained):
                model = self.managers[command.manager]
                assert not model.queue
                assert not model.begun
            elif isinstance(command, ManagerTimedOut):
                assert not self.stopped, "nobody is lost for a silence that was the pool's own"
                del self.managers[command.manager]
        replies, self.replies = self.replies, []
        if replies:
            self.tell(*replies)

    def for_client(self, client: int, message: Any) -> None:
        assert client in self.clients, "a client that left is told nothing"
        if isinstance(message, Results):
            for result in message.results:
                key = (result.client, result.tid, result.attempt)
                assert key in self.accepted
                assert key not in self.ended, "an attempt has one outcome"
                assert result.client == client
                self.ended[key] = result
        elif isinstance(message, NeedBlob):
            self.replies += [BlobArrived(client, Blob(d, bytes(10))) for d in message.digests]

    def for_manager(self, number: int, message: Any) -> None:
        model = self.managers[number]
        if isinstance(message, Tasks):
            assert self.machine.managers[number].state is ManagerState.UP, "only a manager that is up gets tasks"
            for task in message.tasks:
                assert task.code in model.blobs, "a blob goes before what needs it"
                assert key_of(task) not in self.begun, "what may have begun is not sent again"
                assert key_of(task) not in self.cancelled, "what was cancelled is not sent again"
                model.queue.append(task)
            held = [*model.queue, *model.begun.values()]
            assert sum(t.memory for t in held) <= model.memory, "memory is not given away twice"
            assert sum(t.gpus for t in held) <= model.gpus, "nor are accelerators"
        elif isinstance(message, Blob):
            model.blobs.add(message.digest)
        elif isinstance(message, Recall):
            model.said.append(AttemptsReturned(number, [key_of(t) for t in model.queue]))
            model.queue.clear()
        elif isinstance(message, Cancel):
            keys = {(k[0], k[1], k[2]) for k in message.attempts}
            running = [key for key in keys if model.begun.pop(key, None) is not None]
            results = [Result(*key, [], Failure(CANCELLED, "interrupted")) for key in sorted(running)]
            model.said.append(AttemptsEnded(number, results + model.drop(keys)))
        elif isinstance(message, ClientGone):
            keys = {key_of(t) for t in model.queue if t.client == message.client}
            model.said.append(AttemptsEnded(number, model.drop(keys)))

    # ------------------------------------------------------------------ what may happen

    @initialize(slots=st.integers(1, 3), short=st.booleans())
    def somebody_is_there(self, slots: int, short: bool) -> None:
        self.a_client_joins()
        self.a_manager_registers(slots, 2, 1)
        if short:
            for code in CODES:
                self.machine.durations.note(code, 0.001)

    @rule()
    def a_client_joins(self) -> None:
        self.clients.add(self.next_client)
        self.next_client += 1
        self.tell(ClientJoined(self.next_client - 1))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), really=RARELY)
    def a_client_leaves(self, data: st.DataObject, really: bool) -> None:
        if not really:
            return
        client = data.draw(st.sampled_from(sorted(self.clients)))
        self.clients.discard(client)
        self.tell(ClientLeft(client))

    @precondition(lambda self: self.clients)
    @rule(
        data=st.data(),
        wanted=st.lists(
            st.tuples(
                st.sampled_from(CODES),
                st.sampled_from([1.0, 1.0, 1.0, 0.5, 2.0, 3.0]),
                st.integers(-1, 1),
                st.sampled_from([0, 0, 0, 1, 2, 4]),
                st.sampled_from([0, 0, 0, 1, 2]),
            ),
            min_size=1,
            max_size=8,
        ),
    )
    def tasks_are_submitted(self, data: st.DataObject, wanted: list[tuple[bytes, float, int, int, int]]) -> None:
        client = data.draw(st.sampled_from(sorted(self.clients)))
        tasks = []
        for code, cores, priority, memory, gpus in wanted:
            task = Task(self.next_tid, 1, code, b"", None, Payload(b""), cores=cores, priority=priority)
            task.memory, task.gpus = memory, gpus
            tasks.append(task)
            self.accepted.add((client, self.next_tid, 1))
            self.next_tid += 1
        self.tell(TasksSubmitted(client, tasks))

    @precondition(lambda self: len(self.managers) < 4)
    @rule(slots=st.integers(1, 3), memory=st.sampled_from([0, 2, 4]), gpus=st.integers(0, 2))
    def a_manager_registers(self, slots: int, memory: int, gpus: int) -> None:
        number = self.next_manager
        self.next_manager += 1
        self.managers[number] = model = ManagerModel(slots, memory, gpus)
        model.said.append(ManagerHeard(number, slots))
        self.tell(ManagerRegistered(number, 0, slots, f"m{number}", memory, gpus))

    @precondition(lambda self: self.managers)
    @rule(data=st.data(), really=RARELY)
    def a_manager_dies(self, data: st.DataObject, really: bool) -> None:
        if not really:
            return
        number = data.draw(st.sampled_from(sorted(self.managers)))
        del self.managers[number]
        self.tell(ManagerGone(number, "killed"))

    @precondition(lambda self: self.managers)
    @rule(data=st.data(), really=RARELY, gone=st.booleans())
    def a_manager_drains(self, data: st.DataObject, really: bool, gone: bool) -> None:
        if not really:
            return
        number = data.draw(st.sampled_from(sorted(self.managers)))
        self.tell(DrainRequested(number, gone))
        if gone:
            del self.managers[number]
            self.tell(ManagerGone(number, "killed"))

    @precondition(lambda self: self.managers)
    @rule(data=st.data())
    def an_attempt_begins(self, data: st.DataObject) -> None:
        model = self.managers[data.draw(st.sampled_from(sorted(self.managers)))]
        used = sum(max(1, t.cores) for t in model.begun.values())
        # As many results as it has slots may be under way, the first word (that it has workers) never stays behind.
        heard = not any(isinstance(m, ManagerHeard) for m in model.said)
        if (
            model.queue
            and heard
            and used + max(1, model.queue[0].cores) <= model.slots
            and model.ended_unheard() < model.slots
        ):
            task = model.queue.popleft()
            key = key_of(task)
            assert key not in self.begun, "an attempt begins once"
            assert key not in self.cancelled, "what was cancelled does not begin"
            self.begun.add(key)
            model.begun[key] = task

    @precondition(lambda self: any(m.begun for m in self.managers.values()))
    @rule(data=st.data(), seconds=st.sampled_from([1e-5, 1e-3, 1.0]), fails=st.booleans())
    def an_attempt_ends(self, data: st.DataObject, seconds: float, fails: bool) -> None:
        number = data.draw(st.sampled_from(sorted(n for n, m in self.managers.items() if m.begun)))
        model = self.managers[number]
        key = data.draw(st.sampled_from(sorted(model.begun)))
        del model.begun[key]
        failure = Failure("ValueError", "no") if fails else None
        model.said.append(AttemptsEnded(number, [Result(*key, [], failure, "w", 1.0, 1.0 + seconds)]))

    @precondition(lambda self: any(m.begun for m in self.managers.values()))
    @rule(data=st.data())
    def an_attempt_is_announced(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(n for n, m in self.managers.items() if m.begun)))
        key = data.draw(st.sampled_from(sorted(self.managers[number].begun)))
        self.managers[number].said.append(AttemptsRunning(number, [RunningAttempt(*key, "w", 1.0)]))

    @precondition(lambda self: any(m.said for m in self.managers.values()))
    @rule(data=st.data())
    def the_pool_reads(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(n for n, m in self.managers.items() if m.said)))
        self.tell(self.managers[number].said.popleft())

    @precondition(lambda self: self.managers)
    @rule(data=st.data())
    def a_manager_needs_a_blob(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.managers)))
        if self.managers[number].blobs:
            digest = data.draw(st.sampled_from(sorted(self.managers[number].blobs)))
            self.managers[number].said.append(BlobsMissing(number, [digest]))

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def a_client_cancels(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.accepted)))
        if key[0] in self.clients:
            self.cancelled.add(key)
            self.tell(CancelRequested(key[0], [key]))

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.1, 1.0, AGE + 1, SUSPECT_AFTER + 3]), really=RARELY)
    def time_passes(self, seconds: float, really: bool) -> None:
        seconds = 200.0 if really and seconds > SUSPECT_AFTER else seconds
        while seconds > 0:
            self.now += min(1.0, seconds)
            seconds -= 1.0
            self.tell(Ticked())

    @rule(seconds=st.sampled_from([3.0, 20.0, 1000.0]))
    def the_pool_was_stopped(self, seconds: float) -> None:
        self.tell(Ticked())
        self.now += seconds
        self.stopped = True
        self.tell(Ticked())
        self.stopped = False

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def the_books_are_right(self) -> None:
        machine = self.machine
        for manager in machine.managers.values():
            held = sum(a.cores for a in manager.outstanding.values())
            assert manager.free == manager.slots - held - manager.kept
            asked = [(t.memory, t.gpus) for t in (a.task for a in manager.outstanding.values())]
            if manager.claim is not None:
                assert (manager.claim.claim, manager.state) == (manager, ManagerState.UP)
                assert (manager.claim.aside, manager.claim.state) == (True, AttemptState.QUEUED)
                asked.append((manager.claim.task.memory, manager.claim.task.gpus))
            assert manager.memory_left == manager.memory - sum(memory for memory, _ in asked)
            assert manager.gpus_left == manager.gpus - sum(gpus for _, gpus in asked)
            assert manager.kept == 0 or manager.kept == manager.claim.cores
            assert manager.longs == sum(a.cores for a in manager.outstanding.values() if not a.load)
        up = [m for m in machine.managers.values() if m.state is ManagerState.UP]
        assert machine.places.cores == sum(max(0, m.free) for m in up)
        for number in self.clients:
            client = machine.shares.get(number)
            assert client is not None
            mine = [a for m in machine.managers.values() for a in m.outstanding.values() if a.key[0] == number]
            assert client.cores == sum(a.cores for a in mine)
        assert machine.waiting == sum(a.manager is None for a in machine.attempts.values())

    @invariant()
    def nobody_idles_while_work_waits(self) -> None:
        free = [m.free for m in self.machine.managers.values() if m.state is ManagerState.UP and m.free > 0]
        pair = self.machine.shares.next()
        if pair is not None and free:
            assert pair[1].cores > max(free)
        if pair is None and not self.machine.places.sweeping:
            for line in self.machine.shares.aside():
                attempt = line.first()
                for manager in self.machine.managers.values():
                    up = manager.state is ManagerState.UP
                    assert attempt is None or not up or not manager.has_room(attempt.needs)

    def teardown(self) -> None:
        """With a sound manager at the end, everything of the clients that are there gets its outcome."""
        with self.patches:
            self.all_ends()

    def all_ends(self) -> None:
        for number in list(self.managers):
            del self.managers[number]
            self.tell(ManagerGone(number, "end"))
        self.a_manager_registers(3, 4, 2)
        number = self.next_manager - 1
        model = self.managers[number]
        for _ in range(len(self.accepted) + 10):
            if not any(key[0] in self.clients and key not in self.ended for key in self.accepted):
                break
            while model.said:
                self.tell(model.said.popleft())
            while model.queue:
                key = key_of(model.queue.popleft())
                assert key not in self.begun
                self.begun.add(key)
                model.said.append(AttemptsEnded(number, [Result(*key, [], None, "w", 1.0, 1.001)]))
        missing = {key for key in self.accepted if key[0] in self.clients and key not in self.ended}
        assert not missing, "every attempt ends"


class PoolThatLooksAtOne(Pool):
    """The same where managers are looked at one by one, as those of a very large pool are in small groups."""

    look_at = 1


TestPoolThatLooksAtOne = PoolThatLooksAtOne.TestCase
TestPoolThatLooksAtOne.settings = settings(max_examples=60, stateful_step_count=80, deadline=None)
TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=120, stateful_step_count=80, deadline=None)
