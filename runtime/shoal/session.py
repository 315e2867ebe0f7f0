"""The session: the running dataflow engine of one process, and the shell around the graph machine.

A submission becomes a fact for the machine, the machine's commands are carried out here: attempts go to executors, ends
settle futures. What executors report becomes facts again. One lock orders it all; users' code never runs under it.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Self

import msgspec

from shoal.callbacks import call_back, drain
from shoal.errors import NoSession, SessionClosed, ShoalError, UnknownExecutor
from shoal.events import AttemptEnded, AttemptStarted, CellRef, RunEnded, TaskEnded, TaskLaunched, TaskSubmitted
from shoal.executors.executor import Attempt, Call, Ended, Executor
from shoal.futures import TaskFuture, ValueFuture
from shoal.graph import commands as graph
from shoal.graph.machine import GraphMachine
from shoal.graph.states import TaskState
from shoal.outcome import Failure, Held, Outcome, Packed, Raised, Skipped, Value, in_one_line
from shoal.reading import load_value
from shoal.record.log import LogReader, LogWriter
from shoal.record.runs import RunView
from shoal.serialize import FunctionImage, unpack_failure
from shoal.task import Resources, ValueId

__all__ = ["Session", "locate_cells"]

def _nowhere() -> CellRef | None:
    return None


_where: Callable[[], CellRef | None] = _nowhere

_forks = 0
"""How often this process was forked off: a session of the parent's has no threads here."""


def _after_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_after_fork)


def locate_cells(source: Callable[[], CellRef | None]) -> None:
    """Tell sessions how to find the notebook cell that is running, so that each task's record names its cell.

    Args:
        source: called at each submission that does not say its cell; must be quick and must not raise.
    """
    global _where
    _where = source


class _Record(msgspec.Struct, gc=False):
    """What the session keeps of an unfinished task. Nothing but the session refers to it, so it is in no cycle."""

    future: TaskFuture[Any]
    prepared: Any
    executor: Any
    inputs: Sequence[ValueFuture[Any]] = ()
    on_output: Callable[[str, str], None] | None = None
    failure: Failure | Raised | None = None


