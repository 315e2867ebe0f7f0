"""What the interchange decides, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from shoal.dispatch.events import (
    AttemptsEnded,
    AttemptsReturned,
    AttemptsRunning,
    BlobArrived,
    BlobsMissing,
    CancelRequested,
    CapacityExpected,
    CapacityLost,
    ClientJoined,
    ClientLeft,
    DrainRequested,
    ManagerDrained,
    ManagerGone,
    ManagerHeard,
    ManagerRegistered,
    ManagerSuspected,
    ManagerTimedOut,
    TasksSubmitted,
    Ticked,
    ToClient,
    ToManager,
)
from shoal.dispatch.failures import CANCELLED
from shoal.dispatch.machine import LOST_AFTER, SUSPECT_AFTER, Dispatcher
from shoal.outcome import Failure, Payload
from shoal.wire.messages import (
    Blob,
    Cancel,
    ClientGone,
    NeedBlob,
    Recall,
    Result,
    Results,
    Running,
    RunningAttempt,
    Task,
    Tasks,
)

CODE = b"c" * 16


def task(
    tid: int, *, attempt: int = 1, code: bytes = CODE, captures: bytes = b"", cores: float = 1.0, **options: int
) -> Task:
    return Task(tid, attempt, code, captures, None, Payload(b"body"), cores=cores, label=f"f{tid}", **options)


def done(client: int, tid: int, seconds: float = 1.0, attempt: int = 1) -> Result:
    return Result(client, tid, attempt, [Payload(b"value")], None, "host/1", 100.0, 100.0 + seconds)


class World:
    """A machine with client 1, and what it has ordered so far."""

    def __init__(self, **options: Any) -> None:
        self.machine = Dispatcher(**options)
        self.now = 0.0
        self.orders: list[Any] = []
        self(ClientJoined(1), BlobArrived(1, Blob(CODE, b"code")))

    def __call__(self, *events: Any) -> list[Any]:
        self.orders = self.machine.handle_all(events, self.now)
        return self.orders

    def manager(self, number: int, slots: int = 2, memory: int = 0, gpus: int = 0) -> None:
        self(ManagerRegistered(number, 0, slots, f"manager {number}", memory, gpus), ManagerHeard(number, slots))

    def tick(self, seconds: float) -> list[Any]:
        """Let time pass, with a tick every second; returns all that was ordered meanwhile."""
        orders = []
        while seconds > 0:
            self.now += min(1.0, seconds)
            seconds -= 1.0
            orders += self(Ticked())
        self.orders = orders
        return orders

    def tasks_for(self, manager: int) -> list[int]:
        return [
            t.tid
            for o in self.orders
            if isinstance(o, ToManager) and o.manager == manager and isinstance(o.message, Tasks)
            for t in o.message.tasks
        ]

    def results_for(self, client: int) -> list[Result]:
        return [
            r
            for o in self.orders
            if isinstance(o, ToClient) and o.client == client and isinstance(o.message, Results)
            for r in o.message.results
        ]

    def messages(self, kind: type) -> list[Any]:
        return [o.message for o in self.orders if isinstance(o, ToClient | ToManager) and isinstance(o.message, kind)]


@pytest.fixture
def world() -> World:
    return World()


def test_tasks_wait_for_a_manager_and_then_go_in_one_message(world: World):
    """What waits is sent as soon as a manager is there: its blob first, then all that it has slots for in one message."""
    assert world(TasksSubmitted(1, [task(0), task(1), task(2)])) == []
    assert world.machine.waiting == 3
    world(ManagerRegistered(7, 0, 2, "m"))
    assert [type(o.message) for o in world.orders] == [Blob, Tasks]
    assert world.tasks_for(7) == [0, 1]
    assert world.machine.waiting == 1


def test_a_result_goes_to_its_client_and_frees_the_place(world: World):
    """A result is passed on, and what waits takes its place."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0), task(1)]))
    world(AttemptsEnded(7, [done(1, 0)]))
    assert [r.tid for r in world.results_for(1)] == [0]
    assert world.tasks_for(7) == [1]
    assert world.machine.done == 1


