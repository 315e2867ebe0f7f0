"""The client's half of a pool's link: one thread that owns the socket.

Callers leave what is to be sent in an outbox and wake the thread; it drains the outbox into as few messages as
possible, and hands what arrives to its listener. Nothing here unpickles a value.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from shoal.errors import PoolLost, PoolUnreachable, ProtocolError, SessionInUse, ShoalError, VersionMismatch
from shoal.executors.listening import Greeting, Listener
from shoal.links import Line, Poll, Pulse
from shoal.outcome import Payload
from shoal.wire.frames import Codec, Lent
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Message,
    NeedBlob,
    Output,
    PoolStatus,
    Refused,
    Results,
    Returned,
    Running,
    Scale,
    Shutdown,
    StatusRequest,
    Taken,
    Task,
    Tasks,
    Trouble,
    Welcome,
)

__all__ = ["SILENCE", "ClientLink"]

_MOST_TASKS = 1024
"""Tasks in one message at most: bounds the pause that one message makes at every hop."""

_LINGER = 0.0005
"""Seconds that the thread gathers before it looks again, while the pool has more than enough to do anyway. Without it
submitter and thread take the interpreter from each other at every task."""

_LOOK = 0.5
"""Longest wait (seconds) that is counted as one: a longer one was no wait, this process was stopped meanwhile."""

SILENCE = 120.0
"""Seconds after which a pool on another host is given up if it does not answer."""

_DYING = 2.0
"""Seconds that a process may take to be gone after its connections are."""

_BEAT = 2.5
"""Seconds between looks at such a pool."""

_MOST_BYTES = 4 << 20
"""Bytes of tasks in one message, about."""

_SMALL = 8192
"""A message up to this size (bytes) may leave from the submitter's thread."""

_UNSENDABLE = (TypeError, ValueError, OverflowError, ShoalError)
"""What encoding a task's message raises that cannot be encoded."""


class _Made(NamedTuple):
    """A task's message that is made, with the blobs that go before it."""

    task: Task
    blobs: list[Blob]


