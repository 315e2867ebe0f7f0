"""The append-only event log.

A log file is the magic ``SHOALOG1`` followed by frames. A frame is the length and the CRC-32 of its body (two unsigned
32-bit big-endian numbers), then the body: the msgpack of a list of events. One process writes a file, any number may
read it while it grows; there are no locks, so it is safe on network file systems. A frame that is cut off or whose
checksum differs ends what can be read.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path

import msgspec

from shoal.errors import ShoalError
from shoal.events import Event

__all__ = ["LogDamaged", "LogReader", "LogWriter"]

MAGIC = b"SHOALOG1"
_FRAME = struct.Struct(">II")
_LINGER = 0.1
"""Seconds that the writer gathers events before it writes them as one frame."""

_BATCH = 4096
"""Events in one frame at most."""


class LogDamaged(ShoalError):
    """A log file that is not readable from its start.

    Args:
        path: the file.
        reason: what was found.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} is not a readable event log: {reason}")
        self.path, self.reason = path, reason


class LogWriter:
    """Appends events to a file from a thread of its own, so that ``append`` costs next to nothing.

    Args:
        path: the file; it is made with mode 0600, its folder with 0700.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self.failed: OSError | None = None
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._pending: list[Event] = []
        self._busy = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._write_lock = threading.Lock()
        self._encoder = msgspec.msgpack.Encoder()
        if os.fstat(self._fd).st_size == 0:
            self._put(MAGIC)
        self._thread = threading.Thread(target=self._run, name="shoal-log", daemon=True)
        self._thread.start()

    def append(self, event: Event) -> None:
        """Add one event. Never blocks on the disk."""
        self._pending.append(event)
        if not self._busy:
            self._busy = True
            self._wake.set()

    def flush(self) -> None:
        """Write what has been appended so far."""
        with self._write_lock:
            pending, self._pending = self._pending, []
            for start in range(0, len(pending), _BATCH):
                self._write(pending[start : start + _BATCH])

    def close(self) -> None:
        """Write the rest and close the file. Later events are dropped."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self.flush()
        with self._write_lock:
            os.close(self._fd)
            self._fd = -1

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(_LINGER)
            self._busy = False
            self.flush()

    def _write(self, events: list[Event]) -> None:
        try:
            body = self._encoder.encode(events)
        except (TypeError, ValueError, OverflowError):  # one that cannot be written must not take the others along
            if len(events) > 1:
                for event in events:
                    self._write([event])
            return
        self._put(_FRAME.pack(len(body), zlib.crc32(body)) + body)

    def _put(self, data: bytes) -> None:
        """Write bytes. A full disk stops the log, never the run: the first error is kept in ``failed``."""
        if self._fd < 0 or self.failed is not None:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self.failed = error


class LogReader:
    """Reads a log incrementally while it grows.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._decoder = msgspec.msgpack.Decoder(list[Event])

    def read(self, most: int = -1) -> list[Event]:
        """The events that were written since the last call.

        Args:
            most: bytes to read, at most; -1 for all.

        Raises:
            LogDamaged: the file is no log, or a whole frame of it does not decode.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(most)
        except FileNotFoundError:
            return []
        position = 0
        if self._offset == 0:
            if len(data) < len(MAGIC):
                return []
            if not data.startswith(MAGIC):
                raise LogDamaged(str(self.path), "it does not begin with the magic of a log")
            position = len(MAGIC)
        events: list[Event] = []
        while len(data) - position >= _FRAME.size:
            length, checksum = _FRAME.unpack_from(data, position)
            body = data[position + _FRAME.size : position + _FRAME.size + length]
            if len(body) < length or zlib.crc32(body) != checksum:
                break
            try:
                events += self._decoder.decode(body)
            except msgspec.MsgspecError as error:
                raise LogDamaged(str(self.path), str(error)) from None
            position += _FRAME.size + length
        self._offset += position
        return events
