"""Large values between a session and its pool, through shared memory."""

from __future__ import annotations

import os
import resource
from collections import deque
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from shoal.arena import LEND, Arena, Borrowed, Library, Loan, Share, share
from shoal.errors import LoanGone
from shoal.outcome import Payload
from shoal.serialize import pack
from shoal.wire.frames import Lent, Outside, outside

__all__ = ["SHARED_MEMORY", "Lender", "shared"]

SHARED_MEMORY = 1 << 30
"""Bytes of arguments that a session has lent at a time at most; what is more travels with the messages."""

_HELD = 256 << 20
"""Bytes of results that are left where their workers have put them; of what comes then, copies are made at once, so that
workers have room for more."""


class Lender:
    """Lends arguments and borrows results.

    Args:
        limit: bytes of arguments lent at a time at most; 0 lends nothing.
    """

    def __init__(self, limit: int = SHARED_MEMORY) -> None:
        self._arena: Arena | None = None
        if limit and resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
            with suppress(OSError):  # then values travel with the messages
                self._arena = Arena(limit)
        self._probe: Loan | None = None
        self._owner = os.getpid()
        self._library = Library()
        self._given_back: deque[int] = deque()
        self._held = 0
        self._lent: WeakValueDictionary[tuple[int, int], Loan] = WeakValueDictionary()
        """What is lent now, by the object that it was copied from and its size."""

    def probe(self) -> bytes:
        """A loan to try: who can read it can read all that is lent; empty if nothing is."""
        if self._arena is not None and self._probe is None:
            self._probe = self._arena.keep(b"shoal")
        return b"" if self._probe is None else self._probe.packed

    def connected(self) -> None:
        """There is another pool: what the last one's processes have lent cannot be lent on."""
        self._library = Library()

    def place(self, data: Any) -> Loan | None:
        """Lend a large part of an argument; None if it is not large, or there is no room."""
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        arena = self._arena
        if size < LEND or arena is None or os.getpid() != self._owner:
            return None
        owner = data if type(data) is bytes else data.obj
        key = (id(owner), size)
        before = self._lent.get(key)
        if before is not None and _equal(before.data, data):
            return before  # the same object as in an earlier call, and it has not changed
        loan = arena.keep(data)
        if loan is not None:
            self._lent[key] = loan
        return loan

    def close(self) -> None:
        """Nothing more is lent, and the memory for it is given back; results that came stay readable."""
        self._arena = None

    def take_in(self, payload: Payload) -> Payload:
        """A payload that has come: what is lent is borrowed, or copied.

        Raises:
            LoanGone: it cannot be read here.
        """
        if type(payload.head) is bytes and not payload.buffers:
            return payload
        while self._given_back:
            self._held -= self._given_back.popleft()
        return Payload(self._take(payload.head), tuple(map(self._take, payload.buffers)))

    def _take(self, part: Any) -> Any:
        if type(part) is not Lent:
            return part
        borrowed = self._library.borrow(part, self._given_back)
        self._held += len(part)  # until it is given back
        return bytearray(borrowed.data) if self._held > _HELD else borrowed

    def as_input(self, payload: Payload) -> Payload:
        """A value that came from a pool, to be sent to this one: by its loan, where that is of this pool."""
        if type(payload.head) is bytes and not payload.buffers:
            return payload
        return outside(Payload(self._on(payload.head), tuple(map(self._on, payload.buffers))))

    def _on(self, part: Any) -> Any:
        if isinstance(part, Borrowed) and part.library is not self._library:
            return bytes(part.data)
        return part

    @staticmethod
    def plain(payload: Payload) -> Payload:
        """The same payload with nothing lent."""
        if type(payload.head) is bytes and not payload.buffers:
            return payload
        return outside(Payload(_plain(payload.head), tuple(map(_plain, payload.buffers))))

    @staticmethod
    def is_gone(type_name: str) -> bool:
        """Whether an attempt failed since something that was lent to it could not be read."""
        return type_name == f"{LoanGone.__module__}.{LoanGone.__qualname__}"


def _equal(one: Any, other: Any) -> bool:
    from shoal.arena.compare import equal  # ctypes takes a while to load, and few need it

    return equal(one, other)


def shared(obj: Any, what: str) -> Payload:
    """A value packed once for all tasks that it is given to: its large parts in memory that workers of this host read in place.

    Args:
        obj: any object.
        what: it in the user's words.

    Raises:
        NotPicklable: it cannot travel.
    """
    try:
        return outside(pack(obj, what=what, place=share))
    except OSError:  # no more memory files, or descriptors: then it travels
        return outside(pack(obj, what=what))


def _plain(part: Any) -> Any:
    return Outside(bytes(part.data)) if isinstance(part, Loan | Borrowed | Share) else part
