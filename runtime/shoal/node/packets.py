"""Packets between a manager and a worker, over a SEQPACKET socket pair.

A packet is 12 bytes of head (its number and how many frames it has), the sizes of the frames where there are several, and
the frames. Where they are large, only the head travels in the packet: the frames lie in a memory file whose descriptor
goes along, and the receiver maps it privately, so that what is unpickled from it is writable without another copy.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

from shoal.errors import ProtocolError

__all__ = ["PACKET", "receive", "send"]

PACKET = 64 * 1024
"""Frames of more bytes than this together travel in a memory file."""

_HEAD = struct.Struct("<QI")
_FD_SPACE = socket.CMSG_SPACE(array.array("i").itemsize)
_MORE = 1 << 31
_buffer = bytearray(PACKET + 4096)
_view = memoryview(_buffer)


def send(link: socket.socket, number: int, frames: Sequence[Any], flags: int = 0) -> None:
    """Send ``frames`` as one packet.

    Args:
        link: a SEQPACKET socket.
        number: carried along, for the receiver.
        frames: bytes-like objects.
        flags: of ``sendmsg``, such as ``MSG_DONTWAIT``.

    Raises:
        BlockingIOError: with ``MSG_DONTWAIT``, there is no room now; nothing was sent.
        OSError: the other side is gone.
    """
    if len(frames) == 1 and len(frames[0]) <= PACKET:
        link.sendmsg((_HEAD.pack(number, 1), frames[0]), (), flags)
        return
    views = [memoryview(f).cast("B") if not isinstance(f, bytes) else f for f in frames]
    sizes = [len(v) for v in views]
    table = struct.pack(f"<{len(sizes)}Q", *sizes)
    if sum(sizes) + len(table) <= PACKET:
        link.sendmsg((_HEAD.pack(number, len(sizes)), table, *views), (), flags)
        return
    fd = os.memfd_create("shoal", os.MFD_CLOEXEC)
    try:
        _write_all(fd, [table, *views])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        link.sendmsg((_HEAD.pack(number, len(sizes) | _MORE),), rights, flags)
    finally:
        os.close(fd)


def receive(link: socket.socket, flags: int = 0, writable: bool = True) -> tuple[int, list[Any]] | None:
    """Receive one packet: its number and its frames, or None if the other side is gone.

    The first frame is only valid until the next call in this process; the others are the caller's own.

    Args:
        link: a SEQPACKET socket.
        flags: of ``recvmsg``, such as ``MSG_DONTWAIT``.
        writable: whether the other frames shall be writable; who only passes them on needs that not.

    Raises:
        BlockingIOError: with ``MSG_DONTWAIT``, there is none.
        ProtocolError: it is no packet.
    """
    size, rights, _, _ = link.recvmsg_into((_buffer,), _FD_SPACE, flags)
    if size == 0:
        return None
    if size < _HEAD.size:
        raise ProtocolError("a packet without its head")
    number, count = _HEAD.unpack_from(_buffer)
    if count == 1:
        return number, [_view[_HEAD.size : size]]
    if count & _MORE:
        return number, _from_file(rights, count & ~_MORE, writable)
    return number, _split(memoryview(bytearray(_view[_HEAD.size : size])), count)


def _split(data: memoryview, count: int) -> list[Any]:
    position = 8 * count
    if len(data) < position:
        raise ProtocolError("a packet shorter than its table")
    frames = []
    for size in struct.unpack_from(f"<{count}Q", data):
        frames.append(data[position : position + size])
        position += size
    if position != len(data):
        raise ProtocolError("a packet that does not fit its table")
    return frames


def _from_file(rights: list[tuple[int, int, bytes]], count: int, writable: bool) -> list[Any]:
    fds = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if len(fds) != 1:
        raise ProtocolError("a packet without its memory file")
    try:
        if writable:
            mapped = mmap.mmap(fds[0], 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        else:
            mapped = mmap.mmap(fds[0], 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    finally:
        os.close(fds[0])
    return _split(memoryview(mapped), count)


def _write_all(fd: int, parts: list[Any]) -> None:
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]
