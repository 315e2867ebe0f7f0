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
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Closed,
    Command,
    Drop,
    End,
    Fact,
    Launch,
    TaskSubmitted,
)
from shoal.graph.retry import another_attempt
from shoal.graph.states import TaskState

__all__ = ["TABLE", "GraphMachine", "Move"]

WAITING, QUEUED, RUNNING = TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING
DONE, FAILED, CANCELLED = TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED


class _Vertex(msgspec.Struct, gc=False):
    """An unfinished task: numbers only, so the garbage collector need not look at it."""

    state: TaskState
    missing: int
    retries: int
    attempt: int = 0
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
        # an input that ended while the submission was under way is no longer waited for
        inputs = tuple(i for i in fact.inputs if i in self._vertices) if fact.inputs else ()
        vertex = self._vertices[tid] = _Vertex(WAITING if inputs else QUEUED, len(inputs), fact.retries)
        for i in inputs:
            source = self._vertices[i]
            if source.dependents is None:
                source.dependents = []
            source.dependents.append(tid)
        if inputs:
            return []
        vertex.attempt = 1
        return [Launch(tid, 1)]

    def _close(self) -> list[Command]:
        commands: list[Command] = []
        for tid, vertex in self._vertices.items():
            if vertex.state is not WAITING:
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
        del self._vertices[tid]
        if fact.attempt == vertex.attempt and vertex.dependents is None:
            return [End(tid, TaskState.DONE)]
        commands: list[Command] = [End(tid, TaskState.DONE)]
        if fact.attempt != vertex.attempt:
            commands.append(Drop(tid, vertex.attempt))
        for dependent in vertex.dependents or ():
            waiting = self._vertices.get(dependent)
            if waiting is None:
                continue
            waiting.missing -= 1
            if not waiting.missing:
                waiting.state, waiting.attempt = QUEUED, 1
                commands.append(Launch(dependent, 1))
        return commands

    def _fail(self, vertex: _Vertex, fact: AttemptFailed) -> list[Command]:
        if fact.attempt != vertex.attempt:
            return []  # an attempt that was given up already
        if another_attempt(vertex.attempt, vertex.retries, fact.final):
            vertex.attempt += 1
            vertex.state = QUEUED
            return [Launch(fact.tid, vertex.attempt)]
        return self._end(fact.tid, TaskState.FAILED)

    def _cancel(self, vertex: _Vertex, fact: CancelRequested) -> list[Command]:
        drop: list[Command] = [] if vertex.state is WAITING else [Drop(fact.tid, vertex.attempt)]
        return drop + self._end(fact.tid, TaskState.CANCELLED)

    def _refuse(self, vertex: _Vertex, fact: CancelRequested) -> list[Command]:
        """A running attempt is left alone; the caller sees that no End came."""
        return []

    # ------------------------------------------------------------------ ending without a value

    def _end(self, tid: int, state: TaskState) -> list[Command]:
        """End a task without a value, and with it all that wait for it, each naming its own direct input."""
        commands: list[Command] = []
        stack: list[tuple[int, TaskState, int | None]] = [(tid, state, None)]
        while stack:
            ending, how, cause = stack.pop()
            vertex = self._vertices.pop(ending, None)
            if vertex is None:
                continue
            commands.append(End(ending, how, cause))
            stack.extend((d, TaskState.SKIPPED, ending) for d in reversed(vertex.dependents or ()))
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
    (WAITING, CancelRequested): Move(GraphMachine._cancel, (CANCELLED,)),
    (QUEUED, AttemptStarted): Move(GraphMachine._start, (RUNNING, QUEUED)),
    (QUEUED, AttemptSucceeded): Move(GraphMachine._succeed, (DONE,)),
    (QUEUED, AttemptFailed): Move(GraphMachine._fail, (QUEUED, FAILED)),
    (QUEUED, CancelRequested): Move(GraphMachine._cancel, (CANCELLED,)),
    (RUNNING, AttemptStarted): Move(GraphMachine._start, (RUNNING,)),
    (RUNNING, AttemptSucceeded): Move(GraphMachine._succeed, (DONE,)),
    (RUNNING, AttemptFailed): Move(GraphMachine._fail, (RUNNING, QUEUED, FAILED)),
    (RUNNING, CancelRequested): Move(GraphMachine._refuse, (RUNNING,)),
}
"""Every move that a fact about the task itself makes. A missing entry is the error.

What a task undergoes through others is not in it: it is queued when its last input is made, skipped when one fails,
cancelled when the session closes.
"""
