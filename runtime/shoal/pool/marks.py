"""Marks: which attempts a pool has handed to managers, on a page that outlives its process.

A pool that ends with its session notes there what it is about to send to a manager. Once it has been killed, its client
reads the page: what is not on it cannot have begun. Memory that is mapped from a file stays when a process is killed, and
to write it takes no system call.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from shoal.dispatch.events import Key, ToManager
from shoal.wire.messages import Tasks

__all__ = ["Marks", "read_marks"]

_HEAD = struct.Struct("<Q")
_KEY = struct.Struct("<qqq")
_ROOM = 1 << 18
"""Bytes of each of the two halves: room for some 10,900 attempts."""

_FULL = (1 << 32) - 1


class Marks:
    """The page of one pool, while that lives.

    One half is written, key after key. When it is full, what is still at managers is copied to the other half.

    Args:
        path: of the file.
        at_managers: gives the attempts that are at managers now.

    Raises:
        OSError: there is no room for it.
    """

    def __init__(self, path: Path, at_managers: Callable[[], Iterable[Key]]) -> None:
        self._at_managers = at_managers
        self._half = self._count = 0
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _HEAD.size + 2 * _ROOM)  # else a full disk would end this process later
            self._page = mmap.mmap(fd, _HEAD.size + 2 * _ROOM)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        finally:
            os.close(fd)

    def note(self, commands: list[Any]) -> None:
        """What the dispatch machine orders is about to be carried out."""
        for command in commands:
            if type(command) is ToManager and type(command.message) is Tasks:
                self._note([(t.client, t.tid, t.attempt) for t in command.message.tasks])

    def _note(self, keys: list[Key]) -> None:
        if self._count == _FULL:
            return
        try:
            if (self._count + len(keys)) * _KEY.size > _ROOM:
                self._turn(keys)
            else:
                self._write(keys)
        except struct.error:  # numbers that no session gives
            self._give_up()

    def _give_up(self) -> None:
        """From now on everything may have begun."""
        self._count = _FULL
        _HEAD.pack_into(self._page, 0, _FULL)

    def _write(self, keys: Iterable[Key]) -> None:
        page, count = self._page, self._count
        place = _HEAD.size + self._half * _ROOM + count * _KEY.size
        for key in keys:
            _KEY.pack_into(page, place, *key)
            place += _KEY.size
            count += 1
        self._count = count
        _HEAD.pack_into(page, 0, self._half << 32 | count)  # last: what is not written whole does not count

    def _turn(self, keys: list[Key]) -> None:
        left = {*self._at_managers(), *keys}
        if len(left) * _KEY.size > _ROOM:
            self._give_up()
            return
        self._half, self._count = 1 - self._half, 0
        self._write(left)


def read_marks(path: Path) -> set[Key] | None:
    """The attempts on the page of a pool that is gone; None if it has none, or not all: then any may have begun."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) != _HEAD.size + 2 * _ROOM:
        return None
    (head,) = _HEAD.unpack_from(data)
    half, count = head >> 32, head & _FULL
    if count == _FULL:
        return None
    start = _HEAD.size + half * _ROOM
    return {(c, t, a) for c, t, a in _KEY.iter_unpack(data[start : start + count * _KEY.size])}
