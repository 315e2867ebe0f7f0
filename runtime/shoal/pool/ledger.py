"""The ledger: what a lasting pool must not forget when its process is killed.

A file of the magic ``SHOALLG1`` and frames. A frame is the length (64 bits) and the CRC-32 of its body, then the body: the
msgpack of a list of records. It is written once for each round of the pool's loop, before anything of that round leaves the
process, and never forced to the disk: it survives the process, not the host. A frame that is cut off or whose checksum
differs ends what can be read. Now and then what is still needed is written to a new file, which takes the old one's place.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from shoal.dispatch.ahead import Ahead
from shoal.dispatch.events import Key
from shoal.errors import ProtocolError
from shoal.wire.frames import Codec
from shoal.wire.messages import Message, Result, Results, Task, Tasks

__all__ = ["Ledger", "Past", "PastSession", "read_ledger"]

MAGIC = b"SHOALLG1"
_FRAME = struct.Struct(">QI")
_COMPACT = 64 << 20
"""Bytes from which on it may be worth while to write only what is still needed."""


class _Opened(msgspec.Struct, array_like=True, tag="opened"):
    """A session came for the first time."""

    client: int
    session: str
    name: str


class _Accepted(msgspec.Struct, array_like=True, tag="accepted"):
    """Attempts of a client, as the frames of a message."""

    client: int
    frames: list[Any]


class _Known(msgspec.Struct, array_like=True, tag="known"):
    """Attempts of a client that ended long ago, with their labels: what they were is not needed any more."""

    client: int
    labels: list[tuple[Key, str]]


class _Kept(msgspec.Struct, array_like=True, tag="blob"):
    """A blob that they need."""

    digest: bytes
    data: Any


class _Sent(msgspec.Struct, array_like=True, tag="sent"):
    """Attempts that are about to be sent to the manager of that process."""

    manager: int
    keys: list[Key]


class _Back(msgspec.Struct, array_like=True, tag="back"):
    """Attempts that managers gave back, never begun."""

    keys: list[Key]


class _Refused(msgspec.Struct, array_like=True, tag="refused"):
    """Attempts that went back to their client, for they lack values which are not being made here."""

    keys: list[Key]


class _Ended(msgspec.Struct, array_like=True, tag="ended"):
    """Results for a client, as the frames of a message."""

    client: int
    frames: list[Any]


class _Taken(msgspec.Struct, array_like=True, tag="taken"):
    """A client has taken its oldest so many :class:`_Ended`."""

    client: int
    count: int


class _Gone(msgspec.Struct, array_like=True, tag="gone"):
    """A session is over."""

    client: int


_Record = _Opened | _Accepted | _Known | _Kept | _Sent | _Back | _Refused | _Ended | _Taken | _Gone


class Ledger:
    """Writes the ledger of one pool.

    Args:
        path: of the file, mode 0600; what was there is replaced.
        failed: is told once if it cannot be written any more. Then the file is removed: half a truth would make attempts run
            twice.
    """

    def __init__(self, path: Path, failed: Callable[[OSError], None]) -> None:
        self._path = path
        self._failed = failed
        self._fd = -1
        self._size = self._least = 0
        self._pending: list[_Record] = []
        self._codec = Codec()
        self._encoder = msgspec.msgpack.Encoder()

    # ------------------------------------------------------------------ what is to be remembered

    def opened(self, client: int, session: str, name: str) -> None:
        """A session came for the first time."""
        self._pending.append(_Opened(client, session, name))

    def accepted(self, client: int, tasks: list[Task]) -> None:
        """Attempts came."""
        self._pending.append(_Accepted(client, self._frames(Tasks(tasks))))

    def known(self, client: int, labels: list[tuple[Key, str]]) -> None:
        """Attempts came and have ended: these are their labels."""
        self._pending.append(_Known(client, labels))

    def blob(self, digest: bytes, data: Any) -> None:
        """A blob came."""
        self._pending.append(_Kept(digest, _bytes(data)))

    def sent(self, manager: int, keys: list[Key]) -> None:
        """Attempts are about to be sent to the manager of that process."""
        self._pending.append(_Sent(manager, keys))

    def back(self, keys: list[Key]) -> None:
        """Attempts came back that had not begun."""
        self._pending.append(_Back(keys))

    def refused(self, keys: list[Key]) -> None:
        """Attempts go back to their client, to be sent again with their values."""
        self._pending.append(_Refused(keys))

    def ended(self, client: int, results: list[Result]) -> None:
        """Results are about to be sent."""
        self._pending.append(_Ended(client, self._frames(Results(results))))

    def taken(self, client: int, count: int) -> None:
        """A client has taken results."""
        self._pending.append(_Taken(client, count))

    def gone(self, client: int) -> None:
        """A session is over."""
        self._pending.append(_Gone(client))

    # ------------------------------------------------------------------ the file

    def begin(self) -> None:
        """Make the file anew, with what was told since the last :meth:`flush`."""
        scratch = self._path.with_name(f"{self._path.name}.new")
        try:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            old, self._fd = self._fd, fd
            if old >= 0:
                os.close(old)
            _write(fd, [MAGIC])
            self._size = len(MAGIC)
            self._put()
            scratch.rename(self._path)
            self._least = self._size
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Write what was told."""
        if not self._pending:
            return
        if self._fd < 0:
            self._pending.clear()
            return
        try:
            self._put()
        except OSError as error:
            self._give_up(error)

    def wants_compaction(self) -> bool:
        """Whether :meth:`begin` is worth while, after everything has been told again."""
        return self._fd >= 0 and self._size > max(_COMPACT, 4 * self._least)

    def close(self) -> None:
        """End it, and remove the file: the pool ended in good order, and nobody comes again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with suppress(OSError):
            self._path.unlink()

    def _put(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            body = self._encoder.encode(pending)
            head = _FRAME.pack(len(body), zlib.crc32(body))
            _write(self._fd, [head, body])
            self._size += len(head) + len(body)

    def _give_up(self, error: OSError) -> None:
        self._pending.clear()
        self._path.with_name(f"{self._path.name}.new").unlink(missing_ok=True)
        self.close()
        self._failed(error)

    def _frames(self, message: Message) -> list[Any]:
        return [_bytes(frame) for frame in self._codec.encode(message)]


class PastSession:
    """A session of the process before."""

    def __init__(self, session: str, name: str) -> None:
        self.session, self.name = session, name
        self.tasks: dict[Key, Task] = {}
        """Accepted, and without an outcome."""
        self.batches: list[list[Result]] = []
        """Results that nobody has taken, oldest first."""
        self.labels: dict[Key, str] = {}
        """Of everything that was accepted, and whose result nobody has taken."""


class Past:
    """What the process before knew."""

    def __init__(self) -> None:
        self.sessions: dict[int, PastSession] = {}
        self.blobs: dict[bytes, bytes] = {}
        self.sent: dict[Key, int] = {}
        """Attempts without an outcome that may have begun, each with the process of the manager that it was sent to."""
        self._ahead = Ahead()
        """Tasks that wait for values which others make: these are filled in as they come."""
        self._codec = Codec()

    def take_in(self, record: _Record) -> None:
        """Go one step on."""
        match record:
            case _Opened(client, session, name):
                self.sessions[client] = PastSession(session, name)
            case _Known(client, labels):
                if client in self.sessions:
                    self.sessions[client].labels.update(labels)
            case _Kept(digest, data):
                self.blobs[digest] = data
            case _Sent(manager, keys):
                self.sent.update(dict.fromkeys(keys, manager))
            case _Back(keys):
                for key in keys:
                    self.sent.pop(key, None)
            case _Refused(keys):
                for key in keys:
                    self._ahead.drop(key)
                    if key[0] in self.sessions:
                        self.sessions[key[0]].tasks.pop(key, None)
                        self.sessions[key[0]].labels.pop(key, None)
            case _Gone(client):
                self.sessions.pop(client, None)
                self._ahead.leave(client)
                self.sent = {key: manager for key, manager in self.sent.items() if key[0] != client}
            case _Accepted(client, frames):
                self._accepted(client, self._codec.decode(frames))
            case _Ended(client, frames):
                self._ended(client, self._codec.decode(frames))
            case _Taken(client, count):
                self._taken(client, count)

    def _accepted(self, client: int, message: Message) -> None:
        past = self.sessions.get(client)
        if past is not None and isinstance(message, Tasks):
            for task in message.tasks:
                key = (client, task.tid, task.attempt)
                past.tasks[key], past.labels[key] = task, task.label
                if any(item.payload is None for item in task.inputs):
                    self._ahead.hold(key, task)

    def _ended(self, client: int, message: Message) -> None:
        past = self.sessions.get(client)
        if past is not None and isinstance(message, Results):
            past.batches.append(message.results)
            for result in message.results:
                key = (client, result.tid, result.attempt)
                past.tasks.pop(key, None)
                self.sent.pop(key, None)
                self._ahead.drop(key)
                if result.failure is None:
                    self._ahead.made(client, result.tid, result.values, {index for index, _ in result.flaws})

    def _taken(self, client: int, count: int) -> None:
        past = self.sessions.get(client)
        if past is not None:
            for results in past.batches[:count]:
                for result in results:
                    past.labels.pop((client, result.tid, result.attempt), None)
            del past.batches[:count]


def read_ledger(path: Path) -> Past | None:
    """What a ledger says; None if there is none, or none that can be read.

    Args:
        path: of the file, which nobody writes any more.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return None
    if data[: len(MAGIC)] != MAGIC:
        return None
    decoder, past, place = msgspec.msgpack.Decoder(list[_Record]), Past(), len(MAGIC)
    while place + _FRAME.size <= len(data):
        size, check = _FRAME.unpack_from(data, place)
        body = data[place + _FRAME.size : place + _FRAME.size + size]
        if len(body) < size or zlib.crc32(body) != check:
            break  # the process was killed while it wrote this: nothing of it had left
        try:
            for record in decoder.decode(body):
                past.take_in(record)
        except (msgspec.MsgspecError, ProtocolError):
            return None  # of another version
        place += _FRAME.size + size
    return past


def _bytes(data: Any) -> Any:
    """Bytes-like data as msgpack takes them, copied once: the first frame of a message is only valid for a while."""
    inner = getattr(data, "data", data) if not isinstance(data, bytes | bytearray | memoryview) else data
    return inner if isinstance(inner, bytes) else bytes(inner)


def _write(fd: int, parts: Iterable[bytes]) -> None:
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]