class Session:
    """A running dataflow engine. Made by :func:`shoal.load`.

    Args:
        executors: built executors, in order; the first is the default among equals.
        run_id: the run's id.
        run_dir: the folder of this run; the event log goes there.
        retries: attempts allowed beyond the first, for tasks that do not say.
        first_event: what the log begins with.

    Attributes:
        executors: by label.
        run_id, run_dir: as given.
        trouble: sentences that executors reported, oldest first.
    """

    def __init__(
        self, executors: Sequence[Executor], run_id: str, run_dir: Path, retries: int, first_event: Any
    ) -> None:
        self.executors: dict[str, Executor] = {executor.label: executor for executor in executors}
        self.run_id, self.run_dir = run_id, run_dir
        self.trouble: list[str] = []
        self._retries = retries
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._machine = GraphMachine()
        self._records: dict[int, _Record] = {}
        self._next_tid = itertools.count()
        self._log = LogWriter(run_dir / "events.log")
        self._log.append(first_event)
        self._view = RunView()
        self._view_lock = threading.Lock()
        self._reader = LogReader(self._log.path)
        self._closed: ShoalError | None = None
        self._birth = _forks
        self._only = executors[0] if len(executors) == 1 else None
        self._start(executors)

    def _start(self, executors: Sequence[Executor]) -> None:
        started: list[Executor] = []
        try:
            for executor in executors:
                executor.start(self, self.run_dir)
                started.append(executor)
        except ShoalError:
            for executor in started:
                executor.close()
            self._log.close()
            raise

    # ------------------------------------------------------------------ submitting

    def submit(  # noqa: PLR0913 - the options of one call, each a keyword of its own
        self,
        function: Callable[..., Any] | FunctionImage,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        label: str | None = None,
        executors: str | Sequence[str] = "all",
        outputs: Sequence[str] = (),
        resources: Resources | None = None,
        retries: int | None = None,
        cell: CellRef | None = None,
        on_output: Callable[[str, str], None] | None = None,
    ) -> TaskFuture[Any]:
        """Make a task of one call.

        Args:
            function: what to run, or its image (which spares looking at it again).
            args: its positional arguments; futures anywhere among them are awaited and replaced by their values.
            kwargs: its keyword arguments, likewise.
            label: the name shown; default: the function's.
            executors: a label, labels to choose from, or ``"all"``.
            outputs: names of several outputs; the function then returns a mapping with these keys.
            resources: what one attempt needs; default: one core.
            retries: attempts beyond the first; default: the session's.
            cell: where in a notebook the call stands.
            on_output: called as ``on_output(stream, text)`` with what the task prints, live, on the callback thread.

        Returns:
            The future, at once.

        Raises:
            NoSession: this session has ended.
            UnknownExecutor: no such label.
            NotPicklable: an argument or captured variable cannot travel; nothing was submitted.
        """
        if self._closed is not None or self._birth != _forks:
            raise self._ended()
        image = function if isinstance(function, FunctionImage) else FunctionImage(function, label)
        name = label or image.label
        executor = self._only if executors == "all" and self._only is not None else self._choose(executors)
        call = Call(
            image.function, image, tuple(args), dict(kwargs) if kwargs else {}, name, tuple(outputs), resources,
            on_output is not None,
        )  # fmt: skip
        prepared = executor.prepare(call)
        with self._lock:
            if self._closed is not None:
                raise self._ended()
            inputs = self._adopt(prepared.inputs) if prepared.inputs else ()
            tid = next(self._next_tid)
            future: TaskFuture[Any] = TaskFuture(self, tid, name, call.outputs)
            self._records[tid] = _Record(future, prepared, executor, inputs, on_output)
            waiting, failed = self._look_at(inputs) if inputs else ((), None)
            self._log.append(
                TaskSubmitted(
                    time.time(),
                    tid,
                    name,
                    executor.label,
                    [ValueId(f.tid, getattr(f, "index", 0)) for f in inputs],
                    list(waiting),
                    call.outputs,
                    prepared.code,
                    prepared.captures,
                    prepared.arguments,
                    resources,
                    cell or _where(),
                )
            )
            budget = self._retries if retries is None else retries
            self._carry_out(self._machine.handle(graph.TaskSubmitted(tid, waiting, failed, budget)), new=tid)
        return future

    def _choose(self, wanted: str | Sequence[str]) -> Executor:
        if wanted == "all":
            candidates = list(self.executors.values())
        else:
            labels = [wanted] if isinstance(wanted, str) else list(wanted)
            unknown = [label for label in labels if label not in self.executors]
            if unknown or not labels:
                raise UnknownExecutor("executors", wanted, f"this session has: {', '.join(self.executors)}")
            candidates = [self.executors[label] for label in labels]
        if len(candidates) == 1:
            return candidates[0]
        return min(candidates, key=lambda e: (e.outstanding() + 1) / max(1, e.slots()))

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
        self._log.append(TaskSubmitted(time.time(), tid, name, "", [], [], (), b"", b"", b""))
        self._machine.handle(graph.TaskSubmitted(tid))
        if foreign.done():
            self.attempts_ended([_foreign_end(tid, foreign)])
        else:
            foreign.add_done_callback(lambda done: self.attempts_ended([_foreign_end(tid, done)]))
        return future

    def _look_at(self, inputs: Sequence[ValueFuture[Any]]) -> tuple[tuple[int, ...], int | None]:
        """The inputs still to wait for, and one that has already ended without a value."""
        waiting: dict[int, None] = {}
        for future in inputs:
            if not future.done():
                waiting[future.tid] = None
            elif not isinstance(future.outcome, Value):
                return (), future.tid
        return tuple(waiting), None

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
            elif record.executor is None:
                continue  # a stand-in for a future of another library
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
        if not records:
            self._idle.notify_all()

    def _end(self, command: graph.End, record: _Record, ended: Ended | None) -> None:
        future = record.future
        if command.state is TaskState.DONE:
            assert ended is not None, "only a report of values ends a task so"
            if future.outputs:
                for output, value in zip(future.outputs.values(), ended.values, strict=True):
                    output.settle(value)
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

    def request_cancel(self, tid: int) -> bool:
        """Cancel a task unless it is running or over; what waits for it is skipped."""
        with self._lock:
            record = self._records.get(tid)
            if record is None:
                return False
            self._carry_out(self._machine.handle(graph.CancelRequested(tid)))
            return record.future.cancelled()

    # ------------------------------------------------------------------ the session as a whole

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed is not None

    def owns_process(self) -> bool:
        """False in a child that was forked from the session's process."""
        return self._birth == _forks

    def pending(self) -> int:
        """How many tasks have not ended."""
        return len(self._records)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no task is unfinished, ``timeout`` seconds at most; returns whether none is."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._records, timeout)

    def view(self) -> RunView:
        """The run as columns, up to date. Read from the log, so it costs nothing while nobody looks."""
        with self._view_lock:
            self._log.flush()
            self._view.apply(self._reader.read())
            return self._view

    def close(self, reason: ShoalError | None = None) -> int:
        """End the session: unfinished futures get ``reason`` (default :class:`SessionClosed`), executors end.

        Returns:
            How many tasks had not ended.
        """
        with self._lock:
            if self._closed is not None:
                return 0
            left = len(self._records)
            self._closed = reason or SessionClosed("the session was closed before this task ended")
            self._carry_out(self._machine.handle(graph.Closed()))
        for executor in self.executors.values():
            executor.close()
        self._log.append(RunEnded(time.time(), type(self._closed).__name__))
        self._log.close()
        drain(1.0)
        return left

    def __enter__(self) -> Self:
        """Use the session for a block of code."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all tasks, then end; after an exception end at once."""
        if kind is None:
            self.wait()
        self.close()

    def __repr__(self) -> str:
        """For people."""
        state = "ended" if self.closed else f"{self.pending()} unfinished tasks"
        return f"<Session {self.run_id}: {', '.join(self.executors)}; {state}>"

    def _ended(self) -> NoSession:
        if not self.owns_process():
            return NoSession("this process was forked from the session's; call shoal.load() here for one of its own")
        return NoSession(f"this session has ended ({type(self._closed).__name__}); call shoal.load()")


def _foreign_end(tid: int, future: Future[Any]) -> Ended:
    """How a future that is not of this session ended, as the end of its stand-in's only attempt."""
    if future.cancelled():
        return Ended(tid, 1, (), Raised(CancelledError("the future was cancelled")), final=True)
    outcome = future.outcome if isinstance(future, ValueFuture) else None
    if isinstance(outcome, Value):
        return Ended(tid, 1, (outcome,))
    error = future.exception()
    if error is not None:
        return Ended(tid, 1, (), Raised(error), final=True)
    return Ended(tid, 1, (Held(future.result()),))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _line(outcome: Outcome) -> str:
    if isinstance(outcome, Skipped):
        return f"input {' <- '.join(outcome.path)} failed: {in_one_line(outcome.root)}"
    return "" if isinstance(outcome, Value) else in_one_line(outcome)
