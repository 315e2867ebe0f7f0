"""The graph machine: which task may run, and how each one ends.

``handle(fact)`` moves tasks along one table and returns the commands that the session must carry out, in order. The
machine knows numbers only. It forgets a task as it ends, so its memory is that of the unfinished tasks; what it is told
about a task that has ended (the late result of a lost attempt, say) it drops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from shoal.errors import InvalidTransition
from shoal.graph.commands import (
    AttemptFailed,
    AttemptJoined,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Closed,
    Command,
    Delay,
    DelayOver,
    Drop,
    End,
    Fact,
    InputFailed,
    Join,
    Joined,
    Launch,
    TaskSubmitted,
)
from shoal.graph.retry import another_attempt
from shoal.graph.states import TaskState

__all__ = ["TABLE", "GraphMachine", "Move"]

WAITING, QUEUED, RUNNING = TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING
DELAYED, JOINING = TaskState.DELAYED, TaskState.JOINING
DONE, FAILED, SKIPPED, CANCELLED = TaskState.DONE, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED


class _Vertex(msgspec.Struct, gc=False):
    """An unfinished task: numbers only, so the garbage collector need not look at it."""

    state: TaskState
    missing: int
    retries: float
    attempt: int = 0
    spent: float = 0.0
    dependents: list[int] | None = None


class GraphMachine:
    """The unfinished part of one session's task graph."""

    def __init__(self) -> None:
        self._vertices: dict[int, _Vertex] = {}
        self._highest = -1

    def __len__(self) -> int:
        """How many tasks are unfinished."""
        return len(self._vertices)

    def state(self, tid: int) -> TaskState | None:
        """Where an unfinished task stands; None once it has ended."""
        vertex = self._vertices.get(tid)
        return None if vertex is None else vertex.state

    def attempt(self, tid: int) -> int:
        """The number of the attempt that is under way; 0 if there is none."""
        vertex = self._vertices.get(tid)
        return vertex.attempt if vertex is not None and vertex.state in (QUEUED, RUNNING) else 0

    def handle(self, fact: Fact) -> list[Command]:
        """Take in one fact; returns the commands that follow from it, in order.

        Raises:
            InvalidTransition: the table has no entry for the fact in the task's state.
        """
        kind = type(fact)
        if kind is TaskSubmitted:
            return self._submit(fact)  # type: ignore[arg-type]
        if kind is Closed:
            return self._close()
        vertex = self._vertices.get(fact.tid)  # type: ignore[union-attr]
        if vertex is None:
            return []  # it has ended: late news is dropped
        move = TABLE.get((vertex.state, kind))
        if move is None:
            raise InvalidTransition("graph", vertex.state.name.lower(), kind.__name__)
        return move.do(self, vertex, fact)

    # ------------------------------------------------------------------ entering and closing

    def _submit(self, fact: TaskSubmitted) -> list[Command]:
        tid = fact.tid
        if tid <= self._highest:
            raise InvalidTransition("graph", f"highest task {self._highest}", f"TaskSubmitted({tid})")
        self._highest = tid
        if fact.failed_input is not None:
            return [End(tid, TaskState.SKIPPED, fact.failed_input)]
        missing = self._depend(tid, fact.inputs) if fact.inputs else 0
        vertex = self._vertices[tid] = _Vertex(WAITING if missing else QUEUED, missing, fact.retries)
        if missing:
            return []
        vertex.attempt = 1
        return [Launch(tid, 1)]

    def _depend(self, tid: int, inputs: tuple[int, ...]) -> int:
        """Note that a task waits for others; returns for how many: those that have ended meanwhile do not count."""
        missing = 0
        for i in inputs:
            source = self._vertices.get(i)
            if source is None:
                continue
            missing += 1
            if source.dependents is None:
                source.dependents = []
            source.dependents.append(tid)
        return missing

    def _close(self) -> list[Command]:
        commands: list[Command] = []
        for tid, vertex in self._vertices.items():
            if vertex.state is QUEUED or vertex.state is RUNNING:
                commands.append(Drop(tid, vertex.attempt))
            commands.append(End(tid, TaskState.CANCELLED))
        self._vertices.clear()
        return commands

    # ------------------------------------------------------------------ moves of the table

    def _start(self, vertex: _Vertex, fact: AttemptStarted) -> list[Command]:
        if fact.attempt == vertex.attempt:
            vertex.state = RUNNING
        return []

    def _succeed(self, vertex: _Vertex, fact: AttemptSucceeded) -> list[Command]:
        """Any attempt's values are as good as another's: the first that arrives ends the task."""
        tid = fact.tid
        latest = fact.attempt == vertex.attempt
        if fact.flawed:
            if not latest or vertex.state is DELAYED:
                return []  # another one that may be without flaws is under way, or about to be
            if another_attempt(vertex.spent + 1.0, vertex.retries, False):
                vertex.spent += 1.0
                return self._again(tid, vertex)
        if latest and vertex.dependents is None:
            del self._vertices[tid]
            return [End(tid, DONE)]
        under_way = not latest and vertex.state is not DELAYED
        commands = self._done(tid, vertex)
        if under_way:
            commands.insert(1, Drop(tid, vertex.attempt))
        return commands

    def _done(self, tid: int, vertex: _Vertex) -> list[Command]:
        """End a task with its value, and let go on what waited for it alone."""
        del self._vertices[tid]
        commands: list[Command] = [End(tid, DONE)]
        for dependent in vertex.dependents or ():
            waiting = self._vertices.get(dependent)
            if waiting is None:
                continue
            waiting.missing -= 1
            if waiting.missing:
                continue
            if waiting.state is JOINING:
                commands.append(Join(dependent))
            else:
                waiting.state, waiting.attempt = QUEUED, 1
                commands.append(Launch(dependent, 1))
        return commands

    def _fail(self, vertex: _Vertex, fact: AttemptFailed) -> list[Command]:
        if fact.attempt != vertex.attempt:
            return []  # an attempt that was given up already
        vertex.spent += fact.cost
        if not another_attempt(vertex.spent, vertex.retries, fact.final):
            return self._end(fact.tid, FAILED)
        if fact.delay > 0:
            vertex.state = DELAYED
            return [Delay(fact.tid, vertex.attempt, fact.delay)]
        return self._again(fact.tid, vertex)

    def _again(self, tid: int, vertex: _Vertex) -> list[Command]:
        vertex.attempt += 1
        vertex.state = QUEUED
        return [Launch(tid, vertex.attempt)]

    def _go_on(self, vertex: _Vertex, fact: DelayOver) -> list[Command]:
        return self._again(fact.tid, vertex) if fact.attempt == vertex.attempt else []

    def _join(self, vertex: _Vertex, fact: AttemptJoined) -> list[Command]:
        if fact.attempt != vertex.attempt:
            return []
        cause = fact.failed_input
        if cause is None:
            cause = self._waits_for(fact.tid, fact.inputs)
        if cause is not None:
            return self._end(fact.tid, FAILED, cause)
        vertex.state = JOINING
        vertex.missing = self._depend(fact.tid, fact.inputs)
        return [] if vertex.missing else [Join(fact.tid)]

    def _waits_for(self, tid: int, inputs: tuple[int, ...]) -> int | None:
        """One of ``inputs`` that is the task itself or waits for it, so that joining it would never end."""
        wanted, seen, stack = set(inputs), {tid}, [tid]
        while stack:
            reached = stack.pop()
            if reached in wanted:
                return reached
            vertex = self._vertices.get(reached)
            for dependent in (vertex.dependents if vertex is not None else None) or ():
                if dependent not in seen:
                    seen.add(dependent)
                    stack.append(dependent)
        return None

    def _joined(self, vertex: _Vertex, fact: Joined) -> list[Command]:
        if fact.cause is not None:
            return self._end(fact.tid, FAILED, fact.cause)
        return self._done(fact.tid, vertex)

    def _miss(self, vertex: _Vertex, fact: InputFailed) -> list[Command]:
        return self._end(fact.tid, SKIPPED, fact.cause)

    def _cancel(self, vertex: _Vertex, fact: CancelRequested) -> list[Command]:
        """A running attempt that cannot be stopped is left alone; the caller sees that no End came."""
        return self._end(fact.tid, CANCELLED) if fact.stopped else []

    def _ignore(self, vertex: _Vertex, fact: Fact) -> list[Command]:
        """Late news of an attempt that is over."""
        return []

    # ------------------------------------------------------------------ ending without a value

    def _end(self, tid: int, state: TaskState, cause: int | None = None) -> list[Command]:
        """End a task without a value, and with it all that wait for it, each naming its own direct input."""
        commands: list[Command] = []
        stack: list[tuple[int, TaskState, int | None]] = [(tid, state, cause)]
        while stack:
            ending, how, why = stack.pop()
            vertex = self._vertices.pop(ending, None)
            if vertex is None:
                continue
            if how is SKIPPED and vertex.state is JOINING:
                how = FAILED  # it has run: what failed is what it joined
            commands.append(End(ending, how, why))
            stack.extend((d, SKIPPED, ending) for d in reversed(vertex.dependents or ()))
        return commands


