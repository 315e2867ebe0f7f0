"""Claiming what a lasting pool keeps of a session whose client is gone: from a new process, after a restart of a kernel, say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from shoal.callbacks import call_back
from shoal.errors import PoolLost, PoolUnreachable, SessionClosed, ShoalError
from shoal.executors.client import ClientLink
from shoal.executors.earlier import News
from shoal.executors.embedded import pidfd_of, who
from shoal.executors.executor import Ended
from shoal.executors.listening import Greeting
from shoal.executors.returning import wait_for_return
from shoal.links import dial
from shoal.outcome import Failure, Packed
from shoal.pool.connection import Connection, is_supervised, read_connection
from shoal.reading import load_value
from shoal.serialize import unpack_failure
from shoal.wire.messages import Blob, Cancel, Goodbye, Held, HeldTask, Output, Results, Returned, Running, Task, Trouble

__all__ = ["Claims"]


class Claims:
    """A session of a lasting pool, taken over by this process.

    Its results come here from now on; what has arrived the pool does not keep any more. Tasks that wait go on. If the pool's
    process is killed and comes back, so do the claims.

    Args:
        pool: the pool's name, or its connection.
        session: the session's id.
        timeout: seconds that the pool may take to answer.
        on_output: called as ``on_output(tid, stream, text)`` with what tasks print and have printed meanwhile, on the callback
            thread.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it does not answer.
        SessionInUse: the session's own client is connected.
    """

    def __init__(
        self,
        pool: str | Connection,
        session: str,
        timeout: float = 10.0,
        on_output: Callable[[int, str, str], None] | None = None,
    ) -> None:
        self._connection = read_connection(pool) if isinstance(pool, str) else pool
        self.session = session
        self.tasks: dict[int, HeldTask] = {}
        """What the pool had when the session was claimed, by the tasks' numbers: the last attempt of each."""
        self._timeout, self._on_output = timeout, on_output
        self._held = threading.Event()
        self._error: ShoalError | None = None
        self._news: dict[tuple[int, int], News] = {}
        self._unwanted: set[tuple[int, int]] = set()
        self._turn = threading.Lock()
        """Held while another link takes the place of one that is lost."""
        self._closed = False
        self._link = self._dial()
        self._link.start()
        in_time = self._held.wait(timeout)
        if self._error is not None:
            raise self._error
        if not in_time:
            self.close()
            raise PoolUnreachable(self._connection.name, timeout)

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def future(self, tid: int) -> News:
        """How a task ends, once it has; its values are as they came. It also tells that the task runs, and what it prints.

        It fails with PoolLost if the pool is lost, with SessionClosed if the claims are closed before.

        Args:
            tid: the task's number in its session.

        Raises:
            KeyError: the pool has no such task.
        """
        return self._news[tid, self.tasks[tid].attempt]

    def state(self, tid: int) -> str:
        """Where a task stands now: ``waiting``, ``sent`` (to a manager; it may be running), ``running`` or ``done``.

        Args:
            tid: the task's number in its session.

        Raises:
            KeyError: the pool has no such task.
        """
        news = self.future(tid)
        if news.done():
            return "done"
        return "running" if news.begun else self.tasks[tid].state

    def printed(self, tid: int) -> dict[str, str]:
        """What a task has printed, by stream: what the pool has kept while nobody was there, and what came since.

        Args:
            tid: the task's number in its session.

        Raises:
            KeyError: the pool has no such task.
        """
        news = self.future(tid)
        return {stream: news.text(stream) for stream in ("stdout", "stderr")}

    def cancel(self, tid: int) -> bool:
        """Ask the pool to end a task; one that runs is interrupted. Returns at once.

        Args:
            tid: the task's number in its session.

        Returns:
            False if it is over; else its end comes, as a failure.

        Raises:
            KeyError: the pool has no such task.
        """
        if self.future(tid).done():
            return False
        key = (tid, self.tasks[tid].attempt)
        self._unwanted.add(key)  # in case that the pool is away just now
        self._link.order(Cancel([(0, *key)]))
        return True

    def result(self, tid: int, timeout: float | None = None) -> Any:
        """The value of a task, or a list of them if it has several outputs.

        Args:
            tid: the task's number in its session.
            timeout: seconds to wait; None for as long as it takes.

        Raises:
            KeyError: the pool has no such task.
            TimeoutError: it has not ended in time.
            BaseException: what the task raised; PoolLost if the pool is gone.
        """
        ended = self.future(tid).result(timeout)
        failure = next((f for f in (ended.failure, *ended.values) if isinstance(f, Failure)), None)
        if failure is not None:
            raise unpack_failure(failure)
        what = f"task {tid} ({self.tasks[tid].label})"
        values = [load_value(value.payload, what) for value in ended.values if isinstance(value, Packed)]
        return values[0] if len(values) == 1 else values

    def close(self, keep: bool = True) -> None:
        """Leave the session.

        Args:
            keep: whether it can be claimed again: what has not ended goes on. Else it ends.
        """
        with self._turn:
            self._closed = True
            link = self._link
        link.close(Goodbye(keep))
        self._answer(SessionClosed(f"the claims of session {self.session} were closed before this task ended"))

    def _dial(self) -> ClientLink:
        return ClientLink(
            dial(self._connection.clients),
            self._connection.name,
            Greeting(self.session, who(), True, claims=True),
            self,
            process=pidfd_of(self._connection),
            patience=self._timeout,
        )

    def _answer(self, error: ShoalError) -> None:
        """Nothing more will come."""
        for news in list(self._news.values()):
            news.end(error)

    def _of(self, tid: int, attempt: int) -> News:
        news = self._news.get((tid, attempt))
        if news is None:
            news = self._news[tid, attempt] = News()
        return news

    # ------------------------------------------------------------------ Listener, on the link's thread

    def held(self, message: Held) -> None:
        """What there is. Not for the first time, if the pool was away."""
        there = {(task.tid, task.attempt): task for task in message.tasks}
        if not self._held.is_set():
            for task in message.tasks:
                known = self.tasks.get(task.tid)
                if known is None or known.attempt < task.attempt:
                    self.tasks[task.tid] = task
            for task in self.tasks.values():
                self._of(task.tid, task.attempt)
            self._held.set()
            return
        for (tid, attempt), news in list(self._news.items()):
            if (tid, attempt) not in there:
                news.end(PoolLost(self._connection.name, "it was started again, and has lost this task"))
        if self._unwanted:
            self._link.order(Cancel([(0, *key) for key in self._unwanted]))

    def results(self, message: Results) -> None:
        """Attempts ended; before the pool has said what there is: those of earlier."""
        for r in message.results:
            values: list[Packed | Failure] = [Packed(payload) for payload in r.values]
            for index, flaw in r.flaws:
                values[index] = flaw
            ended = Ended(r.tid, r.attempt, values, r.failure, r.worker, r.started, r.ended)
            self._of(r.tid, r.attempt).end(ended)

    def lost(self, error: ShoalError) -> None:
        """The pool is gone, and may come back; or it does not let this process have the session."""
        back = None
        if (
            self._held.is_set()
            and isinstance(error, PoolLost)
            and not self._link.told
            and is_supervised(self._connection)
        ):
            back = wait_for_return(self._connection, lambda: self._closed)
        with self._turn:
            if back is not None and not self._closed:
                self._connection = back
                self._link = self._dial()
                self._link.start()
                return
        self._error = error
        self._answer(error)
        self._held.set()

    def running(self, message: Running) -> None:
        """Attempts run."""
        for a in message.attempts:
            self._of(a.tid, a.attempt).tell_started(a.worker, a.started)

    def output(self, message: Output) -> None:
        """A task printed."""
        self._of(message.tid, message.attempt).tell_printed(message.stream, message.text)
        if self._on_output is not None:
            call_back(self._on_output, message.tid, message.stream, message.text)

    def task_for(self, item: Any) -> tuple[Task, list[Blob]] | None:
        """Nothing is submitted here."""
        return None

    def unsendable(self, task: Task, error: Exception) -> None:
        """Nothing is submitted here."""

    def busy(self) -> bool:
        """Never."""
        return False

    def trouble(self, message: Trouble) -> None:
        """The pool's log has it."""

    def returned(self, message: Returned) -> None:
        """Nothing was sent from here."""

    def blobs(self, digests: list[bytes]) -> list[Blob]:
        """They were the lost process's."""
        return []
