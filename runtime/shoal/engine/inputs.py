"""Looking at the futures that a task takes or joins."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from shoal.errors import ShoalError
from shoal.executors.executor import Ended
from shoal.futures import DataFuture, OutputFuture, TaskFuture, ValueFuture
from shoal.outcome import Held, JoinFailed, Outcome, Packed, Raised, Skipped, Value, in_one_line
from shoal.task import WHOLE, ValueId

__all__ = ["failed_among", "foreign_end", "join_failed", "look_at", "one_line", "skipped", "value_id"]


def look_at(inputs: Sequence[ValueFuture[Any]]) -> tuple[tuple[int, ...], int | None]:
    """The inputs still to wait for, and one that has already ended without a value."""
    waiting: dict[int, None] = {}
    for future in inputs:
        if not future.done():
            waiting[future.tid] = None
        elif not isinstance(future.outcome, Value):
            return (), future.tid
    return tuple(waiting), None


def failed_among(inputs: Sequence[ValueFuture[Any]]) -> int | None:
    """The task of an input that has ended without a value; None if all have one.

    A task can end well while one of its outputs has no value: an element of a map.
    """
    for future in inputs:
        if type(future) is OutputFuture and not isinstance(future.outcome, Value):
            return future.tid
    return None


def value_id(future: ValueFuture[Any]) -> ValueId:
    """The value that a future stands for, as the log names it."""
    if isinstance(future, OutputFuture):
        return ValueId(future.tid, future.index)
    named = isinstance(future, TaskFuture) and future.outputs and not isinstance(future.outputs, list)
    return ValueId(future.tid, WHOLE if named or isinstance(future, DataFuture) else 0)


def skipped(inputs: Sequence[ValueFuture[Any]], cause: int | None) -> Skipped:
    """How a task ends for which task ``cause`` among its inputs has no value."""
    source = next(f for f in inputs if f.tid == cause and not isinstance(f.outcome, Value))
    outcome = source.outcome
    assert not isinstance(outcome, Value), "a task is skipped for an input without a value"
    if isinstance(outcome, Skipped):
        return Skipped(outcome.root, (source.describe(), *outcome.path))
    if outcome is None:
        outcome = Raised(CancelledError(f"{source.describe()} was cancelled"))
    return Skipped(outcome, (source.describe(),))


def join_failed(future: TaskFuture[Any], sources: Sequence[ValueFuture[Any]], cause: int | None) -> JoinFailed:
    """How a join ends that waited for ``sources``, of which task ``cause`` has no value."""
    failed = [f for f in sources if f.done() and not isinstance(f.outcome, Value)]
    if not failed:
        reason = (
            f"it returned the future of {next(f for f in sources if f.tid == cause).describe()}, which waits for it"
        )
        return JoinFailed(future.describe(), Raised(RuntimeError(reason)), (reason,))
    failed.sort(key=lambda f: f.tid != cause)
    roots = [f.outcome or Raised(CancelledError(f"{f.describe()} was cancelled")) for f in failed]
    told = [f"{f.describe()}: {in_one_line(root)}" for f, root in zip(failed, roots, strict=True)]  # type: ignore[arg-type]
    return JoinFailed(future.describe(), roots[0], tuple(told))  # type: ignore[arg-type]


def foreign_end(tid: int, future: Future[Any]) -> Ended:
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


def one_line(outcome: Outcome | None) -> str:
    """How a task ended, for the log; empty for a value."""
    return "" if outcome is None or isinstance(outcome, Value) else in_one_line(outcome)
