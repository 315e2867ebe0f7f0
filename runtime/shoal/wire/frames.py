"""Messages to frames and back.

A message becomes a list of frames: the first, its header, holds the msgpack of the whole message, the others the large
buffers that it mentions, each in a frame of its own so that no hop copies or parses them. A buffer of ``OUTSIDE`` bytes or
more that is wrapped in :class:`Outside` travels so; anything smaller is cheaper inline.

The header announces each outside buffer by its size, in order. A link may cut a buffer into several frames; here they are
put together again. What does not add up to what was announced is no message, nor is a header above ``HEADER_LIMIT``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shoal.errors import ProtocolError
from shoal.outcome import Payload
from shoal.wire.messages import Blob, Message, Results, Tasks

__all__ = ["FRAMES_LIMIT", "HEADER_LIMIT", "OUTSIDE", "Codec", "Common", "Lent", "Outside", "outside"]

OUTSIDE = 16 * 1024
"""Buffers from this size on travel in frames of their own (bytes)."""

HEADER_LIMIT = 64 << 20
"""No header may be larger (bytes)."""

FRAMES_LIMIT = 1 << 16
"""No message may have more frames."""

_SLIM = 1024
"""The same as ``OUTSIDE`` where so many small buffers come together that the header would be too large."""

_EXT_FRAME = 1
_EXT_LENT = 2
_EXT_COMMON = 3
_SIZE = 8
_LENT = 44


class Outside:
    """A buffer that travels as a frame of its own.

    Args:
        data: any bytes-like object, or a zmq Frame; kept as it is.
    """

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        """Its size in bytes."""
        data = self.data
        return len(data) if isinstance(data, bytes) else memoryview(data).nbytes


class Lent:
    """A buffer that lies in memory which the processes of one host share; what travels says where.

    Args:
        packed: a place, see :mod:`shoal.arena`.
    """

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    def __len__(self) -> int:
        """Its size in bytes."""
        return int.from_bytes(self.packed[-8:], "little")


class Common(Lent):
    """A buffer that lies in memory which is never used for anything else: who reads it need not make a copy."""

    __slots__ = ()


def outside(payload: Payload) -> Payload:
    """The same payload with its large parts marked to travel outside; small payloads come back as they are."""
    head, buffers = payload.head, payload.buffers
    big_head = not isinstance(head, Outside | Lent) and len(head) >= OUTSIDE
    if not big_head and not buffers:
        return payload
    return Payload(Outside(head) if big_head else head, tuple([_mark(b) for b in buffers]))


def _mark(buffer: Any) -> Any:
    if isinstance(buffer, Outside | Lent) or memoryview(buffer).nbytes < OUTSIDE:
        return buffer
    return Outside(buffer)


class Codec:
    """Encodes and decodes messages. One for each thread: it is not safe to share."""

    __slots__ = ("_decoder", "_encoder", "_frames", "_place")

    def __init__(self) -> None:
        self._frames: list[Any] = []
        self._place = 0
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._put)
        self._decoder = msgspec.msgpack.Decoder(Message, ext_hook=self._get)

    def encode(self, message: Message) -> list[Any]:
        """The frames of a message: header first, then its outside buffers in order.

        Raises:
            ProtocolError: its header would be too large, even with all but the smallest buffers outside; or it has too many
                of them.
        """
        frames: list[Any] = []
        self._frames = frames
        header = self._encoder.encode(message)
        if len(header) > HEADER_LIMIT:
            _slim(message)
            frames.clear()
            header = self._encoder.encode(message)
        if len(header) > HEADER_LIMIT or len(frames) >= FRAMES_LIMIT:
            many = f"{len(header) >> 20} MB of small values and {len(frames)} large ones"
            raise ProtocolError(f"too much for one message: {many}. Fix: put values together, a few thousand at a time")
        return [header, *frames]

    def decode(self, frames: Sequence[Any]) -> Message:
        """The message in ``frames``, which are bytes-like.

        Raises:
            ProtocolError: the frames are no message of this protocol.
        """
        if not frames:
            raise ProtocolError("a message of no frames")
        header = frames[0]
        if len(frames) > FRAMES_LIMIT:
            raise ProtocolError(f"a message of {len(frames)} frames, above the limit of {FRAMES_LIMIT}")
        if len(header) > HEADER_LIMIT:
            raise ProtocolError(f"a header of {len(header)} bytes, above the limit of {HEADER_LIMIT}")
        self._frames = list(frames[1:])
        self._place = 0
        try:
            message: Message = self._decoder.decode(header)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
            raise ProtocolError(f"not a message: {error}") from None
        if self._place != len(self._frames):
            raise ProtocolError(f"{len(self._frames) - self._place} frames that the header does not announce")
        if type(message) is Blob and not isinstance(message.data, bytes | Outside):
            raise ProtocolError(f"a blob whose data is a {type(message.data).__name__}")
        return message

    def _put(self, item: Any) -> msgspec.msgpack.Ext:
        if isinstance(item, Lent):
            return msgspec.msgpack.Ext(_EXT_COMMON if isinstance(item, Common) else _EXT_LENT, item.packed)
        if not isinstance(item, Outside):
            raise ProtocolError(f"cannot encode a {type(item).__name__}")
        self._frames.append(item.data)
        return msgspec.msgpack.Ext(_EXT_FRAME, len(item).to_bytes(_SIZE, "big"))

    def _get(self, code: int, data: memoryview) -> Outside | Lent:
        if code in (_EXT_LENT, _EXT_COMMON) and len(data) == _LENT:
            return (Lent if code == _EXT_LENT else Common)(bytes(data))
        if code != _EXT_FRAME or len(data) != _SIZE:
            raise ProtocolError("an extension that this protocol does not have")
        size = int.from_bytes(data, "big")
        found = Outside(self._next(size))
        if len(found) == size:
            return found
        pieces = [found]
        have = len(found)
        while have < size:
            pieces.append(Outside(self._next(size - have)))
            have += len(pieces[-1])
        return Outside(bytearray(b"").join(memoryview(piece.data) for piece in pieces))

    def _next(self, most: int) -> Any:
        """The next frame, which must hold something, and no more than is left of what was announced."""
        place = self._place
        if place >= len(self._frames):
            raise ProtocolError(f"{most} bytes less than the header announces")
        self._place = place + 1
        frame = self._frames[place]
        size = memoryview(frame).nbytes
        if size > most or (most and not size):
            raise ProtocolError(f"a frame of {size} bytes where the header announces {most}")
        return frame


def _slim(message: Message) -> None:
    """Mark all but the smallest buffers of a message to travel outside."""
    if isinstance(message, Tasks):
        for task in message.tasks:
            _slim_payload(task.body)
            for item in task.inputs:
                if item.payload is not None:
                    _slim_payload(item.payload)
    elif isinstance(message, Results):
        for result in message.results:
            for payload in result.values:
                _slim_payload(payload)


def _slim_payload(payload: Payload) -> None:
    if not isinstance(payload.head, Outside | Lent) and memoryview(payload.head).nbytes >= _SLIM:
        payload.head = Outside(payload.head)
    payload.buffers = tuple(
        [
            Outside(b) if not isinstance(b, Outside | Lent) and memoryview(b).nbytes >= _SLIM else b
            for b in payload.buffers
        ]
    )
