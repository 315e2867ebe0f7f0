"""Claiming what a lasting pool keeps of a session whose client is gone: from a new process, after a restart of a kernel, say."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from shoal.errors import PoolUnreachable, ShoalError
from shoal.executors.client import ClientLink
from shoal.executors.embedded import pidfd_of, who
from shoal.executors.executor import Ended
from shoal.executors.listening import Greeting
from shoal.links import dial
from shoal.outcome import Failure, Packed
from shoal.pool.connection import Connection, read_connection
from shoal.reading import load_value
from shoal.serialize import unpack_failure
from shoal.wire.messages import Blob, Goodbye, Held, HeldTask, Output, Results, Returned, Running, Task, Trouble

__all__ = ["Claims"]


class Claims:
    """A session of a lasting pool, taken over by this process.

    Its results come here from now on; what has arrived the pool does not keep any more. Tasks that wait go on.

    Args:
        pool: the pool's name, or its connection.
        session: the session's id.
        timeout: seconds that the pool may take to answer.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it does not answer.
        SessionInUse: the session's own client is connected.
    """

    def __init__(self, pool: str | Connection, session: str, timeout: float = 10.0) -> None:
        connection = read_connection(pool) if isinstance(pool, str) else pool
        self.session = session
        self.tasks: dict[int, HeldTask] = {}
        """What the pool had when the session was claimed, by the tasks' numbers: one attempt of each."""
        self._held = threading.Event()
        self._error: ShoalError | None = None
        self._early: dict[tuple[int, int], Ended] = {}
        self._waiting: dict[tuple[int, int], Future[Ended]] = {}
        self._link = ClientLink(
            dial(connection.clients),
            connection.name,
            Greeting(session, who(), True),
            self,
            process=pidfd_of(connection),
            patience=timeout,
        )
        self._link.start()
        in_time = self._held.wait(timeout)
        if self._error is not None:
            raise self._error
        if not in_time:
            self.close()
            raise PoolUnreachable(connection.name, timeout)

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def future(self, tid: int) -> Future[Ended]:
        """How a task ended, once it has; its values are as they came.

        Args:
            tid: the task's number in its session.

        Raises:
            KeyError: the pool has no such task.
        """
        task = self.tasks[tid]
        return self._waiting[tid, task.attempt]

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
        self._link.close(Goodbye(keep))

    # ------------------------------------------------------------------ Listener, on the link's thread

    def held(self, message: Held) -> None:
        """What there is."""
        for task in message.tasks:
            known = self.tasks.get(task.tid)
            if known is None or known.attempt < task.attempt:
                self.tasks[task.tid] = task
        for task in self.tasks.values():
            future = self._waiting[task.tid, task.attempt] = Future()
            early = self._early.get((task.tid, task.attempt))
            if early is not None:
                future.set_result(early)
        self._early.clear()
        self._held.set()

    def results(self, message: Results) -> None:
        """Attempts ended; before the pool has said what there is: those of earlier."""
        for r in message.results:
            values: list[Packed | Failure] = [Packed(payload) for payload in r.values]
            for index, flaw in r.flaws:
                values[index] = flaw
            ended = Ended(r.tid, r.attempt, values, r.failure, r.worker, r.started, r.ended)
            future = self._waiting.get((r.tid, r.attempt))
            if future is None:
                self._early[r.tid, r.attempt] = ended
            elif not future.done():
                future.set_result(ended)

    def lost(self, error: ShoalError) -> None:
        """The pool is gone, or does not let this process have the session."""
        self._error = error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._held.set()

    def task_for(self, item: Any) -> tuple[Task, list[Blob]] | None:
        """Nothing is submitted here."""
        return None

    def unsendable(self, task: Task, error: Exception) -> None:
        """Nothing is submitted here."""

    def busy(self) -> bool:
        """Never."""
        return False

    def running(self, message: Running) -> None:
        """That is not asked for."""

    def output(self, message: Output) -> None:
        """Nobody is there to read it."""

    def trouble(self, message: Trouble) -> None:
        """The pool's log has it."""

    def returned(self, message: Returned) -> None:
        """Nothing was sent from here."""

    def blobs(self, digests: list[bytes]) -> list[Blob]:
        """They were the lost process's."""
        return []
