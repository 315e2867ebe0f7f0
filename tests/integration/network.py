"""A second host for tests: a network namespace at the end of a cable that can be cut, slow and lossy.

The cable is two TAP devices, one here and one there, and a thread that carries frames between them. It needs root, and the
command ``ip``.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from contextlib import suppress
from typing import Any

__all__ = ["MISSING", "Host"]

MISSING = next((f"needs the command {name}" for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None), "")
if os.geteuid() != 0:
    MISSING = "needs root, for network namespaces"
elif not os.path.exists("/dev/net/tun"):
    MISSING = "needs /dev/net/tun"

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_MOST = 65536


def run(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


class Host:
    """Another host, reached by a cable.

    Attributes:
        name: of its namespace, which is its host name, too.
        here, there: the addresses of the two ends of the cable.
        delay: seconds that a frame takes, in each direction.
        loss: the part of the frames that is dropped.
        cut: whether all of them are.
    """

    _next = 0

    def __init__(self, seed: int = 0) -> None:
        Host._next += 1
        self.name = f"sh{os.getpid()}x{Host._next}"
        net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.here, self.there = f"{net}.{4 * Host._next + 1}", f"{net}.{4 * Host._next + 2}"
        self.delay = self.loss = 0.0
        self.cut = False
        self._chance = random.Random(seed)
        self._ends = [_tap(f"{self.name}{end}") for end in "ab"]
        near, far = f"{self.name}a", f"{self.name}b"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "set", far, "netns", self.name)
        run("ip", "addr", "add", f"{self.here}/30", "dev", near)
        run("ip", "link", "set", near, "up")
        run("ip", "-n", self.name, "addr", "add", f"{self.there}/30", "dev", far)
        run("ip", "-n", self.name, "link", "set", far, "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._carry, name=f"cable-{self.name}", daemon=True)
        self._thread.start()

    def command(self, *words: str) -> list[str]:
        """A command line that runs these words there, under the host's own name."""
        inside = ["bash", "-c", f'hostname {self.name}; exec "$@"', "bash", *words]
        return ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "-u", *inside]

    def worker_init(self) -> str:
        """Lines that have a block's manager run there, out of the reach of signals from here."""
        return f"""
            setsid nsenter --net=/run/netns/{self.name} unshare -u bash -c 'hostname {self.name}; exec "$@"' bash "$@" &
            exec tail --pid=$PPID -f /dev/null
        """

    def close(self) -> None:
        """Take it away. Its processes should have ended."""
        os.eventfd_write(self._bell, 1)
        self._thread.join(10)
        for end in [*self._ends, self._bell]:
            os.close(end)
        run("ip", "netns", "del", self.name)

    def _carry(self) -> None:
        poll = select.poll()
        for fd in (*self._ends, self._bell):
            poll.register(fd, select.POLLIN)
        waiting: list[tuple[float, int, int, bytes]] = []
        count = 0
        while True:
            left = waiting[0][0] - time.monotonic() if waiting else 60.0
            for fd, _ in poll.poll(max(0.0, left) * 1000):
                if fd == self._bell:
                    return
                for frame in _frames(fd):
                    if self.cut or (self.loss and self._chance.random() < self.loss):
                        continue
                    other = self._ends[1] if fd == self._ends[0] else self._ends[0]
                    count += 1
                    heapq.heappush(waiting, (time.monotonic() + self.delay, count, other, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(waiting)
                with suppress(OSError):  # it is down, or its queue is full: a frame is lost
                    os.write(end, frame)


def _tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    request: Any = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
    fcntl.ioctl(fd, _TUNSETIFF, request)
    return fd


def _frames(fd: int) -> list[bytes]:
    found = []
    with suppress(OSError):
        while True:
            found.append(os.read(fd, _MOST))
    return found
