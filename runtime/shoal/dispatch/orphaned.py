"""Attempts that wait for values: what ends them when nobody is left who would."""

from __future__ import annotations

from collections.abc import Collection

from shoal.dispatch.ahead import Ahead
from shoal.dispatch.book import Book
from shoal.dispatch.events import AttemptsEndedElsewhere, ClientGoneForGood, Key, ToClient
from shoal.dispatch.failures import input_failed
from shoal.dispatch.silence import Silence
from shoal.wire.messages import Result, Returned, Task

__all__ = ["Orphaned"]

_LATER = 3
"""Of a task whose attempt has failed: so many numbers after it are looked at for one that its client has sent already."""


class Orphaned(Book):
    """The part of the machine that knows what waits for values.

    While its client is there, or may come again, that decides what becomes of an attempt whose source has failed: the source
    may be tried again, or else the attempt is cancelled. Where the client is gone for good the attempt ends here.

    Args:
        blob_limit, silence: as for the book.

    Attributes:
        ahead: what waits for values.
        elsewhere: attempts that may run at managers which the machine does not know; only looked at here.
    """

    def __init__(self, blob_limit: int, silence: Silence) -> None:
        super().__init__(blob_limit, silence)
        self.ahead = Ahead()
        self.elsewhere: Collection[Key] = ()
        self._for_good: set[int] = set()

    def _gone_for_good(self, event: ClientGoneForGood) -> None:
        client = event.client
        if self.shares.get(client) is None or client in self._for_good:
            return
        self._for_good.add(client)
        alive = {key[1] for key in (*self.attempts, *self.elsewhere) if key[0] == client}
        for source in self.ahead.sources(client):
            if source not in alive and (client, source, 1) not in self.ahead:
                self._end_takers(client, source)

    def _ended_elsewhere(self, event: AttemptsEndedElsewhere) -> None:
        for result in event.results:
            if result.failure is None:
                self._made(result)
            elif result.client in self._for_good:
                self._end_takers(result.client, result.tid)

    def _made(self, result: Result) -> None:
        """An attempt has its values: pass them on. If some of them are flawed, its client decides about that."""
        client, tid = result.client, result.tid
        if result.flaws and client not in self._for_good:
            back = [(client, task.tid, task.attempt) for task in self.ahead.failed(client, tid)]
            if back:
                self._commands.append(ToClient(client, Returned(back)))
            return
        flawed = {index for index, _ in result.flaws}
        if flawed:
            self._end_takers(client, tid, flawed)
        ready = self.ahead.made(client, tid, result.values)
        if ready:
            self._submit_ready(client, ready)

    def _submit_ready(self, client: int, tasks: list[Task]) -> None:
        """These have all their values now."""
        raise NotImplementedError

    def _comes(self, key: Key) -> bool:
        """Whether an attempt is in the pool, and has not ended."""
        return key in self.attempts or key in self.elsewhere

    def _follow_failures(self) -> None:
        """What waits for something that has failed, and whose client is gone for good, fails with it, and so on."""
        for client in self._for_good:
            for result in self._results.get(client, ()):  # grows while it is gone through
                if result.failure is not None:
                    later = range(result.attempt + 1, result.attempt + 1 + _LATER)
                    if not any(self._comes((client, result.tid, number)) for number in later):
                        self._end_takers(client, result.tid)

    def _end_takers(self, client: int, source: int, outputs: Collection[int] | None = None) -> None:
        for task in self.ahead.failed(client, source, outputs):
            self._answer(Result(client, task.tid, task.attempt, [], input_failed(task, source)))
