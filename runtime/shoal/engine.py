"""The shell around the graph machine: facts in, commands carried out.

A submission becomes a fact for the machine, the machine's commands are carried out here: attempts go to executors, ends
settle futures. What executors report becomes facts again. One lock orders it all; users' code never runs under it.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import msgspec

from shoal.callbacks import call_back
from shoal.errors import NoSession, SessionClosed, ShoalError
from shoal.events import AttemptEnded, AttemptStarted, CellRef, TaskEnded, TaskLaunched, TaskSubmitted
from shoal.executors.executor import Attempt, Call, Ended, Executor, Prepared
from shoal.futures import OutputFuture, TaskFuture, ValueFuture
from shoal.graph import commands as graph
from shoal.graph.machine import GraphMachine
from shoal.graph.states import TaskState
from shoal.outcome import Failure, Held, Outcome, Packed, Raised, Skipped, Value, in_one_line
from shoal.place import forks
from shoal.reading import load_value
from shoal.record.log import LogWriter
from shoal.serialize import unpack_failure
from shoal.task import WHOLE, ValueId

__all__ = ["Engine"]


class _Record(msgspec.Struct, gc=False):
    """What the session keeps of an unfinished task. Nothing but the session refers to it, so it is in no cycle."""

    future: TaskFuture[Any]
    prepared: Any
    executor: Any
    inputs: Sequence[ValueFuture[Any]] = ()
    on_output: Callable[[str, str], None] | None = None
    failure: Failure | Raised | None = None


class Engine:
    """The unfinished tasks of one session. It is the owner of their futures, and the sink of their executors.

    Args:
        log: where facts are written.

    Attributes:
        trouble: sentences that executors reported, oldest first.
    """

    def __init__(self, log: LogWriter) -> None:
        self.trouble: list[str] = []
        self._log = log
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._machine = GraphMachine()
        self._records: dict[int, _Record] = {}
        self._next_tid = itertools.count()
        self._stand_ins = 0
        self._closed: ShoalError | None = None
        self._birth = forks()

    # ------------------------------------------------------------------ entering

    def add(
        self,
        call: Call,
        prepared: Prepared,
        executor: Executor,
        retries: int,
        cell: CellRef | None,
        on_output: Callable[[str, str], None] | None,
    ) -> TaskFuture[Any]:
        """Enter a task whose call is ready to travel.

        Args:
            call: as the user made it.
            prepared: what the executor made of it.
            executor: where it shall run.
            retries: attempts beyond the first.
            cell: where in a notebook it stands.
            on_output: gets what it prints.

        Raises:
            NoSession: the engine was closed.
        """
        with self._lock:
            if self._closed is not None:
                raise NoSession(f"this session has ended ({type(self._closed).__name__}); call shoal.load()")
            inputs = self._adopt(prepared.inputs) if prepared.inputs else ()
            tid = next(self._next_tid)
            future: TaskFuture[Any] = TaskFuture(self, tid, call.label, call.outputs)
            entered = False
            try:
                self._records[tid] = _Record(future, prepared, executor, inputs, on_output)
                waiting, failed = _look_at(inputs) if inputs else ((), None)
                self._log.append(
                    TaskSubmitted(
                        time.time(), tid, call.label, executor.label, [_value_id(f) for f in inputs], list(waiting),
                        call.outputs, prepared.code, prepared.captures, prepared.arguments, call.resources, cell,
                    )
                )  # fmt: skip
                self._carry_out(self._machine.handle(graph.TaskSubmitted(tid, waiting, failed, retries)), new=tid)
                entered = True
            finally:
                if not entered:  # Ctrl-C comes at any line
                    self._take_back(tid)
        return future

    def _take_back(self, tid: int) -> None:
        """A submission was interrupted: nobody will hold its future, so nobody may wait for it."""
        self._carry_out(self._machine.handle(graph.CancelRequested(tid)))
        record = self._records.pop(tid, None)
        if record is not None:  # the machine had not heard of it
            record.future.settle(None)
            self._log.append(TaskEnded(time.time(), tid, "cancelled", "the submission was interrupted"))

    def _adopt(self, inputs: Sequence[Future[Any]]) -> list[ValueFuture[Any]]:
        """Inputs as futures of this session: a foreign one gets a vertex of its own, so that the graph shows it."""
        return [
            future if isinstance(future, ValueFuture) and future.owner is self else self._stand_in(future)
            for future in inputs
        ]

    def _stand_in(self, foreign: Future[Any]) -> TaskFuture[Any]:
        tid = next(self._next_tid)
        name = foreign.label if isinstance(foreign, ValueFuture) else "future"
        future: TaskFuture[Any] = TaskFuture(self, tid, name)
        self._records[tid] = _Record(future, None, None)
        self._stand_ins += 1
        self._log.append(TaskSubmitted(time.time(), tid, name, "", [], [], (), b"", b"", b""))
        self._machine.handle(graph.TaskSubmitted(tid))
        if foreign.done():
            self.attempts_ended([_foreign_end(tid, foreign)])
        else:
            foreign.add_done_callback(lambda done: self.attempts_ended([_foreign_end(tid, done)]))
        return future

    # ------------------------------------------------------------------ carrying out the machine's commands

    def _carry_out(self, commands: list[graph.Command], ended: Ended | None = None, new: int | None = None) -> None:
        """Carry out commands in order; the lock is held.

        Args:
            commands: what the machine ordered.
            ended: the report that they follow from.
            new: the task that was submitted just now, whose launch needs no record of its own.
        """
        records = self._records
        launches: list[tuple[Executor, Attempt]] = []
        for command in commands:
            tid = command.tid
            record = records.get(tid)
            if record is None:
                continue
            kind = type(command)
            if kind is graph.End:
                del records[tid]
                self._end(command, record, ended)  # type: ignore[arg-type]
            elif record.executor is None or self._closed is not None:
                continue  # a stand-in for a future of another library; or all executors are about to end
            elif kind is graph.Launch:
                number: int = command.attempt  # type: ignore[union-attr]
                launches.append((record.executor, Attempt(tid, number, record.prepared, record.inputs)))
                if tid != new:
                    self._log.append(TaskLaunched(time.time(), tid, number))
            else:
                record.executor.drop(tid, command.attempt)  # type: ignore[union-attr]
        if len(launches) == 1:
            launches[0][0].launch([launches[0][1]])
        elif launches:
            for executor in dict.fromkeys(executor for executor, _ in launches):
                executor.launch([attempt for its, attempt in launches if its is executor])
        if len(records) == self._stand_ins:
            self._idle.notify_all()

    def _end(self, command: graph.End, record: _Record, ended: Ended | None) -> None:
        future = record.future
        if record.executor is None:
            self._stand_ins -= 1
        if command.state is TaskState.DONE:
            assert ended is not None, "only a report of values ends a task so"
            if future.outputs:
                for output, value in zip(future.outputs.values(), ended.values, strict=True):
                    output.settle(value)
                future.settle(Held(None))  # its value is the mapping of its outputs
            else:
                future.settle(ended.values[0])
            return
        outcome: Outcome | None
        if command.state is TaskState.FAILED:
            outcome = record.failure
        elif command.state is TaskState.SKIPPED:
            outcome = self._skipped(record, command.cause)
        else:
            outcome = None if self._closed is None else Raised(self._closed)
        for output in future.outputs.values():
            output.settle(outcome)
        future.settle(outcome)
        line = "" if outcome is None else _line(outcome)
        self._log.append(TaskEnded(time.time(), command.tid, command.state.name.lower(), line))

    def _skipped(self, record: _Record, cause: int | None) -> Skipped:
        source = next(f for f in record.inputs if f.tid == cause)
        outcome = source.outcome
        assert not isinstance(outcome, Value), "a task is skipped for an input without a value"
        if isinstance(outcome, Skipped):
            return Skipped(outcome.root, (source.describe(), *outcome.path))
        if outcome is None:
            outcome = Raised(CancelledError(f"{source.describe()} was cancelled"))
        return Skipped(outcome, (source.describe(),))

    # ------------------------------------------------------------------ what executors tell (Sink)

    def attempts_ended(self, ended: Sequence[Ended]) -> None:
        """Take in attempts that are over."""
        handle, log = self._machine.handle, self._log.append
        with self._lock:
            for end in ended:
                record = self._records.get(end.tid)
                if record is None:
                    continue
                failure = end.failure
                if failure is None:
                    fact: graph.Fact = graph.AttemptSucceeded(end.tid, end.attempt)
                    kind, line = "value", ""
                    size = 0
                    for value in end.values:
                        if type(value) is Packed:
                            size += value.payload.nbytes()
                else:
                    record.failure = failure
                    fact = graph.AttemptFailed(end.tid, end.attempt, end.final)
                    lost = isinstance(failure, Failure) and failure.lost
                    kind, line, size = "lost" if lost else "failure", in_one_line(failure), 0
                log(AttemptEnded(end.tid, end.attempt, kind, end.worker, end.started, end.ended, size, line))
                self._carry_out(handle(fact), end)

    def attempt_started(self, tid: int, attempt: int, worker: str, time: float) -> None:
        """Note that an attempt runs."""
        with self._lock:
            if tid in self._records:
                self._machine.handle(graph.AttemptStarted(tid, attempt))
                self._log.append(AttemptStarted(time, tid, attempt, worker))

    def printed(self, tid: int, attempt: int, stream: str, text: str) -> None:
        """Pass on what a task printed."""
        record = self._records.get(tid)
        if record is not None and record.on_output is not None:
            call_back(record.on_output, stream, text)

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
        """Cancel a task unless it is running or over; what waits for it is skipped."""
        if self._birth != forks():
            return False
        with self._lock:
            record = self._records.get(tid)
            if record is None:
                return False
            self._carry_out(self._machine.handle(graph.CancelRequested(tid)))
            return record.future.cancelled()

    # ------------------------------------------------------------------ the whole

    @property
    def closed(self) -> ShoalError | None:
        """Why it takes no more tasks; None while it does."""
        return self._closed

    def pending(self) -> int:
        """How many tasks have not ended."""
        return len(self._records) - self._stand_ins

    def wait(self, timeout: float | None) -> bool:
        """Wait until no task is unfinished, ``timeout`` seconds at most; returns whether none is."""
        self.check_process()
        with self._idle:
            return self._idle.wait_for(lambda: len(self._records) == self._stand_ins, timeout)

    def close(self, reason: ShoalError | None) -> int | None:
        """Take no more tasks; unfinished futures get ``reason``. Returns how many; None if it was closed already."""
        with self._lock:
            if self._closed is not None:
                return None
            left = self.pending()
            self._closed = reason or SessionClosed("the session was closed before this task ended")
            self._carry_out(self._machine.handle(graph.Closed()))
            return left


def _look_at(inputs: Sequence[ValueFuture[Any]]) -> tuple[tuple[int, ...], int | None]:
    """The inputs still to wait for, and one that has already ended without a value."""
    waiting: dict[int, None] = {}
    for future in inputs:
        if not future.done():
            waiting[future.tid] = None
        elif not isinstance(future.outcome, Value):
            return (), future.tid
    return tuple(waiting), None


def _value_id(future: ValueFuture[Any]) -> ValueId:
    if isinstance(future, OutputFuture):
        return ValueId(future.tid, future.index)
    return ValueId(future.tid, WHOLE if isinstance(future, TaskFuture) and future.outputs else 0)


def _foreign_end(tid: int, future: Future[Any]) -> Ended:
    """How a future that is not of this session ended, as the end of its stand-in's only attempt."""
    if future.cancelled():
        return Ended(tid, 1, (), Raised(CancelledError("the future was cancelled")), final=True)
    outcome = future.outcome if isinstance(future, ValueFuture) else None
    if isinstance(outcome, Packed):
        return Ended(tid, 1, (outcome,))
    error = future.exception()
    if error is None:
        try:
            return Ended(tid, 1, (Held(future.result()),))
        except ShoalError as unreadable:
            error = unreadable
    return Ended(tid, 1, (), Raised(error), final=True)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _line(outcome: Outcome) -> str:
    if isinstance(outcome, Skipped):
        return f"input {' <- '.join(outcome.path)} failed: {in_one_line(outcome.root)}"
    return "" if isinstance(outcome, Value) else in_one_line(outcome)
