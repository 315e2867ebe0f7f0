"""Many stand-ins for managers in one process: ``python -m benchmarks.scale.standins SPEC COUNT SLOTS READY``.

Each is a connection of its own, with a handshake and keys of its own, and behaves as a manager does towards its pool:
it registers, sends heartbeats, takes tasks and answers them. It has no workers: it answers a task at once, and says that
it took a second. Answers go out together once all slots of a stand-in have one, or after ``GATHER`` seconds.

The connections share one ROUTER socket, which knows them by names of its own: for the pool each looks like the DEALER of
a manager, and asking thousands of sockets in turn would be most of the work.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import zmq

from shoal.outcome import Payload
from shoal.wire.frames import Codec
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Heartbeat,
    Recall,
    Refused,
    Register,
    Result,
    Results,
    Returned,
    Shutdown,
    Tasks,
    Welcome,
)
from shoal.wire.starting import ManagerSpec

HEARTBEAT = 2.5
"""Seconds between signs of life, as of a manager."""

GATHER = 0.2
"""Seconds after which answers go out though not all slots have one."""

TOOK = 1.0
"""Seconds that each task is said to have taken: long enough that no more than one a slot is sent."""

LOOK = 0.02
"""Seconds between looks at what only time tells."""

VALUE = [Payload(b"\x80\x05K\x01.")]


class StandIns:
    """The stand-ins of one process.

    Args:
        spec: what the pool tells its managers.
        count: how many.
        slots: of each.
        ready: the file that says so once all are welcome.
    """

    def __init__(self, spec: ManagerSpec, count: int, slots: int, ready: Path) -> None:
        self._spec, self._slots, self._ready = spec, slots, ready
        self._names = [b"s" + n.to_bytes(4, "big") for n in range(count)]
        self._held: dict[bytes, list[Result]] = {}
        self._since: dict[bytes, float] = {}
        self._welcome: set[bytes] = set()
        self._codec = Codec()
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._over = False

    def run(self) -> None:
        """Connect all of them, and answer until the pool ends."""
        self._connect()
        beat = self._codec.encode(Heartbeat(self._slots, self._slots))[0]
        began, beaten, names, parent = time.monotonic(), 0, self._names, os.getppid()
        while not self._over and os.getppid() == parent:
            self._socket.poll(int(1000 * LOOK))
            self._receive(began)
            now = time.monotonic()
            for name in [n for n, since in self._since.items() if now - since > GATHER]:
                self._answer(name)
            due = int((now - began) / HEARTBEAT * len(names))
            for turn in range(beaten, min(due, beaten + len(names))):
                if names[turn % len(names)] in self._welcome:
                    self._socket.send_multipart([names[turn % len(names)], beat])
            beaten = due
        self._context.destroy(linger=0)

    def _connect(self) -> None:
        address, socket = self._spec.address, self._socket
        socket.sndhwm = socket.rcvhwm = 0
        socket.curve_serverkey = address.server.encode()
        socket.curve_publickey = address.public.encode()
        socket.curve_secretkey = address.secret.encode()
        host, python = os.uname().nodename, f"{sys.version_info[0]}.{sys.version_info[1]}"
        hello = Register(PROTOCOL_VERSION, self._spec.block, host, os.getpid(), python, self._slots)
        register = self._codec.encode(hello)[0]
        for name in self._names:
            socket.setsockopt(zmq.CONNECT_ROUTING_ID, name)
            socket.connect(address.url)
            socket.send_multipart([name, register])

    def _receive(self, began: float) -> None:
        socket, codec = self._socket, self._codec
        while True:
            try:
                name, *frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            message = codec.decode(frames)
            if isinstance(message, Tasks):
                self._take(name, message)
            elif isinstance(message, Recall):
                socket.send_multipart([name, *codec.encode(Returned([]))])
            elif isinstance(message, Welcome):
                self._welcome.add(name)
                socket.send_multipart([name, *codec.encode(Heartbeat(self._slots, self._slots))])
                if len(self._welcome) == len(self._names):
                    self._ready.write_text(str(time.monotonic()))
            elif isinstance(message, Shutdown | Refused):
                self._over = True

    def _take(self, name: bytes, message: Tasks) -> None:
        now = time.time()
        held = self._held.setdefault(name, [])
        held += [Result(t.client, t.tid, t.attempt, VALUE, None, "stand-in", now - TOOK, now) for t in message.tasks]
        if len(held) >= self._slots:
            self._answer(name)
        else:
            self._since.setdefault(name, time.monotonic())

    def _answer(self, name: bytes) -> None:
        self._since.pop(name, None)
        held = self._held.pop(name, None)
        if held:
            self._socket.send_multipart([name, *self._codec.encode(Results(held))])


def main() -> None:
    """Stand in for the managers of a block."""
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ManagerSpec)
    StandIns(spec, int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])).run()


if __name__ == "__main__":
    main()
