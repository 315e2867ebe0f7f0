"""The client's half of a pool's link: one thread that owns the socket.

Callers leave what is to be sent in an outbox and wake the thread; it drains the outbox into as few messages as
possible, and hands what arrives to its listener. Nothing here unpickles a value.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import zmq
import zmq.utils.garbage  # its exit handler must be registered before ours, so that it runs after it

from shoal.errors import PoolLost, PoolUnreachable, ProtocolError, ShoalError, VersionMismatch
from shoal.wire.frames import Codec
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Goodbye,
    Hello,
    Message,
    NeedBlob,
    Output,
    PoolStatus,
    Refused,
    Results,
    Running,
    Scale,
    Shutdown,
    StatusRequest,
    Task,
    Tasks,
    Trouble,
    Welcome,
)

__all__ = ["ClientLink", "Listener"]

_MOST_TASKS = 1024
"""Tasks in one message at most: bounds the pause that one message makes at every hop."""

_LINGER = 0.0005
"""Seconds that the thread gathers before it looks again, while the pool has more than enough to do anyway. Without it
submitter and thread take the interpreter from each other at every task."""

_LOOK = 0.5
"""Longest wait (seconds) that is counted as one: a longer one was no wait, this process was stopped meanwhile."""

_MOST_BYTES = 4 << 20
"""Bytes of tasks in one message, about."""


class Listener(Protocol):
    """Who hears what arrives. All methods are called on the link's thread."""

    def task_for(self, item: Any) -> tuple[Task, list[Blob]] | None:
        """The message for an outbox item, and the blobs that must go before it; None to send nothing."""
        ...

    def unsendable(self, task: Task, error: Exception) -> None:
        """A task's message cannot be encoded."""
        ...

    def busy(self) -> bool:
        """Whether the pool has so much to do that a moment's delay costs nothing."""
        ...

    def results(self, message: Results) -> None:
        """Attempts ended."""
        ...

    def running(self, message: Running) -> None:
        """Attempts run."""
        ...

    def output(self, message: Output) -> None:
        """A task printed."""
        ...

    def trouble(self, message: Trouble) -> None:
        """The pool has a problem."""
        ...

    def blobs(self, digests: list[bytes]) -> list[Blob]:
        """Blobs that the pool asks for again."""
        ...

    def lost(self, error: ShoalError) -> None:
        """The pool is gone, or never came: nothing more will arrive."""
        ...


