"""Sockets between the processes of a pool.

Inside one host a link is a Unix socket in a folder that only its owner can enter. Where no short enough path can be had,
it is TCP on the loopback interface with CURVE: the pool's side has one key pair, and a :class:`Gate` lets in only the
keys that were handed out for that very door, so that what a manager holds cannot submit tasks.
"""

from __future__ import annotations

import os
import select
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.utils.z85

from shoal.errors import ConfigurationError
from shoal.wire.starting import Address

__all__ = [
    "Gate",
    "Poll",
    "dial",
    "folder_address",
    "listen",
    "own_folder",
    "process_started",
    "receive",
    "send",
    "socket_folder",
]

PATH_LIMIT = 100
"""Unix socket paths up to this many bytes work everywhere (the kernel takes 107)."""

MAX_FRAME = 1 << 33
"""No frame may be larger (bytes)."""

_RECONNECT_MS = 5
_RECONNECT_MAX_MS = 500


def own_folder(path: Path) -> Path:
    """Make ``path`` a folder that only its owner can enter, and return it.

    Raises:
        ConfigurationError: it belongs to somebody else or is open to others.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError("folder", str(path), "it must be a folder of yours with mode 0700; remove or mend it")
    return path


def socket_folder() -> Path:
    """A new folder for the sockets of one pool, mode 0700, with a path as short as can be had."""
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108  own_folder checks
        if base and len(base) <= PATH_LIMIT - 40 and os.access(base, os.W_OK | os.X_OK):
            home = own_folder(Path(base) / f"shoal-{os.getuid()}")
            return Path(tempfile.mkdtemp(prefix="p-", dir=home))
    return Path(tempfile.mkdtemp(prefix="shoal-"))


def folder_address(folder: Path, name: str) -> Address | None:
    """The address of the Unix socket ``name`` in ``folder``; None if its path would be too long."""
    path = folder / name
    return Address(f"ipc://{path}") if len(os.fsencode(path)) <= PATH_LIMIT else None


def process_started(pid: int) -> int:
    """When a process of this host started, in clock ticks since boot; 0 if it is gone. Tells a reused pid.

    A zombie is gone, too: its parent (a Jupyter server that started a pool, say) may not collect it for long.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


class Gate:
    """Decides who may come in through TCP doors: answers the ZAP requests of one zmq context.

    Args:
        context: the context of the doors.
    """

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")
        self.public, self._secret = (key.decode() for key in zmq.curve_keypair())
        self._allowed: dict[bytes, set[bytes]] = {}

    def guard(self, door: zmq.Socket[Any], domain: str) -> tuple[str, str]:
        """Put CURVE on ``door`` before it is bound.

        Args:
            door: the listening socket.
            domain: a name for the door; keys are good for one door.

        Returns:
            The key pair (public, secret) that is let in there.
        """
        public, secret = zmq.curve_keypair()
        self._allowed.setdefault(domain.encode(), set()).add(zmq.utils.z85.decode(public))
        door.curve_secretkey = self._secret.encode()
        door.curve_publickey = self.public.encode()
        door.curve_server = True
        door.zap_domain = domain.encode()
        return public.decode(), secret.decode()

    def answer(self) -> None:
        """Answer what has been asked; call it when ``socket`` is readable."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            version, ticket, domain = frames[0], frames[1], frames[2]
            key = frames[6] if len(frames) == 7 and frames[5] == b"CURVE" else b""
            known = key in self._allowed.get(domain, ())
            status, text = (b"200", b"OK") if known else (b"400", b"unknown key")
            self.socket.send_multipart([version, ticket, status, text, b"peer" if known else b"", b""])


def listen(
    context: zmq.Context[Any], wanted: Address | None, gate: Callable[[], Gate], domain: str
) -> tuple[zmq.Socket[Any], Address]:
    """Open a door: a bound ROUTER.

    Args:
        context: the zmq context.
        wanted: a Unix address, or None for TCP with CURVE on the loopback interface.
        gate: makes (or gives) the context's gate; called for TCP only.
        domain: the door's name for its gate.

    Returns:
        The socket, and the address for those who connect.
    """
    door = context.socket(zmq.ROUTER)
    _set_up(door)
    door.router_mandatory = 1
    door.backlog = 4096
    if wanted is not None:
        door.bind(wanted.url)
        return door, wanted
    guard = gate()
    public, secret = guard.guard(door, domain)
    port = door.bind_to_random_port("tcp://127.0.0.1")
    return door, Address(f"tcp://127.0.0.1:{port}", guard.public, public, secret)


def dial(context: zmq.Context[Any], address: Address) -> zmq.Socket[Any]:
    """A DEALER that connects to ``address``, at once or as soon as somebody listens there."""
    socket: zmq.Socket[Any] = context.socket(zmq.DEALER)
    _set_up(socket)
    socket.reconnect_ivl = _RECONNECT_MS
    socket.reconnect_ivl_max = _RECONNECT_MAX_MS
    if address.server:
        socket.curve_serverkey = address.server.encode()
        socket.curve_publickey = address.public.encode()
        socket.curve_secretkey = address.secret.encode()
    socket.connect(address.url)
    return socket


def receive(socket: zmq.Socket[Any]) -> list[Any] | None:
    """The frames of the next message as zmq Frames, none of them copied; None if there is no message now."""
    try:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return None
    frames = [frame]
    while frame.more:
        frame = socket.recv(copy=False)
        frames.append(frame)
    return frames


def send(socket: zmq.Socket[Any], frames: list[Any]) -> None:
    """Send a message at once; large frames are not copied, so they must not be changed afterwards.

    Raises:
        zmq.ZMQError: the peer is not (any more) there; only a ROUTER says so.
    """
    if len(frames) == 1:
        socket.send(frames[0], zmq.NOBLOCK)
    else:
        socket.send_multipart(frames, zmq.NOBLOCK, copy=False)


def _set_up(socket: zmq.Socket[Any]) -> None:
    socket.linger = 0
    socket.sndhwm = 0
    socket.rcvhwm = 0
    socket.maxmsgsize = MAX_FRAME


class Poll:
    """Waits for zmq sockets and file descriptors together, and calls what belongs to each.

    zmq signals by edge: its descriptor fires once, and events are only seen by asking the socket. So sockets are asked
    before each sleep, also because sending may swallow the signal of something that arrived.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._sockets: dict[int, tuple[zmq.Socket[Any], Callable[[], None]]] = {}

    def add_socket(self, socket: zmq.Socket[Any], call: Callable[[], None]) -> None:
        """Call ``call`` whenever ``socket`` has something to receive; it must receive all there is."""
        fd = int(socket.getsockopt(zmq.FD))
        self._sockets[fd] = (socket, call)
        self._epoll.register(fd, select.EPOLLIN)

    def add(self, fd: int, call: Callable[[], None]) -> None:
        """Call ``call`` whenever ``fd`` is readable (or has hung up)."""
        self._calls[fd] = call
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Stop watching ``fd``, before it is closed."""
        if self._calls.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def once(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for anything, then call all that is due."""
        calls = self._due()
        for fd, _ in self._epoll.poll(0 if calls else timeout):
            call = self._calls.get(fd)
            if call is not None:
                call()
        for call in calls or self._due():
            call()

    def close(self) -> None:
        """Forget everything."""
        self._epoll.close()

    def _due(self) -> list[Callable[[], None]]:
        return [call for socket, call in self._sockets.values() if int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN]