def test_work_is_spread_evenly(world: World):
    """Tasks go to the manager with the most free cores, so that two get a half each."""
    world.manager(7, slots=4)
    world.manager(8, slots=4)
    world(TasksSubmitted(1, [task(i) for i in range(4)]))
    assert len(world.tasks_for(7)) == len(world.tasks_for(8)) == 2


def test_functions_of_unknown_duration_do_not_wait_behind_others(world: World):
    """No more than one attempt a slot is sent before it is known how long they take, nor if they are long."""
    world.manager(7, slots=2)
    world(TasksSubmitted(1, [task(i) for i in range(10)]))
    assert len(world.tasks_for(7)) == 2
    world(AttemptsEnded(7, [done(1, 0, seconds=5.0)]))
    assert len(world.tasks_for(7)) == 1


def test_short_ones_are_sent_ahead_but_not_all_of_them(world: World):
    """Of a function seen to be short, enough is sent to keep the node busy over the way to the pool and back."""
    world.manager(7, slots=2)
    world(TasksSubmitted(1, [task(i) for i in range(10_000)]))
    world(AttemptsEnded(7, [done(1, 0, seconds=0.001)]))
    assert 10 < len(world.tasks_for(7)) < 100


def test_short_ones_are_not_sent_behind_long_ones(world: World):
    """Where all slots are held by attempts that may be long, nothing waits behind them."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(AttemptsEnded(7, [done(1, 0, seconds=0.001)]))
    long = b"l" * 16
    world(BlobArrived(1, Blob(long, b"code")), TasksSubmitted(1, [task(1, code=long)]))
    assert world.tasks_for(7) == [1]
    world(TasksSubmitted(1, [task(2)]))
    assert world.tasks_for(7) == []


def test_what_waits_behind_others_is_called_back_when_there_is_room_elsewhere(world: World):
    """Attempts sent ahead come back if nothing ends where they are and another manager is free."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(AttemptsEnded(7, [done(1, 0, seconds=0.001)]))
    world(TasksSubmitted(1, [task(i) for i in range(1, 6)]))
    assert len(world.tasks_for(7)) == 5
    world.manager(8, slots=1)
    assert world.machine.uneven
    world.now = 0.2
    world(Ticked())
    assert [(o.manager, type(o.message)) for o in world.orders] == [(7, Recall)]
    world(AttemptsReturned(7, [(1, i, 1) for i in range(2, 6)]))
    assert world.tasks_for(8)[0] == 2
    assert world.results_for(1) == []


def test_higher_priority_first_then_in_order(world: World):
    """Within a client the higher priority goes first, and equals in the order in which they came."""
    world(TasksSubmitted(1, [task(0), task(1, priority=5), task(2), task(3, priority=5), task(4, priority=-1)]))
    world(ManagerRegistered(7, 0, 5, "m"))
    assert world.tasks_for(7) == [1, 3, 0, 2, 4]


def test_clients_share_fairly(world: World):
    """A client with few tasks does not wait behind one with many: the one that holds fewer cores is served first."""
    world(
        ClientJoined(2),
        TasksSubmitted(1, [task(i) for i in range(100)]),
        TasksSubmitted(2, [task(i) for i in range(4)]),
    )
    world(ManagerRegistered(7, 0, 8, "m"))
    sent = [t.client for m in world.messages(Tasks) for t in m.tasks]
    assert sent.count(1) == sent.count(2) == 4


def test_cores_are_counted(world: World):
    """A task of several cores takes as many slots, and waits until they are free; nobody overtakes it."""
    world.manager(7, slots=4)
    world(TasksSubmitted(1, [task(0, cores=3), task(1, cores=2), task(2)]))
    assert world.tasks_for(7) == [0]
    world(AttemptsEnded(7, [done(1, 0)]))
    assert world.tasks_for(7) == [1, 2]


@pytest.mark.parametrize("cores", [9.0, 0.0, -1.0, float("nan"), float("inf")])
def test_a_task_that_fits_no_manager_fails_at_once(cores: float):
    """A number of cores that no manager can have, or that is none, is answered, not kept for ever."""
    world = World(most=(8, -1, -1))
    world(TasksSubmitted(1, [task(0, cores=cores)]))
    (result,) = world.results_for(1)
    assert result.failure is not None
    assert "cores" in result.failure.message
    assert not result.failure.lost