class ClientLink:
    """A thread and a socket.

    Args:
        line: to the pool's clients' door; the link closes it.
        name: the pool's name, for messages.
        greeting: what the pool is told first.
        listener: who hears what arrives.
        process: a descriptor of the pool's process (pidfd) that becomes readable when it ends; -1 where unknown.
        patience: seconds that the pool may take to answer the first message.
        post_mortem: says why the process ended, once it has.
    """

    def __init__(
        self,
        line: Line,
        name: str,
        greeting: Greeting,
        listener: Listener,
        *,
        process: int = -1,
        patience: float = 30.0,
        post_mortem: Callable[[], ShoalError] | None = None,
    ) -> None:
        self._line, self._name, self._listener = line, name, listener
        self._process, self._patience, self._post_mortem = process, patience, post_mortem
        self._greeting = greeting
        self._keeps = False
        self._taken = self._told_taken = 0
        self._codec = Codec()
        self._sending = threading.Lock()
        self._alone = Codec()
        """For messages that leave from the submitter's thread; used while ``_sending`` is held."""
        self._outbox: deque[Any] = deque()
        self._orders: deque[Message] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = threading.Lock()
        self._rung = False
        self._tickets: dict[int, _Answer] = {}
        self._next_ticket = 1
        self._closing = False
        self._farewell: Goodbye | None = None
        """What is said at the end, after the tasks that have not left yet."""
        self._ended = False
        self._patient_for = patience
        self._pulse = Pulse(SILENCE) if process < 0 else None
        self._next_beat = 0.0
        self.welcomed = False
        self.lends = False
        """Whether large values may be lent to the pool, and by it."""
        self.number = 0
        """What the pool calls this client, once it has welcomed it."""
        self.told = False
        """Whether the pool has said itself that it ends."""
        self.over: ShoalError | None = None
        self._thread = threading.Thread(target=self._run, name=f"shoal-link-{name}", daemon=True)

    # ------------------------------------------------------------------ called from any thread

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, items: Sequence[Any]) -> None:
        """Leave items for ``listener.task_for``, to be sent soon."""
        self._outbox.extend(items)
        if not self._rung:
            self._ring()

    def put_alone(self, item: Any) -> None:
        """As :meth:`put`, for an item while nothing else is under way: its message leaves from here if it can.

        Waking the link's thread for it would cost more than sending it. Two threads that take the interpreter from each
        other are most of the time that a small task takes otherwise.
        """
        if not self.welcomed or self._outbox or self._orders:
            self.put([item])
            return
        held: list[bool] = []
        sent = True
        try:
            # An interrupt may come after any call. That it is held is noted by the same call of C code that takes it.
            held.extend(map(self._sending.acquire, (False,)))
            if held[0]:
                made = self._listener.task_for(item)
                if made is not None:
                    sent = False
                    sent = self._send_alone(*made)
        finally:
            if held and held[0]:
                self._sending.release()
            if not sent:  # or an interrupt came, and there may be something left over
                self._ring()
        if not held[0]:
            self.put([item])

    def _send_alone(self, task: Task, blobs: list[Blob]) -> bool:
        """Send a task, or leave it for the link's thread; returns whether that thread has nothing to do with it."""
        if not blobs:
            try:
                frames = self._alone.encode(Tasks([task]))
            except _UNSENDABLE:
                frames = []  # it will be found out again, where it is answered
            if len(frames) == 1 and len(frames[0]) < _SMALL and self._line.send_at_once(frames[0]):
                return not self._line.unsettled
        self._outbox.append(_Made(task, blobs))
        return False

    def unsent(self) -> list[Any]:
        """What was put and has not been sent, once the link has ended."""
        return list(self._outbox)

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
        """Send ``farewell`` (default :class:`Goodbye`), then end the thread and the socket.

        Nothing else is sent, unless the pool is to keep what it has of this client: then tasks leave that were put before.

        Returns:
            Whether the pool was told; False if the link had ended before.
        """
        if not self._thread.is_alive():
            return False
        if isinstance(farewell, Goodbye) and farewell.keep:
            self._farewell = farewell
        else:
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
        poll = Poll()
        poll.add_link(self._line, self._drain_line)
        poll.add(self._bell, self._answer_bell)
        if self._process >= 0:
            poll.add(self._process, self._process_ended)
        session, name, resume, probe, claims = self._greeting
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        self._send(Hello(PROTOCOL_VERSION, session, name, python, os.getpid(), resume, probe, claims))
        looked = time.monotonic()
        try:
            while self._stays():
                if self._listener.busy():
                    time.sleep(_LINGER)
                self._rung = False
                poll.once(0 if self._due() else self._timeout())
                self._rung = True
                if self._due():
                    self._drain_outbox()
                if self._ended or self._line.connects > 1:
                    self._drain_line()
                    raise self._loss()
                if self._patient_for > 0:
                    looked = self._lose_patience(looked)
                elif self._pulse is not None:
                    self._feel(self._pulse)
        except ShoalError as error:
            self.over = error
        finally:
            self._end()
            poll.close()

    def _loss(self) -> ShoalError:
        """Why the pool is lost. Of a process that is killed connections are closed a moment before it is gone."""
        if not self._ended and self._process >= 0:
            gone = select.poll()
            gone.register(self._process, select.POLLIN)
            self._ended = bool(gone.poll(_DYING * 1000))
        if not self._ended:
            return PoolLost(self._name, "its connection was cut")
        return self._post_mortem() if self._post_mortem else PoolLost(self._name, "its process ended")

    def _stays(self) -> bool:
        """Whether the link is not closed, or has something to send before it ends."""
        if not self._closing or self._due():
            return True
        if self._farewell is not None and not self._outbox:
            self._orders.append(self._farewell)
            self._farewell = None
        return self._farewell is not None or bool(self._orders)

    def _due(self) -> bool:
        """Whether there is something to send; tasks wait for the welcome, which says how large values may go."""
        return bool(self._orders or (self._outbox and self.welcomed))

    def _timeout(self) -> float | None:
        if self._patient_for > 0:
            return min(_LOOK, self._patient_for)
        return None if self._pulse is None else _BEAT

    def _feel(self, pulse: Pulse) -> None:
        """Ask a pool on another host now and then whether it is there.

        Raises:
            PoolLost: it has not answered for too long.
        """
        now = time.monotonic()
        if pulse.gone(now):
            raise PoolLost(self._name, f"{pulse.reason}: its host or the network between is down")
        if now >= self._next_beat:
            self._next_beat = now + _BEAT
            if pulse.asks():
                self._send(Heartbeat(answer=True))

    def _answer_bell(self) -> None:
        os.eventfd_read(self._bell)
        if self._line.unsettled:
            with self._sending:
                self._line.settle()

    def _process_ended(self) -> None:
        self._ended = True

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
        with self._sending:
            self._line.close(1.0)
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
        while outbox and self.welcomed:
            tasks: list[Task] = []
            size = 0
            while outbox and len(tasks) < _MOST_TASKS and size < _MOST_BYTES:
                item = outbox.popleft()
                made = item if type(item) is _Made else self._listener.task_for(item)
                if made is None:
                    continue
                task, blobs = made
                for blob in blobs:
                    self._send(blob)
                tasks.append(task)
                size += 200 + _weight(task.body)
            if tasks:
                self._send_tasks(tasks)
        while self._orders:
            self._send(self._orders.popleft())

    def _send_tasks(self, tasks: list[Task]) -> None:
        try:
            frames = self._codec.encode(Tasks(tasks))
        except _UNSENDABLE as error:
            if len(tasks) == 1:
                self._listener.unsendable(tasks[0], error)
                return
            for task in tasks:
                self._send_tasks([task])
            return
        with self._sending:
            self._line.send(frames)

    def _send(self, message: Message) -> None:
        frames = self._codec.encode(message)
        with self._sending:
            self._line.send(frames)

    def _drain_line(self) -> None:
        line, codec = self._line, self._codec
        if self._pulse is not None:
            self._pulse.heard()
        while (frames := line.receive()) is not None:
            try:
                message = codec.decode(frames)
            except ProtocolError:
                continue  # nothing that this client asked for: the pool answers what counts
            self._receive(message)
            if self._outbox and len(self._outbox) > _MOST_TASKS:
                self._drain_outbox()
        if self._keeps and self._taken != self._told_taken:
            self._told_taken = self._taken
            self._send(Taken(self._taken))

    def _receive(self, message: Message) -> None:
        listener = self._listener
        if type(message) is Results:
            if self._closing:
                return  # nobody waits for it any more: a pool that keeps the session keeps it, since it was not taken
            listener.results(message)
            self._taken += 1
        elif type(message) is Running:
            listener.running(message)
        elif type(message) is Output:
            listener.output(message)
        elif type(message) is Returned:
            listener.returned(message)
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
            self.welcomed, self.number, self._keeps, self.lends = True, message.peer, message.keeps, message.lend
        elif type(message) is Goodbye:
            raise PoolLost(self._name, "it does not know this client any more, so it was started again")
        elif type(message) is Held:
            listener.held(message)
        elif type(message) is Refused and message.what == "session":
            raise SessionInUse(self._name, message.here)
        elif type(message) is Refused:
            raise VersionMismatch(message.what, message.there, message.here)
        elif type(message) is Shutdown:
            self.told = True
            raise PoolLost(self._name, message.reason or "it was stopped")


def _weight(body: Payload) -> int:
    """Bytes of it that travel in the message, about: what is lent does not."""
    if type(body.head) is bytes and not body.buffers:
        return len(body.head)
    return sum(len(part) for part in (body.head, *body.buffers) if not isinstance(part, Lent))


class _Answer:
    """A place to wait for a status."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.status: PoolStatus | None = None


def _wait(event: threading.Event, timeout: float) -> None:
    """Wait for an event; time in which this process was stopped does not count."""
    while timeout > 0 and not event.wait(min(_LOOK, timeout)):
        timeout -= _LOOK
