"""Calls and values as bytes, on their way to a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from shoal.executors.executor import Call
from shoal.futures import TaskFuture, ValueFuture
from shoal.outcome import Held, Packed, Payload
from shoal.resources import Resources
from shoal.serialize import Snapshot, pack, pack_call
from shoal.task import WHOLE
from shoal.wire.frames import outside
from shoal.wire.messages import Input

__all__ = ["PreparedPoolCall", "far", "needs_packing", "pack_inputs", "prepare"]

_DIGEST_ARGUMENTS = 64 * 1024
"""Arguments up to this many bytes are digested for the log."""

_ONE_CORE = Resources()


class PreparedPoolCall(msgspec.Struct, gc=False):
    """A call as bytes. It refers to nothing that could refer to it, so the garbage collector need not look at it."""

    inputs: Sequence[Future[Any]]
    code: bytes
    captures: bytes
    arguments: bytes
    body: Payload
    snapshot: Snapshot
    label: str
    outputs: tuple[str, ...]
    resources: Resources
    walltime: float
    each: bool


def prepare(call: Call) -> PreparedPoolCall:
    """Pickle a call's arguments, then look at its function: in this order, see :mod:`shoal.serialize`.

    Raises:
        NotPicklable: an argument or a captured variable cannot travel.
    """
    body, futures = pack_call(call.args, call.kwargs, call.label, call.image.parameters)
    head = body.head
    small = len(head) <= _DIGEST_ARGUMENTS and not body.buffers
    arguments = hashlib.blake2b(head, digest_size=16).digest() if small else b""
    snapshot = call.image.snapshot()
    return PreparedPoolCall(
        futures or (), snapshot.code, snapshot.captures, arguments, outside(body), snapshot, call.label, call.outputs,
        call.resources or _ONE_CORE, call.walltime, call.each,
    )  # fmt: skip


def pack_inputs(sources: Sequence[ValueFuture[Any]]) -> list[Input]:
    """The values of an attempt's inputs, packed.

    Raises:
        NotPicklable: a value that was made in this process cannot travel.
        ResultUnreadable: one cannot be read.
    """
    return [
        Input(source.tid, WHOLE if _has_outputs(source) else getattr(source, "index", 0), _payload(source))
        for source in sources
    ]


def _has_outputs(source: ValueFuture[Any]) -> bool:
    return isinstance(source, TaskFuture) and bool(source.outputs)


def needs_packing(source: ValueFuture[Any]) -> bool:
    """Whether the value was made in this process, and is no bytes yet."""
    return type(source.outcome) is not Packed


def _payload(source: ValueFuture[Any]) -> Payload:
    if isinstance(source, TaskFuture) and source.outputs:
        return outside(pack(source.result(), what=f"the result of {source.describe()}"))
    value = source.outcome
    assert isinstance(value, Packed | Held), "an attempt is launched when its inputs have their values"
    if isinstance(value, Packed):
        return value.payload
    return outside(pack(value.object, what=f"the result of {source.describe()}"))


def far(blob: bytes) -> Any:
    """A blob for the wire: in a frame of its own if it is large."""
    return outside(Payload(blob)).head