def test_a_missing_blob_is_asked_for_once_and_its_tasks_wait(world: World):
    """Without its code a task waits in the pool; the client is asked once, and others go on."""
    other = b"o" * 16
    world.manager(7, slots=2)
    world(TasksSubmitted(1, [task(0, code=other), task(1, code=other), task(2)]))
    assert world.messages(NeedBlob) == [NeedBlob([other])]
    assert world.tasks_for(7) == [2]
    world(BlobArrived(1, Blob(other, b"x")))
    assert world.tasks_for(7) == [0]
    world(AttemptsEnded(7, [done(1, 0), done(1, 2)]))
    assert world.tasks_for(7) == [1]


def test_a_blob_goes_to_a_manager_once(world: World):
    """Code and captures travel to each manager before the first task that needs them, and not again."""
    captures = b"k" * 16
    world(BlobArrived(1, Blob(captures, b"k")))
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0, captures=captures), task(1, captures=captures)]))
    assert [b.digest for b in world.messages(Blob)] == [CODE, captures]
    world(AttemptsEnded(7, [done(1, 0)]))
    assert world.tasks_for(7) == [1]
    assert world.messages(Blob) == []


def test_a_manager_that_dropped_a_blob_gets_it_again(world: World):
    """What the pool still has it sends; for what it has not, the tasks come back and the client is asked."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(BlobsMissing(7, [CODE]))
    assert [b.digest for b in world.messages(Blob)] == [CODE]
    world.machine.blobs = type(world.machine.blobs)(100)
    world(BlobsMissing(7, [CODE]))
    assert world.messages(Recall)
    world(AttemptsReturned(7, [(1, 0, 1)]))
    assert world.messages(NeedBlob) == [NeedBlob([CODE])]
    world(BlobArrived(1, Blob(CODE, b"code")))
    assert [type(o.message) for o in world.orders] == [Blob, Tasks]


def test_what_a_lost_manager_had_begun_is_lost_and_the_rest_waits_again(world: World):
    """Attempts that may have begun end with ManagerLost; those that cannot have begun go elsewhere, in order."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(AttemptsEnded(7, [done(1, 0, seconds=0.001)]))
    world(TasksSubmitted(1, [task(i) for i in range(1, 6)]))
    world(ManagerGone(7, "signal 9 (SIGKILL)"))
    lost = world.results_for(1)
    # One at a time, and the result of one may have been under way.
    assert [r.tid for r in lost] == [1, 2]
    assert all(r.failure is not None and r.failure.lost and "ManagerLost" in r.failure.type_name for r in lost)
    assert "SIGKILL" in lost[0].failure.message
    world(ManagerRegistered(8, 1, 8, "m"))
    assert world.tasks_for(8) == [3, 4, 5]


def test_what_is_known_to_have_begun_is_lost_and_nothing_else(world: World):
    """Where the pool knows what had begun on a lost manager, the order in which it was sent does not matter."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(AttemptsEnded(7, [done(1, 0, seconds=0.001)]))
    world(TasksSubmitted(1, [task(i) for i in range(1, 6)]))
    world(ManagerGone(7, "signal 9 (SIGKILL)", frozenset({(1, 0, 1), (1, 4, 1)})))
    assert [r.tid for r in world.results_for(1)] == [4]
    world(ManagerRegistered(8, 1, 8, "m"))
    assert world.tasks_for(8) == [1, 2, 3, 5]


def test_a_manager_without_workers_has_begun_nothing(world: World):
    """Tasks on a manager that never had a worker ready go elsewhere in silence."""
    world(ManagerRegistered(7, 0, 2, "m"), TasksSubmitted(1, [task(0), task(1)]))
    world(ManagerGone(7, "exit code 1"))
    assert world.results_for(1) == []
    assert world.machine.waiting == 2


def test_an_attempt_known_to_run_is_announced_once_and_lost_with_its_manager(world: World):
    """Running attempts are announced to their client, and end as lost whatever the window was."""
    world(ManagerRegistered(7, 0, 2, "m"), TasksSubmitted(1, [task(0), task(1)]))
    running = RunningAttempt(1, 1, 1, "host/1", 5.0)
    world(AttemptsRunning(7, [running]))
    assert world.messages(Running) == [Running([running])]
    world(AttemptsRunning(7, [running, RunningAttempt(1, 99, 1, "host/1", 5.0)]))
    assert world.messages(Running) == []
    world(ManagerGone(7, "gone"))
    assert [r.tid for r in world.results_for(1)] == [1]


def test_a_late_result_of_a_lost_attempt_is_dropped(world: World):
    """An attempt has one outcome: what comes after it was given up is counted and dropped."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(ManagerGone(7, "silent"))
    assert len(world.results_for(1)) == 1
    world(AttemptsEnded(7, [late := done(1, 0)]))
    assert world.results_for(1) == []
    assert world.machine.ignored == 1
    assert world.machine.dropped == [late], "what it holds can be given back"
    world(Ticked())
    assert world.machine.dropped == []


