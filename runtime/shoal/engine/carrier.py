"""Unfinished tasks: how they enter, and how the machine's commands about them are carried out."""

from __future__ import annotations

import itertools
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from shoal.containers import replace_futures
from shoal.engine.inputs import (
    failed_among,
    foreign_end,
    has_names,
    is_orphan,
    join_failed,
    look_at,
    one_line,
    skipped,
    value_id,
)
from shoal.engine.pressure import Pressure
from shoal.engine.retrying import RetryPolicy
from shoal.engine.tasks import Unfinished
from shoal.errors import NoSession, ShoalError
from shoal.events import CellRef, TaskEnded, TaskLaunched, TaskSubmitted
from shoal.executors.executor import Attempt, Call, Ended, Executor, Prepared
from shoal.futures import DataFuture, Owner, TaskFuture, ValueFuture
from shoal.futures.waking import Bell
from shoal.graph import commands as graph
from shoal.graph.machine import GraphMachine
from shoal.graph.states import TaskState
from shoal.memoizing import Memoizer
from shoal.options import PLAIN, TaskOptions
from shoal.outcome import Failure, Held, Outcome, Packed, Payload, Raised, Woven
from shoal.place import enter_body, forks, parent_task
from shoal.record.log import LogWriter
from shoal.timers import call_later

__all__ = ["Carrier"]

DONE = TaskState.DONE
_MOVING = (TaskState.QUEUED, TaskState.RUNNING, TaskState.DELAYED)


