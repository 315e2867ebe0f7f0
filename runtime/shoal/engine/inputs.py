"""Looking at the futures that a task takes or joins."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from shoal.errors import NoSession
from shoal.executors.calling import outcome_of
from shoal.executors.executor import Ended
from shoal.futures import DataFuture, OutputFuture, TaskFuture, ValueFuture
from shoal.outcome import Failure, JoinFailed, Outcome, Packed, Raised, Skipped, Value, in_one_line
from shoal.task import WHOLE, ValueId

__all__ = [
    "failed_among",
    "foreign_end",
    "has_names",
    "is_orphan",
    "join_failed",
    "look_at",
    "one_line",
    "skipped",
    "value_id",
]


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


def has_names(future: ValueFuture[Any]) -> bool:
    """Whether it stands for the mapping of a task's named outputs."""
    return isinstance(future, TaskFuture) and bool(future.outputs) and not isinstance(future.outputs, list)


def value_id(future: ValueFuture[Any]) -> ValueId:
    """The value that a future stands for, as the log names it."""
    if isinstance(future, OutputFuture):
        return ValueId(future.tid, future.index)
    return ValueId(future.tid, WHOLE if isinstance(future, DataFuture) or has_names(future) else 0)


def skipped(inputs: Sequence[ValueFuture[Any]], cause: int | None) -> Skipped:
    """How a task ends for which task ``cause`` among its inputs has no value."""
    source = next(f for f in inputs if f.tid == cause and not isinstance(f.outcome, Value))
    outcome = _reason(source)
    return outcome.of(source.describe()) if isinstance(outcome, Skipped) else Skipped(outcome, (source.describe(),))


def join_failed(sources: Sequence[ValueFuture[Any]], cause: int | None) -> JoinFailed:
    """How a join ends that waited for ``sources``, of which task ``cause`` has no value."""
    failed = [f for f in sources if f.done() and not isinstance(f.outcome, Value)]
    if not failed:
        source = next(f for f in sources if f.tid == cause).describe()
        reason = f"it returned the future of {source}, which waits for it"
        return JoinFailed(source, Raised(RuntimeError(reason)), (reason,))
    failed.sort(key=lambda f: f.tid != cause)
    roots = [_reason(f) for f in failed]
    told = [f"{f.describe()}: {_line(root)}" for f, root in zip(failed, roots, strict=True)]
    return JoinFailed(failed[0].describe(), roots[0], tuple(told))


def _reason(future: ValueFuture[Any]) -> Failure | Raised | Skipped | JoinFailed:
    """Why a future that is over has no value."""
    outcome = future.outcome
    assert not isinstance(outcome, Value), "it has none"
    return Raised(CancelledError(f"{future.describe()} was cancelled")) if outcome is None else outcome


def _line(outcome: Failure | Raised | Skipped | JoinFailed) -> str:
    """In one line; of a join that failed, why what it joined did."""
    return in_one_line(outcome.origin if isinstance(outcome, JoinFailed) else outcome)


def is_orphan(future: Future[Any]) -> bool:
    """Whether nobody will ever end it: its session is that of the process from which this one was forked."""
    if not isinstance(future, ValueFuture):
        return False
    try:
        future.owner.check_process()
    except NoSession:
        return True
    return False


def foreign_end(tid: int, future: Future[Any]) -> Ended:
    """How a future that is not of this session ended, as the end of its stand-in's only attempt."""
    outcome = future.outcome if isinstance(future, ValueFuture) else None
    end = outcome if isinstance(outcome, Packed) else outcome_of(future.result)
    if not isinstance(end, Raised):
        return Ended(tid, 1, (end,))
    if future.cancelled():
        end = Raised(CancelledError("the future was cancelled"))
    return Ended(tid, 1, (), end, final=True)


def one_line(outcome: Outcome | None) -> str:
    """How a task ended, for the log; empty for a value."""
    return "" if outcome is None or isinstance(outcome, Value) else in_one_line(outcome)
