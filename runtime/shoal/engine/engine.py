"""The shell around the graph machine: facts in, commands carried out.

A submission becomes a fact for the machine; its commands are carried out: attempts go to executors, ends settle futures. What
executors report becomes facts again. One lock orders it all; users' code never runs under it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from shoal.callbacks import call_back
from shoal.containers import find_futures
from shoal.engine.carrier import Carrier
from shoal.engine.inputs import look_at
from shoal.engine.lifting import lifted
from shoal.engine.tasks import Unfinished
from shoal.errors import NoSession, SessionClosed, SessionError, ShoalError
from shoal.events import AttemptEnded, AttemptStarted, CellRef, TaskPrinted
from shoal.executors.earlier import EarlierTask
from shoal.executors.executor import Ended
from shoal.futures import TaskFuture, ValueFuture
from shoal.futures.stopping import cancel_all, interrupts
from shoal.futures.waking import Bell
from shoal.graph import commands as graph
from shoal.memoizing import WORKER as MEMO
from shoal.options import PLAIN, TaskOptions
from shoal.outcome import Failure, Held, Packed, Raised, in_one_line
from shoal.place import forks, task_owner
from shoal.reading import load_value
from shoal.serialize import unpack_failure

__all__ = ["Engine"]


class Engine(Carrier):
    """The unfinished tasks of one session. It is the owner of their futures, and the sink of their executors."""

    # ------------------------------------------------------------------ what executors tell (Sink)

    def attempts_ended(self, ended: Sequence[Ended]) -> None:
        """Take in attempts that are over."""
        self.memoizer.take_in(ended)
        handle, log = self._machine.handle, self._log.append
        settled = False
        with self._lock:
            for end in ended:
                task = self._tasks.get(end.tid)
                if task is None:
                    continue
                failure = end.failure
                if failure is not None:
                    self._attempt_failed(end, task, failure)
                    continue
                values = end.values
                if task.options is PLAIN and len(values) == 1 and type(values[0]) is Packed:
                    # Nearly all are like this; most have nobody waiting for them.
                    size = values[0].payload.nbytes()
                    log(AttemptEnded(end.tid, end.attempt, "value", end.worker, end.started, end.ended, size))
                    commands = handle(graph.AttemptSucceeded(end.tid, end.attempt, False))
                    if len(commands) == 1:
                        del self._tasks[end.tid]
                        self._settle(task, values)
                        settled = True
                    else:
                        self._carry_out(commands, end)
                    continue
                size, flawed = 0, False
                for value in end.values:
                    if type(value) is Packed:
                        size += value.payload.nbytes()
                    elif type(value) is not Held:
                        flawed = True
                fact: graph.Fact | None = None
                kind = "value"
                if task.options is not PLAIN:
                    if end.worker == MEMO:
                        kind = "memo"
                    elif task.options.join and (fact := self._returned(end, task)) is not None:
                        kind = "joined"
                if fact is None:
                    fact = graph.AttemptSucceeded(end.tid, end.attempt, flawed)
                log(AttemptEnded(end.tid, end.attempt, kind, end.worker, end.started, end.ended, size))
                self._carry_out(handle(fact), end)
            if settled:
                self._tell_waiters()

    def _returned(self, end: Ended, task: Unfinished) -> graph.AttemptJoined | None:
        """The futures that the body of a join app returned, to wait for; None if it returned a plain value."""
        value = end.values[0]
        found = find_futures(value.object) if isinstance(value, Held) else []
        if not found:
            return None
        sources = self._adopt(found)
        if self._machine.attempt(end.tid) == end.attempt:
            task.sources = sources
            task.joined = (value.object, {id(future): source for future, source in zip(found, sources, strict=True)})  # type: ignore[union-attr]
        waiting, failed = look_at(sources)
        return graph.AttemptJoined(end.tid, end.attempt, waiting, failed)

    def _attempt_failed(self, end: Ended, task: Unfinished, failure: Failure | Raised) -> None:
        lost = isinstance(failure, Failure) and failure.lost
        kind, line = "lost" if lost else "failure", in_one_line(failure)
        self._log.append(AttemptEnded(end.tid, end.attempt, kind, end.worker, end.started, end.ended, 0, line))
        if self._machine.attempt(end.tid) == end.attempt:
            if task.failure is not None:
                task.story = (*task.story, f"attempt {end.attempt - 1} failed: {in_one_line(task.failure)}")
            task.failure = failure
            if self._policy.handler is not None and not end.final and self._policy.budget(task.options) > 0:
                call_back(self._judge, end.tid, end.attempt, failure)
                return
        self._fail(end.tid, end.attempt, task, 1.0, end.final)

    def _judge(self, tid: int, attempt: int, failure: Failure | Raised) -> None:
        """Ask the user's handler what a failure costs; on the callback thread."""
        cost = math.inf
        try:
            error = failure.error if isinstance(failure, Raised) else self.load_failure(failure)
            cost = self._policy.cost(error, self.record_of(tid))
        finally:  # whatever comes between, the task is answered
            with self._lock:
                task = self._tasks.get(tid)
                if task is not None:
                    self._fail(tid, attempt, task, cost, False)

    def _fail(self, tid: int, attempt: int, task: Unfinished, cost: float, final: bool) -> None:
        delay = self._policy.delay(task.options, attempt)
        self._carry_out(self._machine.handle(graph.AttemptFailed(tid, attempt, final, cost, delay)))

    def attempt_started(self, tid: int, attempt: int, worker: str, time: float) -> None:
        """Note that an attempt runs."""
        with self._lock:
            if tid in self._tasks:
                self._machine.handle(graph.AttemptStarted(tid, attempt))
                self._log.append(AttemptStarted(time, tid, attempt, worker))

    def printed(self, tid: int, attempt: int, stream: str, text: str) -> None:
        """Keep what a task printed, and pass it on."""
        with self._lock:
            task = self._tasks.get(tid)
            if task is None:
                return
            task.future.heard(attempt, stream, text)
            self._log.append(TaskPrinted(tid, attempt, stream, text))
        if task.on_output is not None:
            call_back(task.on_output, stream, text)

    def reported(self, label: str, text: str) -> None:
        """Keep what an executor says for people, and show it once."""
        if text not in self.trouble:
            self.trouble.append(text)
            call_back(_say, f"Shoal: executor '{label}': {text}")

    # ------------------------------------------------------------------ what futures ask (Owner)

    def load_value(self, value: Packed, task: str) -> Any:
        """Unpickle a value, in the thread that asks for it.

        Raises:
            ResultUnreadable: it cannot be unpickled here.
        """
        return load_value(value.payload, task)

    def load_failure(self, failure: Failure) -> BaseException:
        """The exception that a failure describes."""
        error: BaseException = unpack_failure(failure)
        return error

    def state_of(self, tid: int) -> str | None:
        """The name of an unfinished task's state; None once it is over."""
        state = self._machine.state(tid)
        return None if state is None else state.name.lower()

    @property
    def open_here(self) -> bool:
        """Whether it takes tasks, in this process."""
        return self._closed is None and self._birth == forks()

    def same_process(self) -> bool:
        """False in a child that was forked from the engine's process."""
        return self._birth == forks()

    def check_process(self) -> None:
        """Refuse to be used where none of its threads run.

        Raises:
            NoSession: this process was forked from the session's.
        """
        if self._birth != forks():
            raise NoSession("this process was forked from the session's; call shoal.load() here for one of its own")

    def request_cancel(self, tid: int) -> bool:
        """Cancel a task; what waits for it is skipped. False if it is over, or runs where it cannot be stopped."""
        if self._birth != forks():
            return False
        with self._lock:
            task = self._tasks.get(tid)
            if task is None:
                return False
            self._cancel(tid, task)
            made = [*(task.made or ())] if task.future.cancelled() else []
            for child in made:  # grows while it is gone through: what bodies made is wanted by nobody else
                its = self._tasks.get(child)
                if its is not None:
                    self._cancel(child, its)
                    made += its.made or ()
            return task.future.cancelled()

    def _cancel(self, tid: int, task: Unfinished) -> None:
        """Cancel a task, unless it runs where it cannot be stopped."""
        attempt = self._machine.attempt(tid)
        stopped = True
        if attempt and task.executor is not None:
            stopped = task.executor.cancel(tid, attempt)
            if task.key is not None:
                self.memoizer.forget(tid)
        self._carry_out(self._machine.handle(graph.CancelRequested(tid, stopped)))

    def record_of(self, tid: int) -> Any:
        """What the run's record knows of a task."""
        return self.session.view().record(tid)

    def lift(self, future: ValueFuture[Any], operation: str, key: Any) -> TaskFuture[Any]:
        """A task that takes an item or an attribute of a value, on a thread of the session."""
        self.check_process()
        call = lifted(future, operation, key)
        return self.add(call, self.internal.prepare(call), self.internal, PLAIN)

    def take_over(
        self,
        label: str,
        ended: Future[Ended],
        outputs: tuple[str, ...],
        cell: CellRef | None,
        on_output: Callable[[str, str], None] | None,
        cancel: Callable[[], bool] | None,
        executor: str,
    ) -> TaskFuture[Any]:
        """Enter a task of an earlier session; see :meth:`shoal.session.Session.take_over`."""
        self.check_process()
        stand_in = EarlierTask(executor, ended, outputs, cancel, self)
        call = stand_in.call(label)
        options = TaskOptions(outputs=outputs, retries=0, hold=False)
        try:
            return self.add(call, stand_in.prepare(call), stand_in, options, cell, on_output)
        finally:
            stand_in.begin()  # also when Ctrl-C comes: it has been taken back, or it will be answered

    # ------------------------------------------------------------------ the whole

    @property
    def closed(self) -> ShoalError | None:
        """Why it takes no more tasks; None while it does."""
        return self._closed

    def wait(self, timeout: float | None) -> bool:
        """Wait until no task is unfinished, ``timeout`` seconds at most; returns whether none is.

        Raises:
            SessionError: whoever calls is itself one of the tasks.
        """
        self.check_process()
        if task_owner() is self:
            raise SessionError(
                "a task cannot wait for all tasks of its session, for it is one; wait for some, with shoal.wait"
            )
        bell = Bell()  # Ctrl-C could leave the lock of a Condition taken
        with self._lock:
            if not self.pending():
                return True
            self._waiting.append(bell)
        try:
            return bell.wait(timeout)
        except KeyboardInterrupt as error:
            with self._lock:
                left = [task.future for task in self._tasks.values() if task.executor is not None]
            interrupts().stopped(error, lambda: cancel_all(left), "all tasks")
            raise
        finally:
            with self._lock, suppress(ValueError):
                self._waiting.remove(bell)

    def close(self, reason: ShoalError | None) -> int | None:
        """Take no more tasks; unfinished futures get ``reason``. Returns how many; None if it was closed already."""
        with self._lock:
            if self._closed is not None:
                return None
            left = self.pending()
            self._closed = reason or SessionClosed("the session was closed before this task ended")
            self._carry_out(self._machine.handle(graph.Closed()))
            return left


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
