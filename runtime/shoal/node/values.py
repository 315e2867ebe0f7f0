"""What tasks get and give: from payloads to objects and back, by way of shared memory where that can be."""

from __future__ import annotations

from typing import Any

from shoal.arena import LEND, Arena, Library
from shoal.outcome import Payload
from shoal.serialize import pack, unpack, unpack_call
from shoal.wire.frames import OUTSIDE, Common, Lent, Outside, outside
from shoal.wire.messages import Task

__all__ = ["ARENA", "Values"]

ARENA = 512 << 20
"""Bytes of results that one worker can have lent at a time; what is more travels with the messages."""


class Values:
    """Reads arguments, and packs results.

    Args:
        arena: the memory for results: the process and descriptor under which others find it, and its descriptor here.
    """

    def __init__(self, arena: tuple[int, int, int]) -> None:
        *self._at, self._fd = arena
        self._arena: Arena | None = None
        self._refused = False
        self.mark = 1
        """Of the task at hand: what it lends belongs to it."""
        self._library = Library()
        self._read: list[Lent] = []

    def arguments(self, task: Task) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a task.

        Raises:
            LoanGone: one of them lay in shared memory, and is not there any more.
            Exception: whatever unpickling raises.
        """
        body = task.body
        if not task.inputs and not body.buffers and type(body.head) is bytes:
            return unpack_call(body, ())
        read = self._read
        read.clear()
        try:
            inputs = [self._value(item.payload) for item in task.inputs if item.payload is not None]
            return unpack_call(self._inside(body), inputs, take=True)
        finally:
            for lent in read:  # one that is gone is why it could not be unpickled, or why it is nonsense
                self._library.check(lent)

    def pack(self, value: Any, what: str, lend: bool) -> Payload:
        """A value as it travels.

        Args:
            value: any object.
            what: it in the user's words.
            lend: whether large parts of it may stay in shared memory.

        Raises:
            NotPicklable: it cannot travel.
        """
        payload = pack(value, what=what, place=self._give if lend else None)
        small = not payload.buffers and len(payload.head) < OUTSIDE
        return payload if small else outside(payload)

    def _value(self, payload: Payload) -> Any:
        common = type(payload.head) is Common or any(type(part) is Common for part in payload.buffers)
        return unpack(self._inside(payload), take=True, common=common)

    def _give(self, data: Any) -> Lent | None:
        if memoryview(data).nbytes < LEND or self._refused:
            return None
        if self._arena is None:
            try:
                self._arena = Arena(ARENA, (self._at[0], self._at[1]), self._fd)
            except OSError:  # a limit of this process: values travel with the messages
                self._refused = True
                return None
        return self._arena.give(data, self.mark)

    def _inside(self, payload: Payload) -> Payload:
        """The payload with plain buffers, where the codec has left its own marks."""
        head = payload.head
        if type(head) is bytes and not payload.buffers:
            return payload
        plain = self._plain(head)
        if type(head) is Lent:
            plain = bytes(plain)  # a stream that changes while it is unpickled could call anything
            self._library.check(head)
        return Payload(plain, tuple(map(self._plain, payload.buffers)))

    def _plain(self, part: Any) -> Any:
        if type(part) is Outside:
            return part.data
        if isinstance(part, Lent):
            self._read.append(part)
            return self._library.view(part)
        return part