class ClientLink:
    """A thread and a socket.

    Args:
        socket: a DEALER that is connected (or will connect) to the pool's client address; the link closes it.
        name: the pool's name, for messages.
        hello: the session's id, and the client's name for people.
        listener: who hears what arrives.
        process: a descriptor of the pool's process (pidfd) that becomes readable when it ends; -1 where unknown.
        patience: seconds that the pool may take to answer the first message.
        post_mortem: says why the process ended, once it has.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        name: str,
        hello: tuple[str, str],
        listener: Listener,
        *,
        process: int = -1,
        patience: float = 30.0,
        post_mortem: Callable[[], ShoalError] | None = None,
    ) -> None:
        self._socket, self._name, self._listener = socket, name, listener
        self._process, self._patience, self._post_mortem = process, patience, post_mortem
        self._hello = hello
        self._codec = Codec()
        self._outbox: deque[Any] = deque()
        self._orders: deque[Message] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = threading.Lock()
        self._rung = False
        self._tickets: dict[int, _Answer] = {}
        self._next_ticket = 1
        self._closing = False
        self._patient_for = patience
        self.welcomed = False
        self.over: ShoalError | None = None
        self._thread = threading.Thread(target=self._run, name=f"shoal-link-{name}", daemon=True)

    # ------------------------------------------------------------------ called from any thread

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, items: list[Any]) -> None:
        """Leave items for ``listener.task_for``, to be sent soon."""
        self._outbox.extend(items)
        if not self._rung:
            self._ring()

    def order(self, message: Message) -> None:
        """Send a message soon, after the tasks that were put before."""
        self._orders.append(message)
        self._ring()

    def ask(self, make: Callable[[int], Scale | StatusRequest], timeout: float) -> PoolStatus:
        """Send a request and wait for the pool's status.

        Args:
            make: makes the request from its ticket.
            timeout: seconds to wait.

        Raises:
            PoolUnreachable: no answer came.
            ShoalError: the pool is gone.
        """
        if self.over is not None:
            raise self.over
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        answer = self._tickets[ticket] = _Answer()
        self.order(make(ticket))
        _wait(answer.event, timeout)
        self._tickets.pop(ticket, None)
        if answer.status is None:
            over: ShoalError | None = self.over
            raise over or PoolUnreachable(self._name, timeout)
        return answer.status

    def close(self, farewell: Message | None = None, timeout: float = 5.0) -> bool:
        """Send ``farewell`` (default :class:`Goodbye`) and nothing else, then end the thread and the socket.

        Returns:
            Whether the pool was told; False if the link had ended before.
        """
        if not self._thread.is_alive():
            return False
        self._outbox.clear()
        self._orders.clear()
        self._orders.append(farewell or Goodbye())
        self._closing = True
        self._ring()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        return True

    def _ring(self) -> None:
        self._rung = True
        with self._bell_lock:
            if self._bell >= 0:  # else the link has ended, and whoever waits has been answered
                os.eventfd_write(self._bell, 1)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._bell, zmq.POLLIN)
        if self._process >= 0:
            poller.register(self._process, zmq.POLLIN)
        session, name = self._hello
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        self._send(Hello(PROTOCOL_VERSION, session, name, python, os.getpid()))
        looked = time.monotonic()
        try:
            while not (self._closing and not self._orders and not self._outbox):
                if self._listener.busy():
                    time.sleep(_LINGER)
                self._rung = False
                ready = dict(poller.poll(0 if self._outbox or self._orders else self._timeout()))
                self._rung = True
                if self._bell in ready:
                    os.eventfd_read(self._bell)
                if self._outbox or self._orders:
                    self._drain_outbox()
                if self._socket in ready:
                    self._drain_socket()
                if self._process in ready:
                    self._drain_socket()
                    raise self._post_mortem() if self._post_mortem else PoolLost(self._name, "its process ended")
                if self._patient_for > 0:
                    looked = self._lose_patience(looked)
        except ShoalError as error:
            self.over = error
        finally:
            self._end()

    def _timeout(self) -> int | None:
        return int(min(_LOOK, self._patient_for) * 1000) + 1 if self._patient_for > 0 else None

    def _lose_patience(self, looked: float) -> float:
        """Count the time since ``looked`` as waited for the first answer; but not time in which this process was stopped.

        Raises:
            PoolUnreachable: it has been waited long enough.
        """
        now = time.monotonic()
        self._patient_for -= min(now - looked, 2 * _LOOK)
        if self._patient_for <= 0:
            raise PoolUnreachable(self._name, self._patience)
        return now

    def _end(self) -> None:
        broken = sys.exc_info()[1]  # an error of this thread's own goes to threading.excepthook; nobody waits for ever
        reason = "the link was closed" if broken is None else f"its link broke: {type(broken).__name__}: {broken}"
        error = self.over = self.over or PoolLost(self._name, reason)
        self._socket.close(linger=1000)
        with self._bell_lock:
            os.close(self._bell)
            self._bell = -1
        if self._process >= 0:
            os.close(self._process)
        for answer in list(self._tickets.values()):
            answer.event.set()
        if not self._closing:
            self._listener.lost(error)

    def _drain_outbox(self) -> None:
        outbox = self._outbox
        while outbox:
            tasks: list[Task] = []
            size = 0
            while outbox and len(tasks) < _MOST_TASKS and size < _MOST_BYTES:
                made = self._listener.task_for(outbox.popleft())
                if made is None:
                    continue
                task, blobs = made
                for blob in blobs:
                    self._send(blob)
                tasks.append(task)
                size += 200 + task.body.nbytes()
            if tasks:
                self._send_tasks(tasks)
        while self._orders:
            self._send(self._orders.popleft())

    def _send_tasks(self, tasks: list[Task]) -> None:
        try:
            frames = self._codec.encode(Tasks(tasks))
        except (TypeError, ValueError, OverflowError, ShoalError) as error:
            if len(tasks) == 1:
                self._listener.unsendable(tasks[0], error)
                return
            for task in tasks:
                self._send_tasks([task])
            return
        self._socket.send_multipart(frames, copy=False)

    def _send(self, message: Message) -> None:
        self._socket.send_multipart(self._codec.encode(message), copy=False)

    def _drain_socket(self) -> None:
        socket, codec = self._socket, self._codec
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                message = codec.decode([frames[0].buffer, *frames[1:]])
            except ProtocolError:
                continue  # nothing that this client asked for: the pool answers what counts
            self._receive(message)
            if self._outbox and len(self._outbox) > _MOST_TASKS:
                self._drain_outbox()

    def _receive(self, message: Message) -> None:
        listener = self._listener
        if type(message) is Results:
            listener.results(message)
        elif type(message) is Running:
            listener.running(message)
        elif type(message) is Output:
            listener.output(message)
        elif type(message) is PoolStatus:
            answer = self._tickets.get(message.ticket)
            if answer is not None:
                answer.status = message
                answer.event.set()
        elif type(message) is NeedBlob:
            for blob in listener.blobs(message.digests):
                self._send(blob)
        elif type(message) is Trouble:
            listener.trouble(message)
        elif type(message) is Welcome:
            self._patient_for = 0.0
            self.welcomed = True
        elif type(message) is Refused:
            raise VersionMismatch(message.what, message.there, message.here)
        elif type(message) is Shutdown:
            raise PoolLost(self._name, message.reason or "it was stopped")


class _Answer:
    """A place to wait for a status."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.status: PoolStatus | None = None


def _wait(event: threading.Event, timeout: float) -> None:
    """Wait for an event; time in which this process was stopped does not count."""
    while timeout > 0 and not event.wait(min(_LOOK, timeout)):
        timeout -= _LOOK
