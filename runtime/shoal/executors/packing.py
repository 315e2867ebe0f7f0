"""Calls and values as bytes, on their way to a pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from hashlib import blake2b as _blake2b
from typing import Any

import msgspec

from shoal.executors.executor import Call
from shoal.executors.lending import Lender
from shoal.futures import DataFuture, TaskFuture, ValueFuture
from shoal.outcome import Held, Packed, Payload
from shoal.resources import Resources
from shoal.serialize import Snapshot, pack, pack_call
from shoal.task import WHOLE
from shoal.wire.frames import outside
from shoal.wire.messages import Input

__all__ = ["PreparedPoolCall", "far", "inputs_so_far", "may_go_ahead", "needs_packing", "pack_inputs", "prepare"]

_DIGEST_ARGUMENTS = 15 * 1024
"""Arguments up to this many bytes are digested for the log; they travel inline."""

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


def prepare(call: Call, place: Callable[[Any], Any] | None = None) -> PreparedPoolCall:
    """Pickle a call's arguments, then look at its function: in this order, see :mod:`shoal.serialize`.

    Args:
        call: the call.
        place: see :func:`shoal.serialize.pack_call`.

    Raises:
        NotPicklable: an argument or a captured variable cannot travel.
    """
    _, image, args, kwargs, label, outputs, resources, walltime, each = call
    body, futures = pack_call(args, kwargs, label, image.parameters, place)
    head = body.head
    arguments = b""
    if not body.buffers and type(head) is bytes and len(head) <= _DIGEST_ARGUMENTS:
        arguments = _blake2b(head, digest_size=16).digest()
    else:
        body = outside(body)
    snapshot = image.snapshot()
    return PreparedPoolCall(
        futures or (), snapshot.code, snapshot.captures, arguments, body, snapshot, label, outputs,
        resources or _ONE_CORE, walltime, each,
    )  # fmt: skip


def pack_inputs(sources: Sequence[ValueFuture[Any]], lender: Lender | None = None) -> list[Input]:
    """The values of an attempt's inputs, packed.

    Args:
        sources: the inputs.
        lender: of the pool that they go to; without one, nothing is lent on.

    Raises:
        NotPicklable: a value that was made in this process cannot travel.
        ResultUnreadable: one cannot be read.
    """
    return [
        Input(source.tid, WHOLE if _has_outputs(source) else getattr(source, "index", 0), _payload(source, lender))
        for source in sources
    ]


def inputs_so_far(sources: Sequence[ValueFuture[Any]], lender: Lender | None = None) -> list[Input]:
    """The same while some values are still being made in the pool: there, the payload is None.

    A promised file is known by its name; what has to be waited for is its task, which comes after those that have a place.

    Raises:
        ResultUnreadable: a value cannot be read.
    """
    inputs = [Input(s.tid, getattr(s, "index", 0), _payload_so_far(s, lender)) for s in sources]
    return inputs + [Input(s.tid, 0, None) for s in sources if isinstance(s, DataFuture) and not s.done()]


def _payload_so_far(source: ValueFuture[Any], lender: Lender | None) -> Payload | None:
    if isinstance(source, DataFuture):
        return outside(pack(source.file_obj))
    return _payload(source, lender) if type(source.outcome) is Packed else None


def may_go_ahead(sources: Sequence[ValueFuture[Any]]) -> bool:
    """Whether all of these are such that a pool can fill in their values: one output each, and what is there is packed."""
    return all(
        isinstance(source, DataFuture)
        or not (_has_outputs(source) or (source.done() and type(source.outcome) is not Packed))
        for source in sources
    )


def _has_outputs(source: ValueFuture[Any]) -> bool:
    """Whether its value is a mapping of several outputs; files that it promises besides are none."""
    return isinstance(source, TaskFuture) and bool(source.outputs) and not isinstance(source.outputs, list)


def needs_packing(source: ValueFuture[Any]) -> bool:
    """Whether the value was made in this process, and is no bytes yet."""
    return type(source.outcome) is not Packed


def _payload(source: ValueFuture[Any], lender: Lender | None) -> Payload:
    if _has_outputs(source):
        return outside(pack(source.result(), what=f"the result of {source.describe()}"))
    value = source.outcome
    assert isinstance(value, Packed | Held), "an attempt is launched when its inputs have their values"
    if isinstance(value, Packed):
        return Lender.plain(value.payload) if lender is None else lender.as_input(value.payload)
    return outside(pack(value.object, what=f"the result of {source.describe()}"))


def far(blob: bytes) -> Any:
    """A blob for the wire: in a frame of its own if it is large."""
    return outside(Payload(blob)).head