def test_a_late_result_is_taken_if_none_came(world: World):
    """An attempt that went back to the queue ends with a late result of its first manager, and runs nowhere else."""
    world(
        ManagerRegistered(7, 0, 1, "m"),
        TasksSubmitted(1, [task(0)]),
    )
    world(ManagerGone(7, "silent"))
    assert world.machine.waiting == 1
    world(AttemptsEnded(7, [done(1, 0)]))
    assert [r.tid for r in world.results_for(1)] == [0]
    world.manager(8)
    assert world.tasks_for(8) == []
    assert world.machine.waiting == 0


def test_a_silent_manager_gets_nothing_new_until_it_is_heard(world: World):
    """Silence makes a manager suspect within seconds: named, and left without new tasks; a sign of life mends it."""
    world.manager(7, slots=2)
    world.tick(SUSPECT_AFTER + 0.1)
    assert world.orders == [ManagerSuspected(7, pytest.approx(SUSPECT_AFTER + 0.1))]
    world(TasksSubmitted(1, [task(0)]))
    assert world.orders == []
    world(ManagerHeard(7))
    assert world.tasks_for(7) == [0]


def test_a_manager_silent_for_too_long_is_given_up(world: World):
    """After the longer limit its block is ended and its attempts are lost."""
    world.manager(7, slots=2)
    world(TasksSubmitted(1, [task(0)]))
    world.tick(LOST_AFTER + 1)
    assert [o.manager for o in world.orders if isinstance(o, ManagerTimedOut)] == [7]
    assert [r.failure.lost for r in world.results_for(1)] == [True]


def test_a_draining_manager_finishes_and_then_ends(world: World):
    """Draining: what has not begun comes back, nothing new is sent, and when it is empty it may go."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0), task(1)]))
    world(DrainRequested(7))
    assert world.messages(Recall)
    world(AttemptsReturned(7, []))
    assert world.orders == []
    world(AttemptsEnded(7, [done(1, 0)]))
    assert ManagerDrained(7) in world.orders
    assert world.tasks_for(7) == []


def test_an_idle_manager_drains_at_once(world: World):
    """With nothing to finish it may go at once."""
    world.manager(7)
    assert world(DrainRequested(7)) == [ManagerDrained(7)]


def test_a_manager_whose_process_has_ended_gets_nothing_more(world: World):
    """Before it is known why: what comes meanwhile waits for another, and what it has is told to be lost once, with the reason."""
    world.manager(7, slots=2)
    world(TasksSubmitted(1, [task(0)]))
    assert world(DrainRequested(7, gone=True)) == []
    world(TasksSubmitted(1, [task(1)]))
    assert world.orders == []
    world(ManagerGone(7, "signal 9"))
    (lost,) = world.results_for(1)
    assert (lost.tid, lost.failure.lost) == (0, True)
    assert "signal 9" in lost.failure.message
    world.manager(8, slots=1)
    assert world.tasks_for(8) == [1]


def test_cancelling_what_waits_ends_it(world: World):
    """An attempt that waits in the pool ends as cancelled, and is never sent."""
    world(TasksSubmitted(1, [task(0), task(1)]))
    world(CancelRequested(1, [(0, 0, 1)]))
    assert [(r.tid, r.failure.type_name) for r in world.results_for(1)] == [(0, CANCELLED)]
    world.manager(7)
    assert world.machine.waiting == 0
    assert [k[1] for k in world.machine.attempts] == [1]


def test_cancelling_what_was_sent_asks_its_manager(world: World):
    """Whether an attempt has begun only its manager knows, so it is asked; nobody else's attempts can be named."""
    world(ClientJoined(2))
    world.manager(7)
    world(TasksSubmitted(1, [task(0)]))
    world(CancelRequested(2, [(1, 0, 1)]))
    assert world.orders == []
    world(CancelRequested(1, [(0, 0, 1)]))
    assert world.messages(Cancel) == [Cancel([(1, 0, 1)])]


