"""Managers that have outlived the process of their pool, and what they still run.

They get nothing new: each brings what it had begun to its end, and ends. The dispatch machine knows nothing of them, nor of
their attempts. What none of them has, once all of them have said what they have or are gone, is lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from shoal.dispatch.events import Key
from shoal.dispatch.failures import cancelled, manager_lost
from shoal.links import Poll
from shoal.wire.messages import (
    Blob,
    Cancel,
    Message,
    NeedBlob,
    Register,
    Result,
    Results,
    Shutdown,
    Taken,
    Task,
    Welcome,
)

__all__ = ["Orphans"]

_WHY = "its pool's process was killed"


Ways = tuple[
    Callable[[bytes, Message], object],
    Callable[[list[Result]], None],
    Callable[[list[Task]], None],
    Callable[[bytes], object],
]


class _Orphan:
    def __init__(self, pid: int, holds: set[Key]) -> None:
        self.pid, self.holds = pid, holds
        self.messages = 0


class Orphans:
    """The managers of the process before.

    Args:
        pool: the pool's name.
        pids: of those that live, by their descriptors, which are closed here.
        tasks: the attempts that may have begun there, each with the process that it was sent to.
        poll: where their processes are watched.
        ways: to send a message to a manager, by its identity; to pass on results; to queue attempts again; and to find a blob,
            None if it is gone.
    """

    def __init__(
        self,
        pool: str,
        pids: dict[int, int],
        tasks: dict[Key, tuple[Task, int]],
        poll: Poll,
        ways: Ways,
    ) -> None:
        self._pool, self._tasks, self._poll = pool, tasks, poll
        self._send, self._deliver, self._again, self._blob = ways
        self._pids = dict(pids)
        self._awaited = set(pids.values())
        self._known: dict[bytes, _Orphan] = {}
        self._unwanted: set[Key] = set()
        """Those of the attempts that their clients have cancelled; who has them may not have come yet."""
        self._since: float | None = None
        for fd in pids:
            poll.add(fd, lambda fd=fd: self._ended(fd))  # type: ignore[misc]

    def begin(self) -> None:
        """Everything is in its place: what no manager can have is lost now."""
        self._settle()

    # ------------------------------------------------------------------ what managers say

    def register(self, identity: bytes, message: Register) -> None:
        """A manager comes with what it has."""
        if message.pid not in self._pids.values():
            self._send(identity, Shutdown("this pool does not know the manager"))
            return
        for other, orphan in list(self._known.items()):
            if orphan.pid == message.pid:
                del self._known[other]  # it has connected once more
        holds = {(k[0], k[1], k[2]) for k in message.holds or ()}
        # What it was sent and does not have it has given up, or never had.
        back = [key for key, (_, pid) in self._tasks.items() if pid == message.pid and key not in holds]
        self._end([Result(*key, [], cancelled(self._tasks[key][0])) for key in back if key in self._unwanted])
        self._again([self._tasks.pop(key)[0] for key in back if key not in self._unwanted])
        self._known[identity] = _Orphan(message.pid, holds.intersection(self._tasks))
        self._awaited.discard(message.pid)
        self._send(identity, Welcome(self._pool, 0))
        self.cancel(list(self._unwanted))
        self._check(identity)
        self._settle()

    def take(self, identity: bytes, message: Message) -> bool:
        """A message of a manager; returns whether it is one of these."""
        orphan = self._known.get(identity)
        if orphan is None:
            return False
        if isinstance(message, Results):
            orphan.messages += 1
            self._end([r for r in message.results if (r.client, r.tid, r.attempt) in self._tasks])
            orphan.holds.difference_update((r.client, r.tid, r.attempt) for r in message.results)
            self._send(identity, Taken(orphan.messages))
            self._check(identity)
        elif isinstance(message, NeedBlob):
            for digest in message.digests:
                data = self._blob(digest)
                if data is None:  # what waits for it there would wait for ever
                    self._send(identity, Shutdown("what it needs is gone"))
                    break
                self._send(identity, Blob(digest, data))
        return True

    def cancel(self, keys: list[Key]) -> None:
        """A client wants these ended."""
        self._unwanted.update(key for key in keys if key in self._tasks)
        for identity, orphan in self._known.items():
            held = orphan.holds.intersection(keys)
            if held:
                self._send(identity, Cancel(list(held)))

    # ------------------------------------------------------------------ time and ends

    def look(self, now: float, seconds: float) -> None:
        """Time went by.

        Args:
            now: on a steady clock.
            seconds: how long one may take to register.
        """
        self._since = now if self._since is None else self._since
        if self._awaited and now - self._since > seconds:
            for pid in self._awaited:
                _kill(pid)

    def close(self) -> None:
        """The pool ends."""
        for identity in self._known:
            self._send(identity, Shutdown("the pool ended"))
        for pid in self._awaited:
            _kill(pid)

    def _ended(self, fd: int) -> None:
        self._poll.remove(fd)
        os.close(fd)
        pid = self._pids.pop(fd)
        self._awaited.discard(pid)
        for identity, orphan in list(self._known.items()):
            if orphan.pid == pid:
                del self._known[identity]
        self._settle()

    def _settle(self) -> None:
        """If all have been heard: what none of them has is lost."""
        if self._awaited:
            return
        held = set().union(*(orphan.holds for orphan in self._known.values()))
        gone = [task for key, (task, _) in self._tasks.items() if key not in held]
        self._end(
            [Result(t.client, t.tid, t.attempt, [], manager_lost(t, "a manager of this pool", _WHY)) for t in gone]
        )

    def _end(self, results: list[Result]) -> None:
        for result in results:
            del self._tasks[result.client, result.tid, result.attempt]
        if results:
            self._deliver(results)

    def _check(self, identity: bytes) -> None:
        if not self._known[identity].holds:
            self._send(identity, Shutdown("drained"))


def _kill(pid: int) -> None:
    """End a manager that cannot be reached, with what it runs."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
