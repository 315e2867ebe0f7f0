"""The readers' side of arenas."""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress

from shoal.arena.layout import DATA, Place, place_of
from shoal.arena.lending import Borrowed
from shoal.errors import LoanGone, ProtocolError
from shoal.outcome import Payload
from shoal.wire.frames import Lent

__all__ = ["Library", "give_back"]

_OPEN = 256
"""Files that are kept mapped."""


class _Mapped:
    """A file that is mapped.

    Args:
        fd: the file; it may be closed afterwards.
    """

    def __init__(self, fd: int) -> None:
        self.bytes = memoryview(mmap.mmap(fd, 0))
        self.words = self.bytes[:DATA].cast("Q")


def give_back(values: Iterable[Payload]) -> None:
    """Give back what readers were given in values that nobody will read."""
    lent = [part for value in values for part in (value.head, *value.buffers) if type(part) is Lent]
    if lent:
        library = Library()
        for part in lent:
            library.give_back(part)


class Library:
    """Opens what others have lent. One thread uses it at a time."""

    def __init__(self) -> None:
        self._mapped: OrderedDict[tuple[int, int, int], _Mapped] = OrderedDict()

    def view(self, lent: Lent) -> memoryview:
        """The value, to be read only, as long as it is lent; whether it still was is told by :meth:`check`.

        Raises:
            LoanGone: it is not lent any more, or cannot be read from here.
        """
        place = place_of(lent.packed)
        mapped = self._open(place)
        if mapped.words[2 * place.entry] != place.use:
            raise LoanGone("it was given back")
        if place.start + place.size > len(mapped.bytes):
            raise LoanGone("it is said to lie beyond its memory")
        return mapped.bytes[place.start : place.start + place.size].toreadonly()

    def check(self, lent: Lent) -> None:
        """Look once more, after reading.

        Raises:
            LoanGone: it has been given back meanwhile, so what was read is of no use.
        """
        place = place_of(lent.packed)
        if self._open(place).words[2 * place.entry] != place.use:
            raise LoanGone("it was given back while it was read")

    def give_back(self, lent: Lent) -> None:
        """Nobody will read what was given to readers; nothing if that is known already."""
        with suppress(LoanGone, ProtocolError):
            place = place_of(lent.packed)
            words = self._open(place).words
            if words[2 * place.entry] == place.use:
                words[2 * place.entry + 1] = 0

    def borrow(self, lent: Lent, given_back: deque[int]) -> Borrowed:
        """The value, to be given back when the object is gone.

        Args:
            lent: as it came.
            given_back: gets its size then.

        Raises:
            LoanGone: it is not lent any more, or cannot be read from here.
        """
        view = self.view(lent)
        place = place_of(lent.packed)
        return Borrowed(lent.packed, place, self._open(place).words, view, self, given_back)

    def _open(self, place: Place) -> _Mapped:
        key = (place.pid, place.fd, place.serial)
        found = self._mapped.get(key)
        if found is not None:
            self._mapped.move_to_end(key)
            return found
        try:
            fd = os.open(f"/proc/{place.pid}/fd/{place.fd}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise LoanGone(f"the memory of process {place.pid} cannot be opened: {error.strerror}") from None
        try:
            if os.fstat(fd).st_size <= DATA:
                raise LoanGone(f"process {place.pid} has something else there by now")
            found = _Mapped(fd)
        except (OSError, ValueError) as error:
            raise LoanGone(f"the memory of process {place.pid} cannot be mapped: {error}") from None
        finally:
            os.close(fd)
        if found.words[0] != place.serial:
            raise LoanGone(f"process {place.pid} has something else there by now")
        self._mapped[key] = found
        if len(self._mapped) > _OPEN:
            self._mapped.popitem(last=False)  # what was lent from there keeps it mapped for itself
        return found