def test_what_a_client_had_waiting_goes_with_it(world: World):
    """When a client leaves, its queue is dropped, its managers forget what has not begun, and results go nowhere."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0), task(1), task(2, code=b"?" * 16)]))
    world(ClientLeft(1))
    assert world.messages(ClientGone) == [ClientGone(1)]
    assert world.machine.waiting == 0
    world(AttemptsEnded(7, [done(1, 0)]))
    assert world.orders == []
    assert world.machine.attempts == {}


def test_without_hope_all_that_waits_and_comes_is_answered(world: World):
    """If no manager will come, waiting tasks and new ones fail with the reason, until there is hope again."""
    failure = Failure("shoal.errors.WorkerStartFailed", "workers do not start")
    world(TasksSubmitted(1, [task(0), task(1, code=b"?" * 16)]))
    world(CapacityLost(failure))
    assert {r.tid for r in world.results_for(1)} == {0, 1}
    world(TasksSubmitted(1, [task(2)]))
    assert [r.failure for r in world.results_for(1)] == [failure]
    world(CapacityExpected())
    world(TasksSubmitted(1, [task(3)]))
    assert world.results_for(1) == []
    assert world.machine.waiting == 1


def test_an_attempt_sent_twice_is_taken_once(world: World):
    """A client that repeats itself gets one outcome for an attempt; another attempt of the task is another."""
    world.manager(7)
    world(TasksSubmitted(1, [task(0), task(0), task(0, attempt=2)]))
    assert world.tasks_for(7) == [0, 0]
    assert world.machine.ignored == 1


def test_tasks_of_nobody_are_ignored(world: World):
    """Tasks of a client that never said hello are counted and dropped."""
    world.manager(7)
    world(TasksSubmitted(9, [task(0)]))
    assert world.orders == []
    assert world.machine.ignored == 1


def test_cancelled_and_returned_attempts_do_not_run(world: World):
    """An attempt that came back and was then cancelled is not sent again."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(DrainRequested(7), AttemptsReturned(7, [(1, 0, 1)]))
    world(CancelRequested(1, [(0, 0, 1)]))
    assert [r.failure.type_name for r in world.results_for(1)] == [CANCELLED]
    world.manager(8)
    assert world.tasks_for(8) == []


# --------------------------------------------------------------------------- cancel


def test_a_cancelled_attempt_that_comes_back_is_not_sent_again(world: World):
    """A cancel that meets an attempt on its way back from its manager still ends it: it does not run elsewhere."""
    world.manager(7, slots=1)
    world(TasksSubmitted(1, [task(0)]))
    world(DrainRequested(7))
    world(CancelRequested(1, [(0, 0, 1)]))
    world.manager(8)
    world(AttemptsReturned(7, [(1, 0, 1)]))
    assert world.tasks_for(8) == []
    assert [r.failure.type_name for r in world.results_for(1)] == [CANCELLED]


def test_a_cancelled_attempt_that_had_not_begun_on_a_lost_manager_ends(world: World):
    """It is not run elsewhere either."""
    world(ManagerRegistered(7, 0, 1, "m"), TasksSubmitted(1, [task(0)]))
    world(CancelRequested(1, [(0, 0, 1)]))
    world(ManagerGone(7, "exit code 1"))
    assert [r.failure.type_name for r in world.results_for(1)] == [CANCELLED]
    assert world.machine.waiting == 0


