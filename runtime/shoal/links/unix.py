"""Doors and lines inside one host: Unix stream sockets."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from shoal.errors import ProtocolError
from shoal.links.link import PeerGone
from shoal.links.poll import Poll
from shoal.links.stream import Stream

__all__ = ["UnixDoor", "UnixLine"]

_BACKLOG = 4096
_SOON, _LATER = 0.002, 0.25
"""Seconds between attempts to connect: at first, and after a while."""

_CREDENTIALS = struct.Struct("3i")


class UnixDoor:
    """Listens at a path.

    Args:
        path: of the socket; its folder keeps others out, and who gets there all the same must be of the same user.
    """

    mends = False

    def __init__(self, path: str) -> None:
        self.malformed = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(FileNotFoundError):
            Path(path).unlink()  # of one that was killed; who may be here has been settled before
        self._listener.bind(path)
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        self._streams: dict[bytes, Stream] = {}
        self._ready: deque[bytes] = deque()
        self._waiting: set[bytes] = set()
        self._next = 1
        self._spare = _spare()
        """A descriptor to be given up for a moment when there are no others left."""
        self._poll: Poll

    def attach(self, poll: Poll) -> None:
        """Watch the door and all who came in."""
        self._poll = poll
        poll.watch(self._listener.fileno(), self._accept)

    def ready(self) -> bool:
        """Whether somebody may have sent something."""
        return bool(self._ready)

    def rest(self, now: float) -> float:
        """For ever."""
        return float("inf")

    def mend(self, now: float) -> None:
        """Nothing."""

    def receive(self) -> tuple[bytes, list[Any]] | None:
        """Who sent the next message, and its frames; None if there is none now."""
        ready = self._ready
        while ready:
            identity = ready[0]
            stream = self._streams.get(identity)
            if stream is not None:
                try:
                    frames = stream.receive()
                except PeerGone:
                    self.cut(identity)
                except ProtocolError:
                    self.malformed += 1
                    self.cut(identity)  # where its next message begins, nobody knows
                else:
                    if frames is not None:
                        if len(ready) > 1:
                            ready.rotate(-1)  # each has its turn
                        return identity, frames
            ready.popleft()
            self._waiting.discard(identity)
        return None

    def send(self, identity: bytes, frames: list[Any]) -> None:
        """Send a message; never blocks.

        Raises:
            PeerGone: nobody of that identity is connected.
        """
        stream = self._streams.get(identity)
        if stream is None:
            raise PeerGone("it closed its connection")
        try:
            if not stream.send(frames):
                self._poll.want_room(stream.sock.fileno(), True)
        except PeerGone:
            self._hear_out(identity)
            raise

    def cut(self, identity: bytes) -> None:
        """Hear no more from that peer."""
        stream = self._streams.pop(identity, None)
        if stream is not None:
            self._poll.remove(stream.sock.fileno())
            stream.sock.close()

    def close(self, linger: float = 0.0) -> None:
        """End it; what is under way is sent as far as that takes no longer than ``linger`` seconds."""
        deadline = time.monotonic() + linger
        for identity, stream in list(self._streams.items()):
            with suppress(PeerGone):
                _send_rest(stream, deadline)
            self.cut(identity)
        self._poll.remove(self._listener.fileno())
        self._listener.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _accept(self, events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()
            return  # else it has left again
        _, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if user not in (os.getuid(), 0):
            sock.close()
            return
        identity = self._next.to_bytes(8, "little")
        self._next += 1
        self._streams[identity] = Stream(sock)
        self._poll.watch(sock.fileno(), partial(self._stirs, identity))

    def _turn_away(self) -> None:
        """Descriptors have run out: who waits is sent off, to come again, since its knocking would not end otherwise."""
        if self._spare >= 0:
            os.close(self._spare)
        with suppress(OSError):
            self._listener.accept()[0].close()
        self._spare = _spare()

    def _stirs(self, identity: bytes, events: int) -> None:
        stream = self._streams.get(identity)
        if stream is None:
            return
        if events & select.EPOLLOUT:
            try:
                if stream.flush():
                    self._poll.want_room(stream.sock.fileno(), False)
            except PeerGone:
                self._hear_out(identity)
        if events & ~select.EPOLLOUT:
            self._hear_out(identity)

    def _hear_out(self, identity: bytes) -> None:
        """There may be something to receive of that peer, be it what it sent before it went."""
        if identity not in self._waiting:
            self._waiting.add(identity)
            self._ready.append(identity)


class UnixLine:
    """Leads to the door at a path. What is sent before it is connected leaves then.

    Args:
        path: of the socket.
    """

    mends = True

    def __init__(self, path: str) -> None:
        self.connects = 0
        self._path = path
        self._stream: Stream | None = None
        self._early: list[list[Any]] = []
        self._poll: Poll | None = None
        self._ready = False
        self._due = 0.0
        self._pause = _SOON
        self._cut_off: Stream | None = None
        self.mend(time.monotonic())

    def attach(self, poll: Poll) -> None:
        """Watch it."""
        self._poll = poll
        if self._stream is not None:
            self._connected(self._stream)

    def ready(self) -> bool:
        """Whether something may have come."""
        return self._ready

    def rest(self, now: float) -> float:
        """Seconds until it will try to connect; infinite while it is connected."""
        return float("inf") if self._stream is not None else self._due - now

    def mend(self, now: float) -> None:
        """Try to connect, if that is due."""
        if self._stream is not None or now < self._due:
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(self._path)
        except OSError:  # nobody listens there yet
            sock.close()
            self._due = now + self._pause
            self._pause = min(_LATER, 1.05 * self._pause)
            return
        self._pause = _SOON
        self.connects += 1
        if self._cut_off is not None:
            self._cut_off.sock.close()
            self._cut_off = None
        self._stream = stream = Stream(sock)
        if self._poll is not None:
            self._connected(stream)

    def send(self, frames: list[Any]) -> None:
        """Send a message, now or once it is connected; never blocks."""
        stream = self._stream
        if stream is None or self._poll is None:
            self._early.append(frames)
            return
        try:
            if not stream.send(frames):
                self._poll.want_room(stream.sock.fileno(), True)
        except PeerGone:
            self._ready = True  # what it sent before it went is received first, then its end

    @property
    def pending(self) -> bool:
        """Whether something that was sent is still in this process."""
        return bool(self._early) if self._stream is None else self._stream.pending

    @property
    def unsettled(self) -> bool:
        """Whether ``send_at_once`` has left something over."""
        return self._stream is not None and self._stream.unsettled

    def send_at_once(self, frame: Any) -> bool:
        """Send a message of one small frame, from another thread than that which does all else; see :class:`Line`."""
        stream = self._stream
        try:
            return stream is not None and self._poll is not None and stream.send_at_once(frame)
        except PeerGone:
            return True  # as what was sent just before the other side went: whoever receives here will hear of it

    def settle(self) -> None:
        """Send what ``send_at_once`` has left over, if anything."""
        stream = self._stream
        if stream is None or not stream.unsettled:
            return
        try:
            if not stream.flush() and self._poll is not None:
                self._poll.want_room(stream.sock.fileno(), True)
        except PeerGone:
            self._ready = True

    def receive(self) -> list[Any] | None:
        """The frames of the next message; None if there is none now."""
        if self._stream is None:
            return None
        try:
            frames = self._stream.receive()
        except (PeerGone, ProtocolError):
            self._cut()
            return None
        self._ready = frames is not None
        return frames

    def close(self, linger: float = 0.0) -> None:
        """End it; what is under way is sent as far as that takes no longer than ``linger`` seconds."""
        deadline = time.monotonic() + linger
        while self._early and self._stream is None and (now := time.monotonic()) < deadline:
            time.sleep(_SOON)
            self.mend(now)
        if self._stream is not None:
            with suppress(PeerGone):
                _send_rest(self._stream, deadline)
            self._cut()
        if self._cut_off is not None:
            self._cut_off.sock.close()
        self._early.clear()
        self._due = float("inf")

    def _connected(self, stream: Stream) -> None:
        assert self._poll is not None
        self._poll.watch(stream.sock.fileno(), self._stirs)
        early, self._early = self._early, []
        for frames in early:
            self.send(frames)

    def _stirs(self, events: int) -> None:
        if events & select.EPOLLOUT and self._stream is not None and self._poll is not None:
            try:
                if self._stream.flush():
                    self._poll.want_room(self._stream.sock.fileno(), False)
            except PeerGone:
                self._ready = True
        if events & ~select.EPOLLOUT:
            self._ready = True

    def _cut(self) -> None:
        """The connection is gone, and what was under way with it."""
        stream, self._stream = self._stream, None
        self._ready = False
        if stream is not None:
            if self._poll is not None:
                self._poll.remove(stream.sock.fileno())
            stream.end()
            # Closed later: a thread that is in ``send_at_once`` must not find its descriptor used for something else.
            self._cut_off = stream
            self._due = time.monotonic() + _SOON


def _spare() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _send_rest(stream: Stream, deadline: float) -> None:
    room = select.poll()
    room.register(stream.sock, select.POLLOUT)
    while not stream.flush():
        left = deadline - time.monotonic()
        if left <= 0:
            return
        room.poll(1000 * left)