class Carrier(Owner):
    """The unfinished tasks of one session.

    Args:
        log: where facts are written.
        policy: how tasks are retried that do not say themselves.
        limit: the number of unfinished tasks from which on submissions are held.

    Attributes:
        trouble: sentences that executors reported, oldest first.
        internal: the executor of join bodies and lifted items; set by the session.
        memoizer: takes the tasks that are cached; set by the session.
        session: the session itself, for its record, and for what join bodies submit.
    """

    session: Any
    internal: Executor
    memoizer: Memoizer

    def __init__(self, log: LogWriter, policy: RetryPolicy, limit: int) -> None:
        self.trouble: list[str] = []
        self._log = log
        self._policy = policy
        self._retries, self._limit = policy.retries, limit
        self._lock = threading.RLock()
        self._waiting: list[Bell] = []  # for all tasks to be over
        self._machine = GraphMachine()
        self._tasks: dict[int, Unfinished] = {}
        self._next_tid = itertools.count()
        self._stand_ins = 0
        self._closed: ShoalError | None = None
        self._birth = forks()
        self._pressure = Pressure(limit, threading.Condition(self._lock), self.pending, self._moving)

    @abstractmethod
    def attempts_ended(self, ended: Sequence[Ended]) -> None:
        """Take in attempts that are over."""

    def pending(self) -> int:
        """How many tasks have not ended."""
        return len(self._tasks) - self._stand_ins

    def _moving(self) -> bool:
        """Whether any task can end without somebody's doing."""
        state = self._machine.state
        return any(task.executor is not None and state(tid) in _MOVING for tid, task in self._tasks.items())

    # ------------------------------------------------------------------ entering

    def add(
        self,
        call: Call,
        prepared: Prepared,
        executor: Executor,
        options: TaskOptions,
        cell: CellRef | None = None,
        on_output: Callable[[str, str], None] | None = None,
        key: Any = None,
    ) -> TaskFuture[Any]:
        """Enter a task whose call is ready to travel.

        Args:
            call: as the user made it.
            prepared: what the executor made of it.
            executor: where it shall run.
            options: what is asked of it.
            cell: where in a notebook it stands.
            on_output: gets what it prints.
            key: the request for its place in the store of results.

        The caller is held while too many tasks are unfinished, if it may be.

        Raises:
            NoSession: the engine was closed.
        """
        if len(self._tasks) >= self._limit and options.hold and self._closed is None:
            self._pressure.hold()
        with self._lock:
            if self._closed is not None:
                raise NoSession(f"this session has ended ({type(self._closed).__name__}); call shoal.load()")
            inputs = self._adopt(prepared.inputs) if prepared.inputs else ()
            tid = next(self._next_tid)
            future: TaskFuture[Any] = TaskFuture(self, tid, call.label, call.outputs, options.files)
            parent = parent_task()
            entered = False
            try:
                self._tasks[tid] = Unfinished(future, prepared, executor, options, inputs, on_output, key, parent)
                if options is not PLAIN:
                    self._begin(tid, future, prepared, options)
                if parent >= 0:
                    self._note_made(tid, parent)
                waiting, failed = look_at(inputs) if inputs else ((), None)
                self._log.append(
                    TaskSubmitted(
                        time.time(), tid, call.label, executor.label, [value_id(f) for f in inputs] if inputs else (),
                        waiting, call.outputs, prepared.code, prepared.captures, prepared.arguments, call.resources, cell,
                        parent,
                    )
                )  # fmt: skip
                budget = self._retries if options.retries is None else options.retries
                commands = self._machine.handle(graph.TaskSubmitted(tid, waiting, failed, budget))
                if inputs or key is not None:
                    self._carry_out(commands, new=tid)
                    if waiting and not commands and key is None and not options.join:
                        self._send_ahead(self._tasks[tid], tid, waiting)
                else:  # nothing can stand in its way
                    self._pressure.stuck = False
                    executor.launch((Attempt(tid, 1, prepared, ()),))
                entered = True
            finally:
                if not entered:  # Ctrl-C comes at any line
                    self._take_back(tid)
        return future

    def _send_ahead(self, task: Unfinished, tid: int, waiting: Sequence[int]) -> None:
        """Let a task wait where its inputs are made, if all of them are made there."""
        for source in map(self._tasks.get, waiting):
            if source is None or source.executor is not task.executor or source.key is not None or source.options.join:
                return
            if not source.ahead and self._machine.attempt(source.future.tid) != 1:
                return
        task.ahead = task.executor.launch_ahead(Attempt(tid, 1, task.prepared, task.inputs))

    def _begin(self, tid: int, future: TaskFuture[Any], prepared: Any, options: TaskOptions) -> None:
        if options.paths != ("", ""):
            future.prints_to(*options.paths)
        if options.join:
            prepared.context.run(enter_body, self.session, tid)

    def _note_made(self, tid: int, parent: int) -> None:
        join = self._tasks.get(parent)
        if join is not None:
            if join.made is None:
                join.made = []
            join.made.append(tid)

    def _take_back(self, tid: int) -> None:
        """A submission was interrupted: nobody will hold its future, so nobody may wait for it."""
        self.request_cancel(tid)
        task = self._tasks.pop(tid, None)
        if task is not None:  # the machine had not heard of it, or it cannot be stopped: its end will be nobody's
            task.future.settle(None)
            self._machine.handle(graph.CancelRequested(tid))
            self._log.append(TaskEnded(time.time(), tid, "cancelled", "the submission was interrupted"))

    def _adopt(self, inputs: Sequence[Future[Any]]) -> list[ValueFuture[Any]]:
        """Inputs as futures of this session: a foreign one gets a vertex of its own, so that the graph shows it."""
        return [
            future if isinstance(future, ValueFuture) and future.owner is self else self._stand_in(future)
            for future in inputs
        ]

    def hold(self, payload: Payload, label: str) -> TaskFuture[Any]:
        """Enter a value that is there already, as a vertex of its own.

        Args:
            payload: the value.
            label: its name in the graph.

        Raises:
            NoSession: the engine was closed.
        """
        with self._lock:
            if self._closed is not None:
                raise NoSession(f"this session has ended ({type(self._closed).__name__}); call shoal.load()")
            tid = next(self._next_tid)
            future = self._enter_stand_in(tid, label)
            self.attempts_ended([Ended(tid, 1, (Packed(payload),))])
        return future

    def _stand_in(self, foreign: Future[Any]) -> TaskFuture[Any]:
        tid = next(self._next_tid)
        future = self._enter_stand_in(tid, foreign.label if isinstance(foreign, ValueFuture) else "future")
        if foreign.done() or is_orphan(foreign):
            self.attempts_ended([foreign_end(tid, foreign)])
        else:
            foreign.add_done_callback(lambda done: self.attempts_ended([foreign_end(tid, done)]))
        return future

    def _enter_stand_in(self, tid: int, label: str) -> TaskFuture[Any]:
        future: TaskFuture[Any] = TaskFuture(self, tid, label)
        self._tasks[tid] = Unfinished(future, None, None, PLAIN)
        self._stand_ins += 1
        self._log.append(TaskSubmitted(time.time(), tid, label, "", (), (), (), b"", b"", b""))
        self._machine.handle(graph.TaskSubmitted(tid))
        return future

    # ------------------------------------------------------------------ carrying out the machine's commands

    def _carry_out(self, commands: list[graph.Command], ended: Ended | None = None, new: int | None = None) -> None:
        """Carry out commands in order, and those that follow from them; the lock is held.

        Args:
            commands: what the machine ordered.
            ended: the report that they follow from.
            new: the task that was submitted just now, whose launch needs no record of its own.
        """
        tasks = self._tasks
        launches: list[tuple[Executor, Attempt]] = []
        for command in commands:  # grows while it is gone through
            tid = command.tid
            task = tasks.get(tid)
            if task is None:
                continue
            kind = type(command)
            if kind is graph.End:
                del tasks[tid]
                if command.state is DONE and task.joined is None:  # type: ignore[union-attr]
                    self._settle(task, ended.values)  # type: ignore[union-attr]
                else:
                    self._end(command, task)  # type: ignore[arg-type]
            elif kind is graph.Join:
                commands += self._machine.handle(graph.Joined(tid, look_at(task.sources)[1]))
            elif task.executor is None or self._closed is not None:
                continue  # a stand-in for a future of another library; or all executors are about to end
            elif kind is graph.Launch:
                cause = failed_among(task.inputs) if task.inputs else None
                if cause is not None:
                    commands += self._machine.handle(graph.InputFailed(tid, cause))
                    continue
                if tid != new:
                    self._log.append(TaskLaunched(time.time(), tid, command.attempt))  # type: ignore[union-attr]
                self._launch(Attempt(tid, command.attempt, task.prepared, task.inputs), task, launches)  # type: ignore[union-attr]
            elif kind is graph.Delay:
                call_later(command.seconds, self._delay_over, tid, command.attempt)  # type: ignore[union-attr]
            else:
                task.executor.cancel(tid, command.attempt)  # type: ignore[union-attr]
        if launches:
            self._pressure.stuck = False
        if len(launches) == 1:
            launches[0][0].launch([launches[0][1]])
        elif launches:
            for executor in dict.fromkeys(executor for executor, _ in launches):
                executor.launch([attempt for its, attempt in launches if its is executor])
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        """Tasks have ended: tell who waits for that; the lock is held."""
        if len(self._tasks) == self._stand_ins:
            waiting, self._waiting = self._waiting, []
            for bell in waiting:
                bell(None)
        if self._pressure.held:
            self._pressure.let_go()

    def _launch(self, attempt: Attempt, task: Unfinished, launches: list[tuple[Executor, Attempt]]) -> None:
        if task.key is not None and attempt.attempt == 1:
            self.memoizer.launch(task.executor, attempt, task.key)
        else:
            launches.append((task.executor, attempt))

    def launch_missed(self, executor: Executor, attempt: Attempt) -> None:
        """Run an attempt whose result was not in the store. Called by the memoizer."""
        with self._lock:
            if self._closed is None and self._machine.attempt(attempt.tid) == attempt.attempt:
                executor.launch([attempt])

    def _delay_over(self, tid: int, attempt: int) -> None:
        with self._lock:
            self._carry_out(self._machine.handle(graph.DelayOver(tid, attempt)))

    def _end(self, command: graph.End, task: Unfinished) -> None:
        """End a task otherwise than by the values of an attempt."""
        future = task.future
        if task.executor is None:
            self._stand_ins -= 1
        elif task.ahead and command.state is not DONE and self._closed is None:
            task.executor.cancel(command.tid, 1)  # it may wait there still
        outcome: Outcome | None
        if command.state is DONE:
            outcome = _woven(task)
        elif command.state is TaskState.FAILED:
            joining = command.cause is not None
            outcome = join_failed(task.sources, command.cause) if joining else task.failure
            future.tell_story(task.story)
        elif command.state is TaskState.SKIPPED:
            outcome = skipped(task.inputs, command.cause)
        else:
            outcome = None if self._closed is None else Raised(self._closed)
        for output in _outputs(future):
            is_file = command.state is DONE and isinstance(output, DataFuture)
            output.settle(Held(output.file_obj) if is_file else outcome)
        future.settle(outcome)
        self._log.append(TaskEnded(time.time(), command.tid, command.state.name.lower(), one_line(outcome)))
        if task.key is not None:
            made = [outcome] if command.state is DONE else None
            self._answer_twins(command.tid, made or (outcome if isinstance(outcome, Failure | Raised) else None))

    def _settle(self, task: Unfinished, values: Sequence[Any]) -> None:
        """End a task with the values of an attempt."""
        if task.executor is None:
            self._stand_ins -= 1
        future = task.future
        outputs = future.outputs
        if not outputs:
            future.settle(values[0])
        elif isinstance(outputs, list):
            for data in outputs:
                data.settle(Held(data.file_obj))
            future.settle(values[0])
        else:
            for output, value in zip(outputs.values(), values, strict=True):
                output.settle(value)
            future.settle(Held(None))  # its value is the mapping of its outputs
        if task.key is not None:
            self._answer_twins(future.tid, list(values))

    def _answer_twins(self, tid: int, outcome: list[Any] | Failure | Raised | None) -> None:
        """Answer the cached tasks that waited for this one to make their value."""
        twins = self.memoizer.task_ended(tid, None if self._closed is not None else outcome)
        if twins:
            self.attempts_ended(twins)


def _outputs(future: TaskFuture[Any]) -> Sequence[ValueFuture[Any]]:
    outputs = future.outputs
    return outputs if isinstance(outputs, list) else list(outputs.values()) if outputs else ()


def _woven(task: Unfinished) -> Outcome:
    """The value of a join: what its body returned, with values where futures stood."""
    tree, sources = task.joined
    if isinstance(tree, Future):
        source = sources[id(tree)]
        if not has_names(source):
            return source.outcome  # type: ignore[no-any-return]
    return Woven(
        lambda: replace_futures(tree, lambda future: sources[id(future)].result()),
        [source.outcome for source in task.sources],
    )