def test_a_cancelled_attempt_holds_its_place_until_its_manager_answers(world: World):
    """Its cores, memory and accelerators are given away again when its worker has really let go of them."""
    world.manager(7, slots=1, memory=10, gpus=1)
    world(TasksSubmitted(1, [task(0, memory=6, gpus=1), task(1, memory=6)]))
    world(CancelRequested(1, [(0, 0, 1)]))
    world(Ticked())
    assert world.tasks_for(7) == []
    world(AttemptsEnded(7, [Result(1, 0, 1, [], Failure(CANCELLED, "interrupted"))]))
    assert world.tasks_for(7) == [1]


@pytest.mark.parametrize("state", ["suspect", "draining"])
def test_a_cancel_reaches_managers_that_get_nothing_new(world: World, state: str):
    """A silent manager and one that is to end are told of a cancel like any other."""
    world.manager(7)
    world(TasksSubmitted(1, [task(0)]))
    world(AttemptsRunning(7, [RunningAttempt(1, 0, 1, "host/1", 5.0)]))
    if state == "suspect":
        world.tick(SUSPECT_AFTER + 1)
    else:
        world(DrainRequested(7))
    world(CancelRequested(1, [(0, 0, 1)]))
    assert world.messages(Cancel) == [Cancel([(1, 0, 1)])]
    world(AttemptsEnded(7, [Result(1, 0, 1, [], Failure(CANCELLED, "interrupted"))]))
    assert [r.failure.type_name for r in world.results_for(1)] == [CANCELLED]


# --------------------------------------------------------------------------- silence that was our own


def test_a_gap_between_ticks_is_nobodys_silence(world: World):
    """A pool that was stopped for an hour holds that against no manager; silence before and after it counts as ever."""
    world.manager(7, slots=1)
    world.tick(SUSPECT_AFTER - 2)
    world.now += 3600
    world(TasksSubmitted(1, [task(0)]), Ticked())
    assert world.tasks_for(7) == [0]
    assert [type(o.message) for o in world.orders] == [Blob, Tasks]
    world.tick(3)
    assert [type(o) for o in world.orders] == [ManagerSuspected]


def test_a_gap_before_the_first_tick_is_nobodys_silence(world: World):
    """Also a pool that was stopped right after its first manager had come holds that against nobody."""
    world.manager(7)
    world.now += 3600
    assert world(Ticked()) == []


def test_silence_is_noticed_while_ticks_come(world: World):
    """Short gaps between ticks, as on a busy machine, do not hide a silent manager."""
    world.manager(7)
    orders = []
    for _ in range(5):
        world.now += 1.8
        orders += world(Ticked())
    assert [type(o) for o in orders] == [ManagerSuspected]


def test_what_could_not_be_delivered_waits_again(world: World):
    """Attempts whose message never left for a manager that was gone are not lost with it."""
    world.manager(7, slots=2)
    world(TasksSubmitted(1, [task(0)]))
    world(TasksSubmitted(1, [task(1)]))
    world(AttemptsReturned(7, [(1, 1, 1)], delivered=False), ManagerGone(7, "it closed its connection"))
    assert [r.tid for r in world.results_for(1)] == [0]
    world.manager(8)
    assert world.tasks_for(8) == [1]


def test_what_was_sent_after_a_recall_may_have_begun(world: World):
    """A manager that was lost before its answer to a recall was heard may have begun what came after that."""
    world.manager(7, slots=1)
    world.machine.durations.note(CODE, 0.001)
    world(TasksSubmitted(1, [task(i) for i in range(4)]))
    world.manager(8, slots=1)
    world.now = 0.2
    world(Ticked())
    assert world.messages(Recall)
    world(TasksSubmitted(1, [task(i) for i in range(4, 12)]))
    later = [tid for tid in world.tasks_for(7) if tid >= 4]
    assert len(later) > 2
    world(ManagerGone(7, "killed"))
    lost = [r.tid for r in world.results_for(1)]
    assert lost == [0, 1, *later[:2]]
