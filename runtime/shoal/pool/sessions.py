"""The sessions of a lasting pool: what it keeps of them until their clients have it, also while those are away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from shoal.dispatch.events import BlobArrived, ClientJoined, Event, Key, TasksSubmitted, ToClient, ToManager
from shoal.dispatch.machine import Dispatcher
from shoal.dispatch.states import AttemptState
from shoal.errors import ResultDropped
from shoal.pool.ledger import Ledger, Past
from shoal.pool.unread import Unread
from shoal.resources import as_text
from shoal.serialize import pack_failure
from shoal.wire.messages import (
    Blob,
    Held,
    HeldTask,
    Message,
    Output,
    Result,
    Results,
    Returned,
    Running,
    RunningAttempt,
    SessionStatus,
    Task,
    Tasks,
)

__all__ = ["Bounds", "Kept", "Sessions"]

_STATES = {AttemptState.SENT: "sent", AttemptState.RUNNING: "running"}


class Bounds(msgspec.Struct, frozen=True):
    """How much a pool keeps for clients that are away.

    Args:
        nbytes: of results, all sessions together.
        seconds: how long.
    """

    nbytes: int
    seconds: float


class _Batch(msgspec.Struct):
    """Results that left for a client in one message."""

    results: list[Result]
    nbytes: int
    at: float


class Kept:
    """One session.

    Args:
        client: its number in the pool.
        session: its id.
        name: of its client, for people.
    """

    def __init__(self, client: int, session: str, name: str) -> None:
        self.client, self.session, self.name = client, session, name
        self.labels: dict[Key, str] = {}
        """Of all attempts that were accepted, and whose results the client has not taken."""
        self.batches: deque[_Batch] = deque()
        self.taken = 0
        """How many of the messages that were sent to the client as it is connected now it has taken."""
        self.running: dict[tuple[int, int], RunningAttempt] = {}
        """Of those that have been running for a moment, what its client was told."""
        self.away_since: float | None = None

    @property
    def nbytes(self) -> int:
        """Size of its results."""
        return sum(batch.nbytes for batch in self.batches)


class Sessions:
    """All sessions of one pool.

    Args:
        machine: the pool's dispatch machine, which is only asked.
        ledger: where what must not be forgotten is written.
        bounds: how much is kept for those that are away.
        pid_of: gives the process of a manager by its number.
    """

    def __init__(
        self, machine: Dispatcher, ledger: Ledger, bounds: Bounds, pid_of: Callable[[int], int] = lambda _: 0
    ) -> None:
        self._machine, self._ledger, self._bounds, self._pid_of = machine, ledger, bounds, pid_of
        self._kept: dict[int, Kept] = {}
        self._by_id: dict[str, Kept] = {}
        self._now = 0.0
        self.limbo: dict[Key, tuple[Task, int]] = {}
        """Attempts that may have begun in the process before, and of which nothing has been heard since; each with the process
        of the manager that it was sent to."""
        machine.elsewhere = self.limbo.keys()
        self._unread = Unread()

    # ------------------------------------------------------------------ clients

    def find(self, session: str) -> Kept | None:
        """A session that is known."""
        return self._by_id.get(session)

    def open(self, client: int, session: str, name: str) -> None:
        """A session comes for the first time."""
        self._add(Kept(client, session, name))
        self._ledger.opened(client, session, name)

    def resume(self, kept: Kept, name: str) -> list[Message]:
        """Its client is there (again); returns what has to be sent to it."""
        kept.name, kept.away_since, kept.taken = name, None, 0
        news: list[Message] = [*self._unread.take(kept.client), *(Results(batch.results) for batch in kept.batches)]
        if kept.running:  # last, for what runs may have waited for one of these results
            news.append(Running(list(kept.running.values())))
        return news

    def heard(self, output: Output) -> None:
        """A task has printed, and its client is not connected."""
        kept = self._kept.get(output.client)
        if kept is not None and (output.client, output.tid, output.attempt) in kept.labels:
            self._unread.add(output)

    def away(self, client: int, now: float) -> bool:
        """Its client has left, and may come again; returns whether there is anything to be kept."""
        kept = self._kept.get(client)
        if kept is None or not kept.labels:
            return False
        kept.away_since = now
        return True

    def end(self, client: int) -> None:
        """A session is over."""
        kept = self._kept.pop(client, None)
        self._unread.take(client)
        for key in [key for key in self.limbo if key[0] == client]:
            del self.limbo[key]
        if kept is not None:
            del self._by_id[kept.session]
            self._ledger.gone(client)

    def held(self, kept: Kept | None) -> Held:
        """What there is of a session."""
        if kept is None:
            return Held(False, [])
        attempts, ahead, tasks = self._machine.attempts, self._machine.ahead, []
        for key, label in kept.labels.items():
            attempt = attempts.get(key)
            state = "sent" if key in self.limbo else "waiting" if key in ahead else "done"
            if attempt is not None:
                state = _STATES.get(attempt.state, "waiting")
            tasks.append(HeldTask(key[1], key[2], label, state))
        return Held(True, tasks)

    # ------------------------------------------------------------------ what passes through

    def accept(self, client: int, tasks: list[Task]) -> list[Task]:
        """Attempts come; returns those that had not come before."""
        kept = self._kept.get(client)
        if kept is None:
            return tasks  # a client that gave no session
        labels = kept.labels
        new = []
        for task in tasks:
            key = (client, task.tid, task.attempt)
            if key not in labels:
                labels[key] = task.label
                new.append(task)
        if new:
            self._ledger.accepted(client, new)
        return new

    def blob(self, blob: Blob) -> None:
        """A blob comes."""
        self._ledger.blob(blob.digest, blob.data)

    def back(self, keys: list[Key]) -> None:
        """Attempts come back from a manager, never begun."""
        self._ledger.back(keys)

    def before(self, commands: list[Any]) -> None:
        """What the machine orders is about to be carried out: remember what must not be forgotten."""
        for command in commands:
            message = command.message if type(command) in (ToClient, ToManager) else None
            if type(message) is Tasks:
                self._ledger.sent(self._pid_of(command.manager), [(t.client, t.tid, t.attempt) for t in message.tasks])
            elif type(message) is Results:
                self._keep(command.client, message.results)
            elif type(message) is Running:
                self._note_running(command.client, message)
            elif type(message) is Returned:
                self._refuse(command.client, message.attempts)
        self._ledger.flush()

    def taken(self, client: int, count: int) -> None:
        """A client has taken so many messages of results since it came."""
        kept = self._kept.get(client)
        if kept is None:
            return
        fresh = min(count - kept.taken, len(kept.batches))
        if fresh > 0:
            for _ in range(fresh):
                for result in kept.batches.popleft().results:
                    kept.labels.pop((client, result.tid, result.attempt), None)
            kept.taken += fresh
            self._ledger.taken(client, fresh)

    # ------------------------------------------------------------------ bounds

    def look(self, now: float) -> tuple[list[int], list[str]]:
        """Keep within the bounds, and the ledger small.

        Args:
            now: seconds since the epoch.

        Returns:
            Clients that have been away for too long, and what people should know.
        """
        self._now = now
        absent = [kept for kept in self._kept.values() if kept.away_since is not None]
        late = [kept for kept in absent if now - (kept.away_since or now) > self._bounds.seconds]
        said = [
            f"{self._about(kept)} has been away for {self._bounds.seconds / 3600:.3g} h and is dropped" for kept in late
        ]
        self._squeeze([kept for kept in absent if kept not in late], said)
        if self._ledger.wants_compaction():
            self._tell_again()
            self._ledger.begin()
        return [kept.client for kept in late], said

    def absent(self) -> list[SessionStatus]:
        """The sessions whose clients are away."""
        absent = {client: kept for client, kept in self._kept.items() if kept.away_since is not None}
        unfinished = dict.fromkeys(absent, 0)
        for key in (*self._machine.attempts, *self.limbo, *self._machine.ahead.keys()) if absent else ():
            if key[0] in unfinished:
                unfinished[key[0]] += 1
        return [
            SessionStatus(
                k.session, k.name, k.away_since or 0.0, unfinished[n], len(k.labels) - unfinished[n], k.nbytes
            )
            for n, k in absent.items()
        ]

    def close(self) -> None:
        """The pool ends in good order: there is nothing to come back to."""
        self._ledger.close()

    # ------------------------------------------------------------------ after a restart

    def restore(self, past: Past, unbegun: set[Key], now: float) -> list[Event]:
        """Take over what the process before knew. What may have begun there is in ``limbo`` then.

        Args:
            past: what its ledger says.
            unbegun: attempts of which managers have left word that they had not begun.
            now: seconds since the epoch.

        Returns:
            What the machine is to be told.
        """
        self._now = now
        events: list[Event] = [ClientJoined(client) for client in past.sessions]
        events += [BlobArrived(0, Blob(digest, data)) for digest, data in past.blobs.items()]
        begun = past.sent.keys() - unbegun
        for client, was in past.sessions.items():
            kept = Kept(client, was.session, was.name)
            kept.labels, kept.away_since = was.labels, now
            self._add(kept)
            for results in was.batches:
                kept.batches.append(self._batch(results))
            for key, task in was.tasks.items():
                task.client = client
                if key in begun:
                    self.limbo[key] = (task, past.sent[key])
            waiting = [task for key, task in was.tasks.items() if key not in begun]
            if waiting:
                events.append(TasksSubmitted(client, waiting, restored=True))
        self._tell_again(past)
        return events

    # ------------------------------------------------------------------ inside

    def _add(self, kept: Kept) -> None:
        self._kept[kept.client] = kept
        self._by_id[kept.session] = kept

    def _keep(self, client: int, results: list[Result]) -> None:
        kept = self._kept.get(client)
        if kept is not None:
            kept.batches.append(self._batch(results))
            self._ledger.ended(client, results)
            if kept.running:
                for result in results:
                    kept.running.pop((result.tid, result.attempt), None)

    def _note_running(self, client: int, message: Running) -> None:
        """Who takes over the session is to know it, too."""
        kept = self._kept.get(client)
        if kept is not None:
            kept.running.update(((item.tid, item.attempt), item) for item in message.attempts)

    def _refuse(self, client: int, keys: list[Key]) -> None:
        """Attempts go back to their client; it will send them again."""
        kept = self._kept.get(client)
        if kept is not None:
            for key in keys:
                kept.labels.pop(key, None)
            self._ledger.refused(keys)

    def _batch(self, results: list[Result]) -> _Batch:
        size = sum(200 + sum(payload.nbytes() for payload in result.values) for result in results)
        return _Batch(results, size, self._now)

    def _about(self, kept: Kept) -> str:
        machine = self._machine
        alive = [key for key in kept.labels if key in machine.attempts or key in self.limbo or key in machine.ahead]
        unfinished = len(alive)
        done = len(kept.labels) - unfinished
        return f"the session of {kept.name} ({done} results, {as_text(kept.nbytes)}; {unfinished} unfinished tasks)"

    def _squeeze(self, absent: list[Kept], said: list[str]) -> None:
        """Drop the oldest results while there are too many; their places are taken by errors that say so."""
        left = sum(kept.nbytes for kept in absent) - self._bounds.nbytes
        if left <= 0:
            return
        oldest = sorted(
            ((b.at, i, kept, b) for kept in absent for i, b in enumerate(kept.batches)), key=lambda x: x[:2]
        )
        dropped: dict[str, int] = {}
        for _, _, kept, batch in oldest:
            if left <= 0:
                break
            before, count = batch.nbytes, self._drop(kept, batch)
            left -= before - batch.nbytes
            dropped[kept.name] = dropped.get(kept.name, 0) + count
        limit = as_text(self._bounds.nbytes)
        said += [
            f"{n} results for {name}, who is away, are dropped: more than {limit} are not kept"
            for name, n in dropped.items()
            if n
        ]

    def _drop(self, kept: Kept, batch: _Batch) -> int:
        """Drop the values of a batch; returns of how many results."""
        reason = f"its client was away, and {as_text(self._bounds.nbytes)} of results are kept at most"
        count = 0
        for place, result in enumerate(batch.results):
            if result.values:
                key = (result.client, result.tid, result.attempt)
                what = f"task {result.tid} ({kept.labels.get(key, '')})"
                failure = pack_failure(ResultDropped(what, reason))
                batch.results[place] = Result(*key, [], failure, result.worker, result.started, result.ended)
                count += 1
        batch.nbytes = 200 * len(batch.results)
        return count

    def _tell_again(self, past: Past | None = None) -> None:
        """Tell the ledger all that is still needed."""
        ledger, machine = self._ledger, self._machine
        ledger.flush()
        needed: set[bytes] = set()
        tasks: dict[int, list[Task]] = {client: [] for client in self._kept}
        found: Iterable[Task]
        if past is None:
            found = [a.task for a in machine.attempts.values() if a.key[0] in tasks]
            found += [task for task, _ in self.limbo.values()]
            found += [task for task in machine.ahead.tasks() if task.client in tasks]
        else:
            found = [task for was in past.sessions.values() for task in was.tasks.values()]
        for task in found:
            tasks[task.client].append(task)
            needed.update((task.code, task.captures))
        for client, kept in self._kept.items():
            ledger.opened(client, kept.session, kept.name)
            ledger.accepted(client, tasks[client])
            for batch in kept.batches:
                keys = [(client, r.tid, r.attempt) for r in batch.results]
                ledger.known(client, [(key, kept.labels.get(key, "")) for key in keys])
                ledger.ended(client, batch.results)
        for digest in needed:
            data = machine.blobs.get(digest) if past is None else past.blobs.get(digest)
            if data is not None:
                ledger.blob(digest, data)
        for key, (_, pid) in self.limbo.items():
            ledger.sent(pid, [key])
        if past is None:
            for manager in machine.managers.values():
                ledger.sent(self._pid_of(manager.number), list(manager.outstanding))
