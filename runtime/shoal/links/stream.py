"""Messages over a stream socket, many in one system call where many are there.

A message is a head of 8 bytes (how many frames, and the size of the first), the sizes of the other frames, 8 bytes each,
and the frames. What comes in small pieces is gathered in one buffer that is used again and again; a large frame is
received straight into its own memory.
"""

from __future__ import annotations

import mmap
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import Any

from shoal.errors import ProtocolError
from shoal.links.link import MAX_FRAME, MAX_HEADER, PeerGone

__all__ = ["Stream"]

_HEAD = struct.Struct("<II")
_ROOM = 256 * 1024
_JOINED = 8192
"""Messages up to this size are put together in memory, which costs less than handing over several pieces."""

_LAZY = 32 << 20
"""Frames from this size on (bytes) are received into memory that is taken as it fills, not when they are announced."""

_QUIETLY = socket.MSG_NOSIGNAL
"""A peer that is gone is an error, not a signal that ends this process."""

_MOST_FRAMES = 1 << 16
_MOST_PIECES = 512
"""Pieces of memory in one system call; the kernel takes 1024."""


class Stream:
    """One end of a connection.

    Args:
        sock: a connected stream socket.
    """

    __slots__ = ("_buffer", "_doubt", "_dry", "_end", "_large", "_out", "_sent", "_start", "_view", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._buffer = bytearray(_ROOM)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._dry = False
        self._large: _Large | None = None
        self._out: deque[Any] = deque()
        self._doubt: bytes | None = None
        self._sent: list[int] = []

    # ------------------------------------------------------------------ sending

    def send_at_once(self, frame: Any) -> bool:
        """Send a message of one small frame from a thread that an exception may interrupt anywhere (Ctrl-C does).

        What was sent is noted by the same call of C code that sends it, so that :meth:`settle` knows it in any case.

        Returns:
            Whether that was done; else it was not tried, since another message is under way.

        Raises:
            PeerGone: the other side is gone.
        """
        if self._out or self._doubt is not None:
            return False
        message = _HEAD.pack(1, len(frame)) + frame
        sent: list[int] = []
        self._sent = sent
        self._doubt = message
        try:
            sent.extend(map(self.sock.send, (message,), (_QUIETLY,)))
        except BlockingIOError:
            return True  # settled by the next who sends
        except OSError as error:
            self._doubt = None
            raise self._gone(error) from None
        if sent[0] == len(message):
            self._doubt = None
        return True

    @property
    def pending(self) -> bool:
        """Whether something that was sent is still in this process."""
        return bool(self._out)

    @property
    def unsettled(self) -> bool:
        """Whether :meth:`settle` is to be called."""
        return self._doubt is not None

    def settle(self) -> None:
        """Queue what :meth:`send_at_once` has left over, if anything. Not to be called from an interruptible thread."""
        message = self._doubt
        if message is not None:
            sent = self._sent[0] if self._sent else 0
            if sent < len(message):
                self._out.append(memoryview(message)[sent:])
            self._doubt = None

    def send(self, frames: list[Any]) -> bool:
        """Send a message as far as there is room.

        Returns:
            Whether all is sent; else :meth:`flush` must be called once there is room again.

        Raises:
            PeerGone: the other side is gone.
        """
        first = frames[0]
        if self._doubt is not None:
            self.settle()
        if len(frames) == 1 and len(first) <= _JOINED and not self._out:
            message = _HEAD.pack(1, len(first)) + first
            try:
                sent = self.sock.send(message, _QUIETLY)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise self._gone(error) from None
            if sent == len(message):
                return True
            self._out.append(memoryview(message)[sent:])
            return False
        views = [memoryview(frame).cast("B") for frame in frames]
        sizes = [len(view) for view in views]
        head = struct.pack(f"<II{len(sizes) - 1}Q", len(sizes), *sizes)
        waits = bool(self._out)
        self._out.append(head)
        self._out.extend(view for view in views if view)
        return False if waits else self.flush()

    def flush(self) -> bool:
        """Send what is left over; returns whether that was all.

        Raises:
            PeerGone: the other side is gone.
        """
        out = self._out
        if self._doubt is not None:
            self.settle()
        while out:
            pieces = list(out) if len(out) <= _MOST_PIECES else [out[i] for i in range(_MOST_PIECES)]
            try:
                sent = self.sock.sendmsg(pieces, (), _QUIETLY)
            except BlockingIOError:
                return False
            except OSError as error:
                raise self._gone(error) from None
            for piece in pieces:
                if sent < len(piece):
                    if sent:
                        out[0] = memoryview(piece)[sent:]
                    break
                sent -= len(piece)
                out.popleft()
        return True

    def end(self) -> None:
        """Nothing more goes out, and nothing more comes in; what has come already can still be received."""
        with suppress(OSError):  # it has ended already
            self.sock.shutdown(socket.SHUT_RDWR)

    def _gone(self, error: OSError) -> PeerGone:
        """Sending has failed: half a message may have left, so nothing may follow it."""
        self._out.clear()
        self._dry = False  # what it sent before it went is here by now
        self.end()
        return PeerGone(str(error))

    # ------------------------------------------------------------------ receiving

    def receive(self) -> list[Any] | None:
        """The frames of the next message; None if there is none now.

        The first frame is valid until the next call only; the others are the caller's own.

        Raises:
            PeerGone: the other side is gone.
            ProtocolError: what came is no message.
        """
        while True:
            if self._end - self._start >= _HEAD.size or self._large is not None:
                frames = self._next()
                if frames is not None:
                    return frames
            if self._dry:
                self._dry = False
                return None
            if not self._fill():
                return None

    def _fill(self) -> bool:
        large = self._large
        if large is not None:
            room = large.room()
        else:
            if self._start == self._end:
                self._start = self._end = 0
            elif len(self._buffer) - self._end < _HEAD.size:
                self._make_room(_HEAD.size)
            room = self._view[self._end :]
        try:
            size = self.sock.recv_into(room)
        except BlockingIOError:
            return False
        except OSError as error:
            raise PeerGone(str(error)) from None
        if not size:
            raise PeerGone("it closed the connection")
        self._dry = size < len(room)
        if large is not None:
            large.filled(size)
        else:
            self._end += size
        return True

    def _next(self) -> list[Any] | None:
        large = self._large
        if large is not None:
            if large.missing:
                return None
            self._large = None
            return large.frames
        start, end = self._start, self._end
        count, size = _HEAD.unpack_from(self._buffer, start)
        if not 1 <= count <= _MOST_FRAMES or size > MAX_HEADER:
            raise ProtocolError(f"a message of {count} frames, the first of {size} bytes")
        if count == 1:
            if end - start < 8 + size:
                self._make_room(8 + size)
                return None
            self._start = start + 8 + size
            return [self._view[start + 8 : start + 8 + size]]
        table = start + 8
        first = table + 8 * (count - 1)
        if end < first + size:
            self._make_room(first + size - start)
            return None
        sizes = struct.unpack_from(f"<{count - 1}Q", self._buffer, table)
        if max(sizes) > MAX_FRAME:
            raise ProtocolError(f"a frame of {max(sizes)} bytes")
        return self._split(self._view[first : first + size], first + size, sizes)

    def _split(self, head: memoryview, place: int, sizes: tuple[int, ...]) -> list[Any] | None:
        """Cut the other frames out of the buffer; what is not there yet is received into memory of its own."""
        frames: list[Any] = [head]
        missing: list[memoryview] = []
        for size in sizes:
            here = min(size, self._end - place)
            if here == size:
                frames.append(bytearray(self._view[place : place + size]))
            else:
                frame = _memory(size)
                frame[:here] = self._view[place : place + here]
                frames.append(frame)
                missing.append(frame[here:])
            place += here
        self._start = place
        if not missing:
            return frames
        frames[0] = bytes(head)
        self._large = _Large(frames, missing)
        return None

    def _make_room(self, size: int) -> None:
        """See to it that a message of ``size`` bytes fits behind the start."""
        if self._start + size <= len(self._buffer):
            return
        rest = self._view[self._start : self._end]
        if size > len(self._buffer):
            self._buffer = bytearray(max(size, 2 * len(self._buffer)))
            self._view = memoryview(self._buffer)
        self._view[: len(rest)] = rest
        self._start, self._end = 0, len(rest)


def _memory(size: int) -> memoryview:
    """Room for a frame.

    Raises:
        ProtocolError: there is not so much.
    """
    try:
        return memoryview(
            mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if size >= _LAZY else bytearray(size)
        )
    except (MemoryError, OSError) as error:
        raise ProtocolError(f"a frame of {size} bytes, for which there is no memory: {error}") from None


class _Large:
    """A message some of whose frames are being received.

    Args:
        frames: all of them.
        missing: the parts of their memory that are still to be filled, in order.
    """

    __slots__ = ("frames", "missing")

    def __init__(self, frames: list[Any], missing: list[memoryview]) -> None:
        self.frames = frames
        self.missing = deque(missing)

    def room(self) -> memoryview:
        """Where to receive next."""
        return self.missing[0]

    def filled(self, size: int) -> None:
        """So many bytes of that have come."""
        rest = self.missing[0][size:]
        if rest:
            self.missing[0] = rest
        else:
            self.missing.popleft()
