"""A light client: it keeps a pool full of tasks, and checks that each ends once."""

from __future__ import annotations

import os
import sys
import time

from shoal.links import Poll, dial
from shoal.outcome import Payload
from shoal.wire.frames import Codec
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Hello,
    Message,
    PoolStatus,
    Results,
    Shutdown,
    StatusRequest,
    Task,
    Tasks,
)
from shoal.wire.starting import Address

CODE = b"c" * 16
BODY = Payload(b"b" * 60)
MOST = 1024
"""Tasks in one message."""

SPARE = 20_000
"""Tasks at least that wait in the pool while it is full."""

PATIENCE = 60.0
"""Seconds without anything from the pool after which it counts as stuck."""


class Client:
    """One client.

    Args:
        address: of the pool's door.
    """

    def __init__(self, address: Address) -> None:
        self._line = dial(address)
        self._codec = Codec()
        self._poll = Poll()
        self._poll.add_link(self._line, self._receive)
        self._ended = bytearray()
        self._status: PoolStatus | None = None
        self.submitted = 0
        self.done = 0
        self._send(
            Hello(PROTOCOL_VERSION, "scale", "scale", f"{sys.version_info[0]}.{sys.version_info[1]}", os.getpid())
        )
        self._send(Blob(CODE, b"code"))

    def status(self) -> PoolStatus:
        """The pool now."""
        self._status = None
        self._send(StatusRequest(1))
        self._wait(lambda: self._status is not None)
        assert self._status is not None
        return self._status

    def submit(self, count: int) -> None:
        """Send so many tasks."""
        while count > 0:
            some = min(count, MOST)
            first = self.submitted
            self._send(Tasks([Task(n, 1, CODE, b"", None, BODY, label="f") for n in range(first, first + some)]))
            self._ended.extend(bytes(some))
            self.submitted += some
            count -= some

    def turn(self, tasks: int) -> None:
        """Let so many tasks end, each replaced by a new one: before all slots are served, so that none waits for a task."""
        goal = self.done + tasks
        kept = self.submitted - self.done
        while self.done < goal:
            before = self.done
            self._wait(lambda before=before: self.done > before)
            missing = kept - (self.submitted - self.done)
            if missing >= MOST:
                self.submit(missing)

    def drain(self) -> None:
        """Let all that was submitted end."""
        self._wait(lambda: self.done == self.submitted)

    def close(self) -> None:
        """End the pool."""
        self._send(Shutdown("the benchmark is over"))
        self._line.close(1.0)

    def _wait(self, reached) -> None:
        deadline = time.monotonic() + PATIENCE
        seen = self.done
        while not reached():
            self._poll.once(1.0)
            now = time.monotonic()
            if self.done > seen:
                seen, deadline = self.done, now + PATIENCE
            if now > deadline:
                raise TimeoutError(
                    f"nothing came from the pool for {PATIENCE:.0f} s; {self.done} of {self.submitted} are done"
                )

    def _receive(self) -> None:
        while (frames := self._line.receive()) is not None:
            message = self._codec.decode(frames)
            if isinstance(message, Results):
                for result in message.results:
                    if self._ended[result.tid] or result.failure is not None:
                        raise AssertionError(f"task {result.tid} ended twice, or failed: {result.failure}")
                    self._ended[result.tid] = 1
                self.done += len(message.results)
            elif isinstance(message, PoolStatus):
                self._status = message

    def _send(self, message: Message) -> None:
        self._line.send(self._codec.encode(message))
