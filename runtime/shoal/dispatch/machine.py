"""The dispatch machine: every decision that an interchange takes.

It is told events and gives commands; it knows no sockets, no processes and no clock. A shell hands it all that arrived
since the last time, in order, and carries out what it orders: what is sent to one peer in one go is one message.

Promises, whatever is lost: an attempt that it accepted ends exactly once, unless its client leaves. An attempt that may
have begun is not begun again; one that cannot have begun goes back to its queue in silence. What a manager has is never
given away twice: an attempt holds its cores, memory and accelerators until its manager has answered for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from shoal.dispatch.attempts import Attempt, Manager, Needy
from shoal.dispatch.events import (
    AttemptsEnded,
    AttemptsEndedElsewhere,
    AttemptsReturned,
    AttemptsRunning,
    BlobArrived,
    BlobsMissing,
    CancelRequested,
    CapacityExpected,
    CapacityLost,
    ClientGoneForGood,
    ClientJoined,
    ClientLeft,
    Command,
    DrainRequested,
    Event,
    Key,
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
from shoal.dispatch.failures import cancelled, manager_lost, too_large
from shoal.dispatch.orphaned import Orphaned
from shoal.dispatch.silence import Silence
from shoal.dispatch.states import (
    ATTEMPT_MOVES,
    MANAGER_MOVES,
    AttemptEvent,
    AttemptState,
    ManagerEvent,
    ManagerState,
    moved,
)
from shoal.outcome import Failure
from shoal.wire.messages import (
    Blob,
    Cancel,
    ClientGone,
    Result,
    Returned,
    Running,
    RunningAttempt,
    Task,
)

__all__ = ["AWAY", "LOST_AFTER", "SUSPECT_AFTER", "Dispatcher"]

AWAY = 2.0
"""Seconds between two ticks from which on the machine itself counts as not having run (its process was stopped, or could not
go on): then nobody's silence in that time is held against them. Ticks are to come more often."""

SUSPECT_AFTER = 5.0
"""Seconds of silence after which a manager gets no new tasks."""

LOST_AFTER = 120.0
"""Seconds of silence after which a manager is given up."""

STUCK_AFTER = 0.05
"""Seconds without an ending after which attempts that wait at a manager are called back, if there is room elsewhere."""

_QUEUED, _PARKED = AttemptState.QUEUED, AttemptState.PARKED
_SENT, _RUNNING, _ENDED = AttemptState.SENT, AttemptState.RUNNING, AttemptState.ENDED


