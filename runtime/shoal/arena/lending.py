"""The writer's side of an arena."""

from __future__ import annotations

import mmap
import os
import secrets
import threading
from collections import deque
from collections.abc import Container
from contextlib import ExitStack, suppress
from typing import Any

from shoal.arena.layout import DATA, ENTRIES, Place
from shoal.arena.space import Space
from shoal.place import forks
from shoal.wire.frames import Common, Lent

__all__ = ["LEND", "Arena", "Borrowed", "Loan", "Share", "close_unless_lent", "share"]

LEND = 32 * 1024
"""Values from this size on (bytes) are lent."""

_FEW = 64
"""Up to so many values that readers have are looked at each time; where they are more, less often."""

_KEPT = 64 << 20
"""Bytes at the beginning of an arena whose memory is kept for the next values, even when nothing is lent."""


class Loan(Lent):
    """A value that this process has lent for as long as it keeps this object."""

    __slots__ = ("__weakref__", "_given_back", "_use", "_view")

    def __init__(self, place: Place, view: memoryview, given_back: deque[tuple[int, int]]) -> None:
        super().__init__(place.packed())
        self._view = view
        self._given_back = given_back
        self._use = (place.entry, place.use)

    @property
    def data(self) -> memoryview:
        """The value."""
        return self._view

    def __del__(self) -> None:
        """Nobody here needs it any more. This may come at any line of any thread, so it is only noted."""
        if hasattr(self, "_use"):  # else an interrupt came while it was made
            self._given_back.append(self._use)


class Borrowed(Lent):
    """A value that another process has lent to this one, until this object is gone."""

    __slots__ = ("_back", "_birth", "_entry", "_given_back", "_use", "_view", "library")

    def __init__(
        self,
        packed: bytes,
        place: Place,
        words: memoryview,
        view: memoryview,
        library: object,
        given_back: deque[int],
    ) -> None:
        super().__init__(packed)
        self._back = words
        self._birth = forks()
        self._given_back = given_back
        self._entry = place.entry
        self._use = place.use
        self._view = view
        self.library = library
        """Where it was opened: who has the same one can be given the loan itself."""

    @property
    def data(self) -> memoryview:
        """The value, to be read only: it is gone with this object."""
        return self._view

    def __del__(self) -> None:
        """Give it back, unless this is only a fork's copy."""
        if self._birth != forks():
            return
        words, entry = self._back, 2 * self._entry
        if words[entry] == self._use:
            words[entry + 1] = 0
        self._given_back.append(len(self._view))


