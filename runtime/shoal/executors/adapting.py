"""What an adapter gives to a foreign executor, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from shoal.errors import ShoalError, TaskUnreadable, WorkerLost
from shoal.executors.executor import Attempt, Ended
from shoal.executors.packing import PreparedPoolCall, pack_inputs
from shoal.outcome import Failure, Packed, Payload
from shoal.serialize import pack
from shoal.serialize.pickling import view
from shoal.wire.messages import Input, Result, Task

__all__ = ["Flight", "PreparedAdapterCall", "ended", "lost", "reason", "task_of", "unreadable"]


class PreparedAdapterCall:
    """A call as bytes, and its function for an executor that runs it in this process."""

    __slots__ = ("arguments", "call", "captures", "code", "function", "inputs")

    def __init__(self, call: PreparedPoolCall, function: Callable[..., Any]) -> None:
        self.call, self.function = call, function
        self.inputs: Sequence[Future[Any]] = call.inputs
        self.code, self.captures, self.arguments = call.code, call.captures, call.arguments


class Flight:
    """An attempt on its way: given to the foreign executor, or about to be.

    Args:
        attempt: the attempt.
        with_code: whether its code has to go with it, since it was asked for.

    Attributes:
        future: what the executor gave for it.
        leaving: it can no longer be kept from the executor.
        dropped: nobody wants it any more.
        seen, announced: since when it was seen to run (0.0 if it was not); whether that was told.
    """

    __slots__ = ("announced", "attempt", "dropped", "future", "leaving", "seen", "with_code")

    def __init__(self, attempt: Attempt, with_code: bool) -> None:
        self.attempt, self.with_code = attempt, with_code
        self.future: Future[Any] | None = None
        self.leaving = self.dropped = self.announced = False
        self.seen = 0.0

    @property
    def key(self) -> tuple[int, int]:
        """Which attempt."""
        return self.attempt.tid, self.attempt.attempt


def task_of(attempt: Attempt) -> Task:
    """The message of an attempt, all of it plain bytes.

    Raises:
        NotPicklable: an input that was made in this process cannot travel.
        ResultUnreadable: one cannot be read.
    """
    call: PreparedPoolCall = attempt.prepared.call
    inputs = pack_inputs(attempt.inputs) if attempt.inputs else []
    snapshot = call.snapshot
    return Task(
        attempt.tid, attempt.attempt, snapshot.code, b"", snapshot.captures_blob or None, _plain(call.body),
        [Input(i.task, i.output, _plain(i.payload)) for i in inputs if i.payload is not None],
        call.outputs, call.label, each=call.each,
    )  # fmt: skip


def ended(result: Result) -> Ended:
    """The end of an attempt that was run."""
    values: list[Packed | Failure] = [Packed(payload) for payload in result.values]
    for index, flaw in result.flaws:
        values[index] = flaw
    return Ended(result.tid, result.attempt, values, result.failure, result.worker, result.started, result.ended)


def lost(attempt: Attempt, error: BaseException, label: str, final: bool = False) -> Ended:
    """The end of an attempt that was cut off.

    Args:
        attempt: which.
        error: what the foreign executor says.
        label: the executor's.
        final: no other attempt can do better.
    """
    named = (
        error if isinstance(error, ShoalError) else WorkerLost(_words(attempt), f"executor '{label}'", reason(error))
    )
    return Ended(attempt.tid, attempt.attempt, (), Failure.of(named, pack(named).head, lost=True), final=final)


def unreadable(attempt: Attempt, error: BaseException) -> Ended:
    """The end of an attempt that could not be read where it arrived, as :func:`lost`."""
    named = TaskUnreadable(_words(attempt), reason(error))
    return Ended(attempt.tid, attempt.attempt, (), Failure.of(named, pack(named).head), final=True)


def reason(error: BaseException) -> str:
    """An error of another library in one line."""
    return f"{type(error).__name__}: {error}"


def _words(attempt: Attempt) -> str:
    return f"{attempt.prepared.call.label} (task {attempt.tid})"


def _plain(payload: Payload) -> Payload:
    """The payload as plain bytes, which every executor can send."""
    return Payload(_bytes(payload.head), tuple([_bytes(buffer) for buffer in payload.buffers]))


def _bytes(item: Any) -> bytes:
    raw = view(item)
    return raw if type(raw) is bytes else bytes(raw)
