"""The book of the dispatch machine: what is where, and the steps that keep it right."""

from __future__ import annotations

from shoal.dispatch.attempts import Attempt, Manager
from shoal.dispatch.blobs import BlobStore
from shoal.dispatch.events import Command, Key, ToClient, ToManager
from shoal.dispatch.policy import Durations, Places, Shares
from shoal.dispatch.states import ATTEMPT_MOVES, AttemptEvent, AttemptState, moved
from shoal.outcome import Failure
from shoal.wire.messages import Blob, NeedBlob, Result, Results, Task, Tasks

__all__ = ["Book"]

_SEND, _PARK, _END = AttemptEvent.SEND, AttemptEvent.PARK, AttemptEvent.END


class Book:
    """Attempts, clients, managers and blobs, and what is about to be sent.

    Args:
        blob_limit: bytes of blobs kept.
    """

    def __init__(self, blob_limit: int) -> None:
        self.attempts: dict[Key, Attempt] = {}
        self.managers: dict[int, Manager] = {}
        self.shares = Shares()
        self.places = Places()
        self.durations = Durations()
        self.blobs = BlobStore(blob_limit)
        self.done = 0
        """Attempts that have ended."""
        self.ignored = 0
        """Results and requests about attempts that are not (any more) known."""
        self._parked: dict[bytes, list[Attempt]] = {}
        self._commands: list[Command] = []
        self._results: dict[int, list[Result]] = {}

    @property
    def waiting(self) -> int:
        """Attempts that wait in the pool."""
        return self.shares.waiting + sum(len(p) for p in self._parked.values())

    @property
    def uneven(self) -> bool:
        """Whether attempts wait at a manager while there is room elsewhere: then tick often."""
        return bool(self.places.behind) and self.places.cores > 0

    # ------------------------------------------------------------------ giving out places

    def _give_out(self) -> None:
        """Send what waits to where there is room."""
        shares, places, durations = self.shares, self.places, self.durations
        outbox: dict[int, list[Task]] = {}
        while (pair := shares.next()) is not None:
            client, attempt = pair
            task = attempt.task
            load = durations.load(task.code)
            manager = places.find(attempt, load)
            if manager is None:
                break
            client.pop()
            if not self._bring_blobs(manager, attempt):
                continue
            attempt.state = ATTEMPT_MOVES[attempt.state, _SEND]
            attempt.manager = manager
            if not manager.outstanding:
                manager.moved = manager.heard
            manager.outstanding[attempt.key] = attempt
            client.cores += attempt.cores
            places.take(manager, attempt, load)
            batch = outbox.get(manager.number)
            if batch is None:
                outbox[manager.number] = [task]
            else:
                batch.append(task)
        for number, tasks in outbox.items():
            self._commands.append(ToManager(number, Tasks(tasks)))

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
        """The attempt waits again, before the others of its priority; it is forgotten if its client is gone."""
        client = self.shares.get(attempt.key[0])
        if client is None:
            self._end(attempt)
            return
        client.push(attempt, first=True)
        self.shares.wake(client)

    def _end(self, attempt: Attempt) -> None:
        """The attempt has its outcome."""
        attempt.state = moved("attempt", ATTEMPT_MOVES, attempt.state, _END)
        del self.attempts[attempt.key]
        self.done += 1

    def _end_waiting(self, attempt: Attempt, failure: Failure | None) -> None:
        """An attempt that waits ends here, with ``failure`` for its client."""
        client = self.shares.get(attempt.key[0])
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

    def _answer(self, result: Result) -> None:
        """Tell the client, if it is there."""
        if self.shares.get(result.client) is not None:
            self._results.setdefault(result.client, []).append(result)
