"""The stacks of a node's workers, on request.

A thread of its own asks them and waits for what they write, so that a worker that cannot answer keeps nobody waiting.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from shoal.links import Poll
from shoal.node.crew import WorkerHandle
from shoal.node.endings import described
from shoal.node.page import SIZE, TRACE
from shoal.stacks import SIGNAL, answers, own_stacks, states, written
from shoal.wire.messages import Message, Stacks, StacksRequest

__all__ = ["Dumps"]

PATIENCE = 2.0
"""Seconds in which a worker must have answered."""

_MOST = 256 * 1024
"""Bytes of one worker's answer."""


class _Asked(NamedTuple):
    name: str
    pid: int
    pidfd: int
    file: int
    doing: str


class Dumps:
    """Asks the workers of a manager for their stacks.

    Args:
        host: the node's name.
        poll: of the manager.
        send: sends a message to the pool; called by the poll.
    """

    def __init__(self, host: str, poll: Poll, send: Callable[[Message], None]) -> None:
        self._host = host
        self._send = send
        self._found: deque[Stacks] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        poll.add(self._bell, self._deliver)

    def ask(self, request: StacksRequest, workers: list[WorkerHandle]) -> None:
        """Start to ask; the answer is sent when there is one.

        Args:
            request: names the worker, ``host/pid``, or none for all of them and the manager.
            workers: those that there are.
        """
        asked = []
        for worker in workers:
            name = f"{self._host}/{worker.pid}"
            if request.worker in ("", name):
                asked.append(_Asked(name, worker.pid, os.dup(worker.pidfd), os.dup(worker.page_fd), _doing(worker)))
        own = [(f"{self._host}/{os.getpid()} (manager)", own_stacks())] if not request.worker else []
        if not asked and not own:
            self._send(Stacks(request.ticket, self._host, []))
            return
        threading.Thread(
            target=self._collect, args=(request.ticket, asked, own), name="shoal-stacks", daemon=True
        ).start()

    def _collect(self, ticket: int, asked: list[_Asked], found: list[tuple[str, str]]) -> None:
        deadline = time.monotonic() + PATIENCE
        answering = [_signalled(worker) for worker in asked]
        for worker, may_answer in zip(asked, answering, strict=True):
            found.append((f"{worker.name} ({worker.doing})", _stacks_of(worker, may_answer, deadline)))
            os.close(worker.pidfd)
            os.close(worker.file)
        self._found.append(Stacks(ticket, self._host, found))
        os.eventfd_write(self._bell, 1)

    def _deliver(self) -> None:
        os.eventfd_read(self._bell)
        while self._found:
            self._send(self._found.popleft())


def _doing(worker: WorkerHandle) -> str:
    key = worker.running
    if not worker.ready:
        return "starting"
    if key is None or key not in worker.flight:
        return "idle"
    return f"{described(worker.flight[key][0])}, for {max(0.0, time.time() - worker.begun_at):.1f} s"


def _signalled(worker: _Asked) -> bool:
    """Ask a worker; False if it cannot be asked."""
    if not answers(worker.pid):
        return False
    os.ftruncate(worker.file, SIZE)
    os.lseek(worker.file, TRACE, os.SEEK_SET)  # the worker writes where this is
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(worker.pidfd, SIGNAL)
    return True


def _stacks_of(worker: _Asked, may_answer: bool, deadline: float) -> str:
    """What a worker writes; or why it does not, and what the kernel knows of it."""
    if not may_answer:
        return f"it cannot be asked (it is starting, or has become another program)\n{states(worker.pid)}"
    pause = 0.001
    while not (os.fstat(worker.file).st_size > TRACE and written(worker.pid)):
        if time.monotonic() > deadline:
            return f"it does not answer\n{states(worker.pid)}"
        time.sleep(pause)
        pause = min(0.05, 2 * pause)
    text = os.pread(worker.file, _MOST, TRACE).decode(errors="replace").strip()
    os.ftruncate(worker.file, SIZE)
    os.lseek(worker.file, TRACE, os.SEEK_SET)  # so does what it writes should it crash
    return f"{text}\n{states(worker.pid)}"