class Arena:
    """Memory that other processes of this host and user can read.

    Args:
        limit: bytes of values at most; memory is used for what was lent at the same time at some time, no more.
        at: the process and descriptor under which readers find the file; by default this process and one of its own.
        fd: the file, if it is open already.

    Raises:
        OSError: it cannot be had.
    """

    def __init__(self, limit: int, at: tuple[int, int] | None = None, fd: int = -1) -> None:
        self._fd = -1
        self.limit = limit - limit % mmap.PAGESIZE
        with ExitStack() as opened:
            file = fd
            if fd < 0:
                file = os.memfd_create("shoal-arena", os.MFD_CLOEXEC)
                opened.callback(os.close, file)
            os.ftruncate(file, DATA + self.limit)
            self._map = mmap.mmap(file, DATA + self.limit)
            opened.pop_all()
        self._fd = file
        self.at = at or (os.getpid(), file)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[:DATA].cast("Q")
        self.serial = secrets.randbits(63) | 1
        self._words[0] = self.serial
        self._space = Space(self.limit)
        self._high = 0
        self._free = list(range(ENTRIES - 1, 0, -1))
        self._out: dict[int, tuple[int, int]] = {}
        """Of the entries in use: where the value lies (bytes behind the table), and its size."""
        self._to_readers: set[int] = set()
        """Those of them that readers give back."""
        self._looks_in = 0
        """Values that are put in before those are looked at again."""
        self._given_back: deque[tuple[int, int]] = deque()
        """Entries, and which uses of them, that this process needs no more."""
        self._torn = False
        """What is noted here is being changed, or was when an interrupt came."""
        self._doubtful = 0
        """The entry that is being made or dropped."""
        self._lock = threading.Lock()

    def keep(self, data: Any) -> Loan | None:
        """Copy a value in, and lend it for as long as the loan is kept here; None if there is no room.

        Args:
            data: a contiguous bytes-like object.
        """
        with self._lock:
            place = self._put(data)
            if place is None:
                return None
            view = self._bytes[place.start : place.start + place.size].toreadonly()
            loan = Loan(place, view, self._given_back)
            self._torn = False
            return loan

    def give(self, data: Any, mark: int = 1) -> Lent | None:
        """Copy a value in, and lend it until its reader gives it back; None if there is no room.

        Args:
            data: a contiguous bytes-like object.
            mark: not 0; what it belongs to, for :func:`close_unless_lent`.
        """
        with self._lock:
            place = self._put(data)
            if place is None:
                return None
            self._to_readers.add(place.entry)
            self._words[2 * place.entry + 1] = mark
            self._torn = False
            return Lent(place.packed())

    @property
    def lent(self) -> int:
        """Bytes that are lent now."""
        with self._lock:
            self._begin()
            self._looks_in = 0
            self._collect()
            self._torn = False
            return self._space.taken

    def __del__(self) -> None:
        """As :meth:`close`."""
        if self._fd >= 0:
            self.close()

    def close(self) -> None:
        """End it; what readers have mapped stays readable for them."""
        with suppress(BufferError):  # a value is being read: then its memory goes with that
            self._words.release()
            self._bytes.release()
            self._map.close()
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _put(self, data: Any) -> Place | None:
        """Copy a value in; the caller ends with nothing torn."""
        view = memoryview(data).cast("B")
        self._begin()
        self._collect()
        start = self._space.take(view.nbytes) if self._free else None
        if start is None:
            self._torn = False
            return None
        entry = self._doubtful = self._free.pop()
        self._out[entry] = (start, view.nbytes)
        use = self._words[2 * entry] = self._words[2 * entry] + 1
        self._high = max(self._high, start + view.nbytes)
        start += DATA
        self._bytes[start : start + view.nbytes] = view
        return Place(*self.at, self.serial, entry, use, start, view.nbytes)

    def _begin(self) -> None:
        """From here on an interrupt (Ctrl-C comes after any call) leaves things torn; mend what one has left so."""
        if self._torn:
            if self._out.pop(self._doubtful, None) is not None:
                self._words[2 * self._doubtful] += 1  # its loan, should there be one, is void
                self._words[2 * self._doubtful + 1] = 0
            self._to_readers.intersection_update(self._out)
            self._free = [entry for entry in range(ENTRIES - 1, 0, -1) if entry not in self._out]
            self._space.keep_only(list(self._out.values()))
        self._doubtful = 0
        self._torn = True

    def _collect(self) -> None:
        """Find out what is free again."""
        given_back, words = self._given_back, self._words
        while given_back:
            entry, use = given_back[0]
            if words[2 * entry] == use and entry in self._out:
                self._drop(entry)
            given_back.popleft()
        if self._to_readers:
            if self._looks_in <= 0:
                for entry in [entry for entry in self._to_readers if not words[2 * entry + 1]]:
                    self._drop(entry)
                    self._to_readers.remove(entry)
                self._looks_in = (len(self._to_readers) - _FEW) // 16
            else:
                self._looks_in -= 1
        if not self._out and self._high > _KEPT:
            self._shrink()

    def _drop(self, entry: int) -> None:
        self._doubtful = entry
        start, size = self._out[entry]
        self._words[2 * entry] += 1  # who still reads there will see it
        del self._out[entry]
        self._space.give_back(start, size)
        self._free.append(entry)

    def _shrink(self) -> None:
        """Give most of the memory back to the system."""
        self._high = _KEPT
        with suppress(OSError, ValueError):
            self._map.madvise(mmap.MADV_REMOVE, DATA + _KEPT, self.limit - _KEPT)


class Share(Common):
    """A value in memory of its own, for as long as this object is kept; who has it mapped then keeps it."""

    __slots__ = ("_arena", "_loan")

    def __init__(self, arena: Arena, loan: Loan) -> None:
        super().__init__(loan.packed)
        self._arena, self._loan = arena, loan

    @property
    def data(self) -> memoryview:
        """The value."""
        return self._loan.data


def share(data: Any) -> Share | None:
    """Copy a large value into memory of its own; None if it is not large.

    Args:
        data: a contiguous bytes-like object.

    Raises:
        OSError: the memory cannot be had.
    """
    size = memoryview(data).nbytes
    if size < LEND:
        return None
    arena = Arena(size + mmap.PAGESIZE)
    loan = arena.keep(data)
    assert loan is not None, "it was made to hold this"
    return Share(arena, loan)


def close_unless_lent(fd: int, unsent: Container[int] = ()) -> bool:
    """Close the file of an arena whose writer is gone, if no reader has anything of it; returns whether that was so.

    Args:
        fd: the file.
        unsent: marks of what was put in and never sent, so that nobody will give it back.
    """
    table = os.pread(fd, DATA, 0)
    if len(table) == DATA:
        if any(mark not in unsent for mark in memoryview(table).cast("Q")[3::2].tolist() if mark):
            return False
        with suppress(OSError, ValueError), mmap.mmap(fd, 0) as file:
            file.madvise(mmap.MADV_REMOVE)  # by whom it is still mapped, it takes no memory any more
    os.close(fd)
    return True
