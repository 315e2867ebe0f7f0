"""Messages to frames and back.

A message becomes a list of frames: the first holds the msgpack of the whole message, the others the large buffers that
it mentions, each in a frame of its own so that no hop copies or parses them. A buffer of ``OUTSIDE`` bytes or more that
is wrapped in :class:`Outside` travels so; anything smaller is cheaper inline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shoal.errors import ProtocolError
from shoal.outcome import Payload
from shoal.wire.messages import Message

__all__ = ["OUTSIDE", "Codec", "Outside", "outside"]

OUTSIDE = 16 * 1024
"""Buffers from this size on travel in frames of their own (bytes)."""

_EXT_FRAME = 1


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


def outside(payload: Payload) -> Payload:
    """The same payload with its large parts marked to travel outside; small payloads come back as they are."""
    head, buffers = payload.head, payload.buffers
    big_head = not isinstance(head, Outside) and len(head) >= OUTSIDE
    if not big_head and not buffers:
        return payload
    return Payload(Outside(head) if big_head else head, tuple([_mark(b) for b in buffers]))


def _mark(buffer: Any) -> Any:
    if isinstance(buffer, Outside) or memoryview(buffer).nbytes < OUTSIDE:
        return buffer
    return Outside(buffer)


class Codec:
    """Encodes and decodes messages. One for each thread: it is not safe to share."""

    __slots__ = ("_decoder", "_encoder", "_frames")

    def __init__(self) -> None:
        self._frames: list[Any] = []
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._put)
        self._decoder = msgspec.msgpack.Decoder(Message, ext_hook=self._get)

    def encode(self, message: Message) -> list[Any]:
        """The frames of a message: header first, then its outside buffers in order."""
        frames: list[Any] = []
        self._frames = frames
        header = self._encoder.encode(message)
        return [header, *frames]

    def decode(self, frames: Sequence[Any]) -> Message:
        """The message in ``frames`` (bytes-like, or zmq Frames past the first).

        Raises:
            ProtocolError: the frames are no message of this protocol.
        """
        if not frames:
            raise ProtocolError("a message of no frames")
        self._frames = list(frames[1:])
        try:
            message: Message = self._decoder.decode(frames[0])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
            raise ProtocolError(f"not a message: {error}") from None
        return message

    def _put(self, item: Any) -> msgspec.msgpack.Ext:
        if not isinstance(item, Outside):
            raise ProtocolError(f"cannot encode a {type(item).__name__}")
        self._frames.append(item.data)
        return msgspec.msgpack.Ext(_EXT_FRAME, (len(self._frames) - 1).to_bytes(4, "big"))

    def _get(self, code: int, data: memoryview) -> Outside:
        index = int.from_bytes(data, "big")
        if code != _EXT_FRAME or index >= len(self._frames):
            raise ProtocolError(f"no frame {index} in this message")
        return Outside(self._frames[index])
