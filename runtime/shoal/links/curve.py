"""Doors and lines between hosts: ZeroMQ over TCP, with CURVE and keys that the pool has handed out.

No frame is larger than what zmq is told to take (``MAX_HEADER``), since it sets memory aside for a frame as soon as that
is announced. A larger one is cut into pieces; the header of its message tells the codec how to put them together.
"""

from __future__ import annotations

from typing import Any

import zmq
import zmq.utils.garbage  # its exit handler must be registered before those of its users, so that it runs after them
import zmq.utils.z85

from shoal.errors import ConfigurationError
from shoal.links.link import MAX_HEADER, PeerGone
from shoal.links.poll import Poll
from shoal.wire.starting import Address

__all__ = ["CurveDoor", "CurveLine", "Gate"]

_RECONNECT_MS = 5
_RECONNECT_MAX_MS = 500

_NAME = 5
"""Bytes of the names that zmq gives to peers, the first of which is zero."""

_PIECE = 16 << 20
"""Bytes of the largest piece."""


class _Watched:
    """What a poll sees of a zmq socket.

    zmq signals by edge: its descriptor fires once, and what is there is only seen by asking, also because sending may swallow
    the signal of something that arrived.
    """

    mends = False
    _socket: zmq.Socket[Any]

    def attach(self, poll: Poll) -> None:
        """Have its socket watched."""
        poll.watch(int(self._socket.getsockopt(zmq.FD)), _nothing)

    def ready(self) -> bool:
        """Whether there is something to receive."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def rest(self, now: float) -> float:
        """For ever: zmq connects again by itself."""
        return float("inf")

    def mend(self, now: float) -> None:
        """Nothing."""


class Gate(_Watched):
    """Decides who may come in through the TCP doors of a pool: answers the ZAP requests of its zmq context."""

    def __init__(self) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self._socket = self.context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self.public, self._secret = (key.decode() for key in zmq.curve_keypair())
        self._allowed: dict[bytes, set[bytes]] = {}

    def open(self, domain: str, interface: str) -> tuple[CurveDoor, Address]:
        """Open a door.

        Args:
            domain: a name for it; keys are good for one door.
            interface: the address to bind to.

        Returns:
            The door, and the address for those who connect, with the key pair that is let in.
        """
        public, secret = zmq.curve_keypair()
        self._allowed.setdefault(domain.encode(), set()).add(zmq.utils.z85.decode(public))
        socket = self.context.socket(zmq.ROUTER)
        _set_up(socket)
        socket.router_mandatory = 1
        socket.backlog = 4096
        socket.curve_secretkey = self._secret.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_server = True
        socket.zap_domain = domain.encode()
        port = socket.bind_to_random_port(f"tcp://{interface}")
        return CurveDoor(socket), Address(f"tcp://{interface}:{port}", self.public, public.decode(), secret.decode())

    def answer(self) -> None:
        """Answer what has been asked."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            version, ticket, domain = frames[0], frames[1], frames[2]
            key = frames[6] if len(frames) == 7 and frames[5] == b"CURVE" else b""
            known = key in self._allowed.get(domain, ())
            status, text = (b"200", b"OK") if known else (b"400", b"unknown key")
            self._socket.send_multipart([version, ticket, status, text, b"peer" if known else b"", b""])

    def close(self) -> None:
        """End all doors and this; what is under way is sent as far as that takes no longer than 0.1 s."""
        self.context.destroy(linger=100)


class CurveDoor(_Watched):
    """A ROUTER.

    Args:
        socket: bound already.
    """

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self.malformed = 0
        self._socket = socket
        self._ignored: set[bytes] = set()

    def receive(self) -> tuple[bytes, list[Any]] | None:
        """Who sent the next message, and its frames; None if there is none now."""
        while (frames := _receive(self._socket)) is not None:
            identity = bytes(frames[0])
            if identity[:1] != b"\0" or len(identity) != _NAME:
                self.malformed += 1  # it has chosen a name of its own
            elif len(frames) > 1 and identity not in self._ignored:
                return identity, frames[1:]
        return None

    def send(self, identity: bytes, frames: list[Any]) -> None:
        """Send a message; never blocks.

        Raises:
            PeerGone: nobody of that identity is connected.
        """
        try:
            self._socket.send_multipart([identity, *_pieces(frames)], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            raise PeerGone(str(error)) from None

    def cut(self, identity: bytes) -> None:
        """Hear no more from that peer."""
        self._ignored.add(identity)

    def close(self, linger: float = 0.0) -> None:
        """End it."""
        self._socket.close(int(1000 * linger))


class CurveLine(_Watched):
    """A DEALER.

    Args:
        address: where it leads.
    """

    def __init__(self, address: Address) -> None:
        self.connects = 0
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[Any] = self._context.socket(zmq.DEALER)
        _set_up(self._socket)
        self._socket.reconnect_ivl = _RECONNECT_MS
        self._socket.reconnect_ivl_max = _RECONNECT_MAX_MS
        try:
            self._socket.curve_serverkey = address.server.encode()
            self._socket.curve_publickey = address.public.encode()
            self._socket.curve_secretkey = address.secret.encode()
            self._socket.connect(address.url)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ConfigurationError("address", address.url, f"zmq cannot connect there: {error}") from None

    def send(self, frames: list[Any]) -> None:
        """Send a message, now or once it is connected; never blocks."""
        self._socket.send_multipart(_pieces(frames), zmq.NOBLOCK, copy=False)

    @property
    def pending(self) -> bool:
        """Nobody knows: zmq has threads of its own."""
        return False

    @property
    def unsettled(self) -> bool:
        """Never."""
        return False

    def send_at_once(self, frame: Any) -> bool:
        """Not here: one thread only may use a zmq socket."""
        return False

    def settle(self) -> None:
        """Nothing."""

    def receive(self) -> list[Any] | None:
        """The frames of the next message; None if there is none now."""
        return _receive(self._socket)

    def close(self, linger: float = 0.0) -> None:
        """End it; what is under way is sent as far as that takes no longer than ``linger`` seconds."""
        self._context.destroy(linger=int(1000 * linger))


def _receive(socket: zmq.Socket[Any]) -> list[Any] | None:
    """The frames of the next message, none of them copied; None if there is no message now."""
    try:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return None
    frames = [frame.buffer]
    while frame.more:
        frame = socket.recv(copy=False)
        frames.append(frame.buffer)
    return frames


def _pieces(frames: list[Any]) -> list[Any]:
    """The frames of a message, those after its header cut into pieces where they are large."""
    if len(frames) == 1:
        return frames
    found = frames[:1]
    for frame in frames[1:]:
        view = memoryview(frame).cast("B")
        if len(view) <= _PIECE:
            found.append(frame)
        else:
            found.extend(view[place : place + _PIECE] for place in range(0, len(view), _PIECE))
    return found


def _set_up(socket: zmq.Socket[Any]) -> None:
    socket.linger = 0
    socket.sndhwm = 0
    socket.rcvhwm = 0
    socket.maxmsgsize = MAX_HEADER
    # The connection of a host that is gone is closed after some minutes, also while there is nothing to say.
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle = 60
    socket.tcp_keepalive_intvl = 15
    socket.tcp_keepalive_cnt = 8


def _nothing(events: int) -> None:
    """The door is asked after each wait anyway."""
