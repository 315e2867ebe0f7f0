"""The book of the dispatch machine: what is where, and the steps that keep it right."""

from __future__ import annotations

from shoal.dispatch.attempts import Attempt, Client, Manager, Needy
from shoal.dispatch.blobs import BlobStore
from shoal.dispatch.events import Command, Key, ToClient, ToManager
from shoal.dispatch.failures import cancelled, too_large
from shoal.dispatch.policy import AGE, Durations, Shares
from shoal.dispatch.rooms import Rooms
from shoal.dispatch.silence import Silence
from shoal.dispatch.states import ATTEMPT_MOVES, AttemptEvent, AttemptState, moved
from shoal.outcome import Failure
from shoal.wire.messages import Blob, NeedBlob, Recall, Result, Results, Task, Tasks

__all__ = ["Book"]

CLEARED_AT_ONCE = 512
"""Managers that are looked at in one tick for attempts that are to claim one."""

_SEND, _PARK, _END = AttemptEvent.SEND, AttemptEvent.PARK, AttemptEvent.END
_SENT = ATTEMPT_MOVES[AttemptState.QUEUED, _SEND]


class Book:
    """Attempts, clients, managers and blobs, and what is about to be sent.

    Args:
        blob_limit: bytes of blobs kept.
        silence: says which managers have been silent for too long.
    """

    def __init__(self, blob_limit: int, silence: Silence) -> None:
        self.silence = silence
        self.attempts: dict[Key, Attempt] = {}
        self.managers: dict[int, Manager] = {}
        self.shares = Shares()
        self.places = Rooms()
        self.durations = Durations()
        self.blobs = BlobStore(blob_limit)
        self.done = 0
        """Attempts that have ended."""
        self.dropped: list[Result] = []
        """Results of the events taken in last that nobody gets, so that the shell can give back what they hold."""
        self.ignored = 0
        """Results and requests about attempts that are not (any more) known."""
        self._now = 0.0
        self._clock = 0.0
        """Seconds in which the machine ran: nobody is silent while nobody listens."""
        self._unwanted: set[Key] = set()
        """Attempts at managers that their clients have cancelled: none of them is to begin again."""
        self._parked: dict[bytes, list[Attempt]] = {}
        self._commands: list[Command] = []
        self._results: dict[int, list[Result]] = {}

    @property
    def waiting(self) -> int:
        """Attempts that wait in the pool."""
        return self.shares.waiting + sum(len(p) for p in self._parked.values())

    @property
    def uneven(self) -> bool:
        """Whether attempts wait at a manager while there is room elsewhere, or where there may be: then tick often."""
        places = self.places
        return (places.cores > 0 and bool(places.behind)) or places.sweeping

    def missing(self, client: int) -> list[bytes]:
        """Blobs for which attempts of a client wait."""
        mine = {digest: [a for a in parked if a.key[0] == client] for digest, parked in self._parked.items()}
        return [digest for digest, parked in mine.items() if parked]

    # ------------------------------------------------------------------ giving out places

    def _give_out(self) -> None:
        """Send what waits to where there is room."""
        shares, places, durations = self.shares, self.places, self.durations
        outbox: dict[int, list[Task]] = {}
        ripe = self._ripe() if places.claimed else []
        if places.sweeping:
            places.sweep(shares.any_aside)
        if places.grown:
            shares.look_again()
        places.filling = places.cores > 1 and not shares.any_aside and shares.waiting >= places.cores
        for client, attempt, manager in ripe:
            self._send(client, attempt, manager, 0.0, outbox)
        while (pair := shares.next()) is not None:
            client, attempt = pair
            if type(attempt) is Needy:
                cleared = self._find_room(client, attempt)
                if cleared is not None:
                    self._send(client, attempt, cleared, 0.0, outbox)
                continue
            load = durations.load(attempt.task.code)
            found = places.find(attempt, load)
            if found is None:
                break
            client.pop()
            self._send(client, attempt, found, load, outbox)
            if attempt.cores == 1 and attempt.manager is found and shares.only_one:
                self._send_more(client, found, load, outbox[found.number])
        if places.grown:
            places.grown = {}
            if not shares.looked():
                places.look_everywhere()
        for number, tasks in outbox.items():
            self._commands.append(ToManager(number, Tasks(tasks)))

    def _send(
        self, client: Client, attempt: Attempt, manager: Manager, load: float, outbox: dict[int, list[Task]]
    ) -> None:
        """An attempt, now in no queue, goes to a manager that has room for it."""
        task = attempt.task
        known = manager.known
        new = task.code not in known or (task.captures and task.captures not in known)
        if new and not self._bring_blobs(manager, attempt):
            return
        attempt.state = ATTEMPT_MOVES[attempt.state, _SEND]
        attempt.manager = manager
        if not manager.outstanding:
            manager.moved = manager.heard
        manager.outstanding[attempt.key] = attempt
        client.cores += attempt.cores
        self.places.take(manager, attempt, load)
        batch = outbox.get(manager.number)
        if batch is None:
            outbox[manager.number] = [task]
        else:
            batch.append(task)

    def _send_more(self, client: Client, manager: Manager, load: float, batch: list[Task]) -> None:
        """What is like the attempt that was just sent, and would go to the same manager next, goes there at once.

        Args:
            client: the only one whose attempts wait.
            manager: which.
            load: as of that attempt.
            batch: what the manager is sent; that attempt is the last in it.
        """
        room = self.places.more(manager, load)
        more = client.pop_alike(batch[-1], room) if room > 0 else ()
        if not more:
            return
        outstanding = manager.outstanding
        for attempt in more:
            attempt.state = _SENT
            attempt.manager = manager
            attempt.load = load
            outstanding[attempt.key] = attempt
            batch.append(attempt.task)
        client.cores += len(more)
        self.places.take_more(manager, len(more), load)

    def _find_room(self, client: Client, attempt: Needy) -> Manager | None:
        """Take the next attempt, a needy one, from its queue; None if there is no room for it, so that it steps aside."""
        places = self.places
        if attempt.aside:
            manager = places.find_grown(attempt.needs)
            if manager is None:
                client.untried.pop()
                return None
            places.unclaim(attempt)
            client.come_forward(attempt)
            return manager
        client.pop()
        again = attempt.since >= 0
        if not again:
            attempt.since = self._now
        manager = places.find_room(attempt.needs) if again or not client.has_like(attempt) else None
        if manager is None:
            self.shares.step_aside(client, attempt, first=again)
        return manager

    def _ripe(self) -> list[tuple[Client, Attempt, Manager]]:
        """Attempts for which a manager has been cleared, taken from their queues."""
        found: list[tuple[Client, Attempt, Manager]] = []
        for manager in list(self.places.claimed.values()):
            attempt = manager.claim
            if attempt is None or not self.places.ripe(manager):
                continue
            self.places.unclaim(attempt)
            client = self.shares.get(attempt.key[0])
            if client is not None:
                client.come_forward(attempt)
                found.append((client, attempt, manager))
        return found

    def _clear_for_old_ones(self) -> None:
        """Let those that stepped aside long ago claim a manager, the oldest first: so each gets its turn at the one it needs."""
        heads = [attempt for line in self.shares.aside() if (attempt := line.first()) is not None]
        old = [a for a in heads if a.claim is None and self._now - a.since > AGE]
        if old:
            managers = self.places.some(CLEARED_AT_ONCE)
            for attempt in sorted(old, key=lambda a: a.since):
                self.places.claim(attempt, managers)

    def _bring_blobs(self, manager: Manager, attempt: Attempt) -> bool:
        """Send along what the manager has not had yet; False if the attempt must wait for its client to send a blob."""
        task = attempt.task
        known = manager.known
        for digest in (task.code, task.captures) if task.captures else (task.code,):
            if digest in known:
                continue
            data = self.blobs.get(digest)
            if data is None:
                attempt.state = ATTEMPT_MOVES[attempt.state, _PARK]
                if digest not in self._parked:
                    self._parked[digest] = []
                    self._commands.append(ToClient(attempt.key[0], NeedBlob([digest])))
                self._parked[digest].append(attempt)
                return False
            known.add(digest)
            self._commands.append(ToManager(manager.number, Blob(digest, data)))
        return True

    def _flush(self) -> list[Command]:
        for number, results in self._results.items():
            if results:
                self._commands.append(ToClient(number, Results(results)))
        self._results.clear()
        commands, self._commands = self._commands, []
        return commands

    # ------------------------------------------------------------------ small steps

    def _release(self, attempt: Attempt) -> None:
        """The attempt is no longer with its manager."""
        manager = attempt.manager
        if manager is None:
            return
        del manager.outstanding[attempt.key]
        self.places.release(manager, attempt)
        client = self.shares.get(attempt.key[0])
        if client is not None:
            client.cores -= attempt.cores

    def _requeue(self, attempt: Attempt) -> None:
        """The attempt waits again, before the others of its priority; it ends if nobody wants it any more."""
        client = self.shares.get(attempt.key[0])
        if client is None or attempt.key in self._unwanted:
            self._end(attempt)
            self._answer(Result(*attempt.key, [], cancelled(attempt.task)))
            return
        client.push(attempt, first=True)
        self.shares.wake(client)

    def _end(self, attempt: Attempt) -> None:
        """The attempt has its outcome."""
        attempt.state = moved("attempt", ATTEMPT_MOVES, attempt.state, _END)
        del self.attempts[attempt.key]
        if self._unwanted:
            self._unwanted.discard(attempt.key)
        self.done += 1

    def _end_waiting(self, attempt: Attempt, failure: Failure | None) -> None:
        """An attempt that waits ends here, with ``failure`` for its client."""
        client = self.shares.get(attempt.key[0])
        if type(attempt) is Needy:
            self.places.unclaim(attempt)
        if attempt.state is AttemptState.PARKED:
            for digest, waiting in list(self._parked.items()):
                self._parked[digest] = [a for a in waiting if a is not attempt]
                if not self._parked[digest]:
                    del self._parked[digest]
        elif client is not None:
            client.waiting -= 1
        self._end(attempt)
        if failure is not None:
            self._answer(Result(*attempt.key, [], failure))

    def _refuse_too_large(self, most: tuple[int, int, int]) -> None:
        """Only now is it known what is too large for this pool: end what waits and is."""
        waiting = [a for a in self.attempts.values() if a.manager is None]
        for attempt in [a for a in waiting if type(a) is Needy or a.cores > most[0]]:
            failure = too_large(attempt.task, most)
            if failure is not None:
                self._end_waiting(attempt, failure)

    def _unsure(self, key: Key) -> bool:
        """Whether its manager was told that nobody wants the attempt any more."""
        return key in self._unwanted or self.shares.get(key[0]) is None

    def _recall(self, manager: Manager) -> None:
        manager.recall()
        self._commands.append(ToManager(manager.number, Recall()))

    def _answer(self, result: Result) -> None:
        """Tell the client, if it is there."""
        if self.shares.get(result.client) is not None:
            self._results.setdefault(result.client, []).append(result)