class Move(NamedTuple):
    """An entry of the table.

    Args:
        do: the method that makes the move.
        to: the states that the task may be in afterwards; the diagram in the docs is drawn from it.
    """

    do: Callable[..., list[Command]]
    to: tuple[TaskState, ...]


TABLE: dict[tuple[TaskState, type], Move] = {
    (WAITING, CancelRequested): Move(GraphMachine._cancel, (CANCELLED, WAITING)),
    (QUEUED, AttemptStarted): Move(GraphMachine._start, (RUNNING, QUEUED)),
    (QUEUED, AttemptSucceeded): Move(GraphMachine._succeed, (DONE, QUEUED)),
    (QUEUED, AttemptFailed): Move(GraphMachine._fail, (QUEUED, DELAYED, FAILED)),
    (QUEUED, AttemptJoined): Move(GraphMachine._join, (JOINING, FAILED, QUEUED)),
    (QUEUED, InputFailed): Move(GraphMachine._miss, (SKIPPED,)),
    (QUEUED, CancelRequested): Move(GraphMachine._cancel, (CANCELLED, QUEUED)),
    (RUNNING, AttemptStarted): Move(GraphMachine._start, (RUNNING,)),
    (RUNNING, AttemptSucceeded): Move(GraphMachine._succeed, (DONE, QUEUED, RUNNING)),
    (RUNNING, AttemptFailed): Move(GraphMachine._fail, (RUNNING, QUEUED, DELAYED, FAILED)),
    (RUNNING, AttemptJoined): Move(GraphMachine._join, (JOINING, FAILED, RUNNING)),
    (RUNNING, CancelRequested): Move(GraphMachine._cancel, (CANCELLED, RUNNING)),
    (DELAYED, DelayOver): Move(GraphMachine._go_on, (QUEUED, DELAYED)),
    (DELAYED, AttemptStarted): Move(GraphMachine._ignore, (DELAYED,)),
    (DELAYED, AttemptSucceeded): Move(GraphMachine._succeed, (DONE, DELAYED)),
    (DELAYED, AttemptFailed): Move(GraphMachine._ignore, (DELAYED,)),
    (DELAYED, AttemptJoined): Move(GraphMachine._ignore, (DELAYED,)),
    (DELAYED, CancelRequested): Move(GraphMachine._cancel, (CANCELLED, DELAYED)),
    (JOINING, Joined): Move(GraphMachine._joined, (DONE, FAILED)),
    (JOINING, AttemptStarted): Move(GraphMachine._ignore, (JOINING,)),
    (JOINING, AttemptSucceeded): Move(GraphMachine._ignore, (JOINING,)),
    (JOINING, AttemptFailed): Move(GraphMachine._ignore, (JOINING,)),
    (JOINING, AttemptJoined): Move(GraphMachine._ignore, (JOINING,)),
    (JOINING, CancelRequested): Move(GraphMachine._cancel, (CANCELLED, JOINING)),
}
"""Every move that a fact about the task itself makes. A missing entry is the error.

What a task undergoes through others is not in it: it is queued when its last input is made, skipped when one fails (a task
that joins it fails), cancelled when the session closes.
"""