class Dispatcher(Orphaned):
    """One pool's attempts, clients and managers.

    Args:
        most: cores, bytes of memory and accelerators of the largest manager that this pool can have. While unknown: 0 for
            cores, -1 for the others, which the first manager then tells.
        blob_limit: bytes of blobs kept.
        suspect_after, lost_after: see the constants.
    """

    def __init__(
        self,
        most: tuple[int, int, int] = (0, -1, -1),
        blob_limit: int = 256 << 20,
        suspect_after: float = SUSPECT_AFTER,
        lost_after: float = LOST_AFTER,
    ) -> None:
        super().__init__(blob_limit, Silence(suspect_after, lost_after))
        self.most = most
        self._ticked_at = 0.0
        self._away = 0.0
        self._hopeless: Failure | None = None
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            ClientJoined: self._client_joined,
            ClientLeft: self._client_left,
            ClientGoneForGood: self._gone_for_good,
            TasksSubmitted: self._submitted,
            BlobArrived: self._blob_arrived,
            CancelRequested: self._cancel,
            ManagerRegistered: self._registered,
            ManagerHeard: self._heard,
            ManagerGone: self._gone,
            DrainRequested: self._drain,
            AttemptsEnded: self._ended,
            AttemptsEndedElsewhere: self._ended_elsewhere,
            AttemptsRunning: self._running,
            AttemptsReturned: self._returned,
            BlobsMissing: self._blobs_missing,
            CapacityLost: self._capacity_lost,
            CapacityExpected: self._capacity_expected,
            Ticked: self._ticked,
        }

    # ------------------------------------------------------------------ the two doors

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take in one event; ``now`` in seconds of a clock that never runs backwards."""
        return self.handle_all((event,), now)

    def handle_all(self, events: Iterable[Event], now: float) -> list[Command]:
        """Take in events that happened together; places are given out once, at their end.

        Raises:
            InvalidTransition: an event that cannot happen in the state that its subject is in: an error of the shell.
        """
        gap = now - self._ticked_at
        if gap > AWAY:
            self._away += gap
            self._ticked_at = now
        self._now = now
        self._clock = now - self._away
        if self.dropped:
            self.dropped = []
        handlers = self._handlers
        for event in events:
            handlers[type(event)](event)
        if self._for_good and self.ahead:
            self._follow_failures()
        self._give_out()
        return self._flush()

    def silent_for(self, manager: int, now: float) -> float:
        """Seconds since a manager was last heard, those not counted in which the machine did not run; 0.0 if unknown."""
        found = self.managers.get(manager)
        return max(0.0, now - self._away - found.heard) if found is not None else 0.0

    # ------------------------------------------------------------------ clients

    def _client_joined(self, event: ClientJoined) -> None:
        self.shares.join(event.client)

    def _client_left(self, event: ClientLeft) -> None:
        client = self.shares.leave(event.client)
        if client is None:
            return
        self.ahead.leave(event.client)
        self._for_good.discard(event.client)
        parked = [a for waiting in self._parked.values() for a in waiting if a.key[0] == event.client]
        for attempt in [*client.drop(), *parked]:
            self._end_waiting(attempt, None)
        for number in {a.manager.number for a in self.attempts.values() if a.manager and a.key[0] == event.client}:
            self._commands.append(ToManager(number, ClientGone(event.client)))

    def _submitted(self, event: TasksSubmitted) -> None:
        number = event.client
        client = self.shares.get(number)
        if client is None:
            self.ignored += len(event.tasks)
            return
        attempts = self.attempts
        most = self.most[0] or 1e6
        unmet: list[Key] = []
        line, priority = None, 0
        for task in event.tasks:
            task.client = number
            key = (number, task.tid, task.attempt)
            if key in attempts:
                self.ignored += 1
                continue
            needy = task.memory or task.gpus
            if needy or not 0 < task.cores <= most:
                failure = too_large(task, self.most)
                if failure is not None:
                    self._answer(Result(*key, [], failure))
                    continue
            if task.inputs and any(item.payload is None for item in task.inputs):
                if not self.ahead.hold(key, task, None if event.restored else self._comes):
                    unmet.append(key)
                continue
            attempts[key] = attempt = Needy(key, task) if needy else Attempt(key, task)
            if task.priority != priority or line is None:
                priority = task.priority
                line = client.line(priority)
            line.append(attempt)
            client.waiting += 1
        self.shares.wake(client)
        if unmet:
            self._commands.append(ToClient(number, Returned(unmet)))
        if self._hopeless is not None:
            self._fail_queues(self._hopeless)

    def _submit_ready(self, client: int, tasks: list[Task]) -> None:
        self._submitted(TasksSubmitted(client, tasks))

    def _blob_arrived(self, event: BlobArrived) -> None:
        digest = event.blob.digest
        self.blobs.add(digest, event.blob.data)
        waiting = [a for a in self._parked.pop(digest, ()) if a.state is _PARKED]
        for attempt in reversed(waiting):
            attempt.state = moved("attempt", ATTEMPT_MOVES, attempt.state, AttemptEvent.UNPARK)
            self._requeue(attempt)

    def _cancel(self, event: CancelRequested) -> None:
        at_managers: dict[int, list[Key]] = {}
        for _, tid, number in event.attempts:
            key = (event.client, tid, number)
            attempt = self.attempts.get(key)
            if attempt is None:
                waits = self.ahead.drop(key)
                if waits is not None:
                    self._answer(Result(*key, [], cancelled(waits)))
                else:
                    self.ignored += 1
            elif attempt.manager is not None:
                self._unwanted.add(key)
                at_managers.setdefault(attempt.manager.number, []).append(key)
            else:
                self._end_waiting(attempt, cancelled(attempt.task))
        for manager, keys in at_managers.items():
            self._commands.append(ToManager(manager, Cancel(keys)))

    # ------------------------------------------------------------------ managers

    def _registered(self, event: ManagerRegistered) -> None:
        manager = Manager(event, self._clock)
        self.managers[event.manager] = manager
        self.silence.add(manager)
        self.places.add(manager)
        self._hopeless = None
        cores, memory, gpus = self.most
        self.most = most = (max(cores, event.slots), max(memory, event.memory), max(gpus, event.gpus))
        if not cores or -1 in (memory, gpus):
            self._refuse_too_large(most)

    def _heard(self, event: ManagerHeard) -> None:
        manager = self.managers.get(event.manager)
        if manager is None:
            return
        self.silence.heard(manager, self._clock)
        if event.window:
            manager.window = event.window
        if manager.state is ManagerState.SUSPECT:
            self._move(manager, ManagerEvent.HEARD)

    def _gone(self, event: ManagerGone) -> None:
        manager = self.managers.pop(event.manager, None)
        if manager is None:
            return
        self.places.remove(manager)
        self.silence.remove(manager)
        manager.state = moved("manager", MANAGER_MOVES, manager.state, ManagerEvent.GONE)
        back = []
        for attempt, perhaps in manager.may_have_begun(self._unsure):
            begun = perhaps if event.begun is None else attempt.key in event.begun or attempt.state is _RUNNING
            self._release(attempt)
            attempt.manager = None
            if attempt.state is _ENDED:
                continue
            if begun:
                self._end(attempt)
                self._answer(Result(*attempt.key, [], manager_lost(attempt.task, manager.name, event.reason)))
            else:
                attempt.state = moved("attempt", ATTEMPT_MOVES, attempt.state, AttemptEvent.GIVE_BACK)
                back.append(attempt)
        for attempt in reversed(back):
            self._requeue(attempt)

    def _drain(self, event: DrainRequested) -> None:
        manager = self.managers.get(event.manager)
        if manager is None or manager.state is ManagerState.DRAINING:
            return
        self._move(manager, ManagerEvent.DRAIN)
        if event.gone:
            return
        if manager.outstanding:
            self._recall(manager)
        else:
            self._commands.append(ManagerDrained(manager.number))

    def _ticked(self, _: Ticked) -> None:
        self._ticked_at = self._now
        clock = self._clock
        for manager in self.silence.lost(clock):
            reason = f"it was silent for {clock - manager.heard:.0f} s"
            self._commands.append(ManagerTimedOut(manager.number, reason))
            self._gone(ManagerGone(manager.number, reason))
        for manager in self.silence.quiet(clock):
            if manager.state is ManagerState.UP:
                self._move(manager, ManagerEvent.SILENT)
                self._commands.append(ManagerSuspected(manager.number, clock - manager.heard))
        self._clear_for_old_ones()
        if self.uneven:
            for manager in self.places.stuck(clock - STUCK_AFTER):
                manager.moved = clock
                self._recall(manager)

    def _move(self, manager: Manager, event: ManagerEvent) -> None:
        self.places.remove(manager)
        manager.state = moved("manager", MANAGER_MOVES, manager.state, event)
        if manager.state is ManagerState.UP:
            self.places.add(manager)

    def _settle(self, manager: Manager) -> None:
        self.places.settle(manager)
        if manager.state is ManagerState.DRAINING and not manager.outstanding:
            self._commands.append(ManagerDrained(manager.number))

    # ------------------------------------------------------------------ what managers say of attempts

    def _ended(self, event: AttemptsEnded) -> None:
        manager = self.managers.get(event.manager)
        attempts, ahead = self.attempts, self.ahead
        outstanding = manager.outstanding if manager is not None else {}
        number, box = -1, self.dropped
        for result in event.results:
            if result.client != number:
                number = result.client
                known = self.shares.get(number) is not None
                box = self._results.setdefault(number, []) if known else self.dropped
            key = (number, result.tid, result.attempt)
            attempt = attempts.get(key)
            held = outstanding.get(key)
            if held is not None:
                self._release(held)
                held.manager = None
                if result.failure is None:
                    self.durations.note(held.task.code, result.ended - result.started)
            if attempt is None or attempt.state is _ENDED:
                self.ignored += 1
                self.dropped.append(result)
                continue
            if attempt.state is _QUEUED or attempt.state is _PARKED:
                self._end_waiting(attempt, None)
            else:
                self._end(attempt)
            box.append(result)
            if ahead and box is not self.dropped and result.failure is None:
                self._made(result)
        if manager is not None:
            manager.moved = self._clock
            self.silence.heard(manager, self._clock)
            self._settle(manager)

    def _running(self, event: AttemptsRunning) -> None:
        announced: dict[int, list[RunningAttempt]] = {}
        for item in event.attempts:
            attempt = self.attempts.get((item.client, item.tid, item.attempt))
            if attempt is None or attempt.state is not _SENT or attempt.manager is None:
                continue
            if attempt.manager.number == event.manager:
                attempt.state = moved("attempt", ATTEMPT_MOVES, attempt.state, AttemptEvent.START)
                announced.setdefault(item.client, []).append(item)
        for client, items in announced.items():
            if self.shares.get(client) is not None:
                self._commands.append(ToClient(client, Running(items)))

    def _returned(self, event: AttemptsReturned) -> None:
        manager = self.managers.get(event.manager)
        if manager is None:
            return
        if event.delivered:
            manager.answered_recall()
        back = []
        for key in event.attempts:
            attempt = manager.outstanding.get((key[0], key[1], key[2]))
            if attempt is None:
                continue
            self._release(attempt)
            attempt.manager = None
            if attempt.state is _SENT:
                attempt.state = moved("attempt", ATTEMPT_MOVES, attempt.state, AttemptEvent.GIVE_BACK)
                back.append(attempt)
        for attempt in reversed(back):
            self._requeue(attempt)
        manager.moved = self._clock
        self._settle(manager)

    def _blobs_missing(self, event: BlobsMissing) -> None:
        manager = self.managers.get(event.manager)
        if manager is None:
            return
        for digest in event.digests:
            data = self.blobs.get(digest)
            if data is not None:
                self._commands.append(ToManager(manager.number, Blob(digest, data)))
            else:
                # What waits there for the blob comes back, and waits here until its client has sent it again.
                manager.known.discard(digest)
                self._recall(manager)

    # ------------------------------------------------------------------ capacity

    def _capacity_lost(self, event: CapacityLost) -> None:
        self._hopeless = event.failure
        self._fail_queues(event.failure)

    def _capacity_expected(self, _: CapacityExpected) -> None:
        self._hopeless = None

    def _fail_queues(self, failure: Failure) -> None:
        parked = [a for waiting in self._parked.values() for a in waiting]
        self._parked.clear()
        for attempt in [*self.shares.everything(), *parked]:
            if type(attempt) is Needy:
                self.places.unclaim(attempt)
            self._end(attempt)
            self._answer(Result(*attempt.key, [], failure))
