"""How an arena's file is laid out, and what a loan says.

The file begins with a table of entries of two 64-bit words each: the number of times that the entry has been used, and
by whom it is lent now, as its reader is to clear it: not 0 then. The first entry is the arena's serial number, by which a reader sees that the file which it has
opened is the one that is meant. The rest of the file holds the values.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from shoal.errors import ProtocolError

__all__ = ["DATA", "ENTRIES", "Place", "place_of"]

ENTRIES = 4096
"""Entries of the table, the serial number's included."""

DATA = 16 * ENTRIES
"""Where the values begin (bytes)."""

_PLACE = struct.Struct("<IIQIQQQ")


class Place(NamedTuple):
    """Where a value lies.

    Args:
        pid, fd: the process that has the file open, and under which number.
        serial: of the arena.
        entry: in its table.
        use: which use of that entry it is.
        start, size: in the file, in bytes.
    """

    pid: int
    fd: int
    serial: int
    entry: int
    use: int
    start: int
    size: int

    def packed(self) -> bytes:
        """As bytes."""
        return _PLACE.pack(*self)


def place_of(packed: bytes) -> Place:
    """What a loan says.

    Raises:
        ProtocolError: it is none.
    """
    if len(packed) != _PLACE.size:
        raise ProtocolError(f"a loan of {len(packed)} bytes")
    place = Place(*_PLACE.unpack(packed))
    if not 0 < place.entry < ENTRIES or place.start < DATA:
        raise ProtocolError("a loan of no place in an arena")
    return place
