"""The arguments of a call as one payload, with placeholders where futures stood.

A payload holds ``(args, kwargs)``. In the common case of small values and futures side by side, the futures are left out
and a third item says where they stood: ``(args, kwargs, ((position or name, input), ...))``. Futures anywhere else become
calls of a function that finds the input while unpickling.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from shoal.outcome import Payload
from shoal.serialize.pickling import OUT_OF_BAND, SMALL, Pickler, Place, attempt, own, refusal, try_dump, view, write
from shoal.serialize.reducers import is_future

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["pack_call", "unpack_call"]

_inputs: ContextVar[Sequence[Any]] = ContextVar("shoal_inputs")
_future_kinds: set[type] = set()


def pack_call(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    label: str,
    names: Callable[[], Sequence[str]] | None = None,
    place: Place | None = None,
) -> tuple[Payload, list[Future[Any]]]:
    """Pickle the arguments of a call, once, as they are now.

    Args:
        args: the positional arguments; futures may stand anywhere among them: nested, as keys, in attributes.
        kwargs: the arguments by name, likewise.
        label: the function's name, for the error.
        names: gives the names of the positional arguments, for the error; asked only then.
        place: puts a large buffer elsewhere, and gives what travels in its place; None if it does not.

    Returns:
        The payload, and the distinct futures: placeholder ``i`` stands for the ``i``-th.

    Raises:
        NotPicklable: names the argument that cannot travel.
    """
    futures: list[Future[Any]] = []
    where: list[tuple[int | str, int]] = []
    for index, value in enumerate(args):
        if not _is_simple(index, value, futures, where):
            return _pack_thoroughly(args, kwargs, label, names, place)
    for name, value in kwargs.items():
        if not _is_simple(name, value, futures, where):
            return _pack_thoroughly(args, kwargs, label, names, place)
    if not where:
        return Payload(pickle.dumps((args, kwargs), 5)), futures
    bare, bare_kwargs = list(args), dict(kwargs) if kwargs else kwargs
    for key, _ in where:
        if type(key) is int:
            bare[key] = None
        else:
            bare_kwargs[key] = None  # type: ignore[index]
    return Payload(pickle.dumps((tuple(bare), bare_kwargs, tuple(where)), 5)), futures


def _is_simple(key: int | str, value: Any, futures: list[Any], where: list[tuple[int | str, int]]) -> bool:
    kind = type(value)
    if kind in SMALL:
        return True
    if kind is str or kind is bytes:
        return len(value) < OUT_OF_BAND
    if kind not in _future_kinds:
        return False
    number = next((number for number, known in enumerate(futures) if known is value), -1) if futures else -1
    if number < 0:
        number = len(futures)
        futures.append(value)
    where.append((key, number))
    return number < _MANY


_MANY = 16
"""More futures than these side by side are quicker to number by a table."""


class _CallPickler(Pickler):
    """Puts placeholders where futures stand."""

    def special(self, obj: Any, kind: type) -> Any:
        if kind not in _future_kinds:
            if not is_future(kind):
                return super().special(obj, kind)
            _future_kinds.add(kind)
        futures, numbers = self.context
        number = numbers.setdefault(id(obj), len(futures))
        if number == len(futures):
            futures.append(obj)
        return (_input, (number,))


def _input(number: int) -> Any:
    return _inputs.get()[number]


def _pack_thoroughly(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    label: str,
    names: Callable[[], Sequence[str]] | None,
    place: Place | None,
) -> tuple[Payload, list[Future[Any]]]:
    futures: list[Future[Any]] = []
    payload, error = try_dump(lambda: _write(args, kwargs, futures, place))
    if payload is None:
        assert error is not None
        raise _culprit(args, kwargs, label, names, error) from error
    return payload, futures


def _write(args: tuple[Any, ...], kwargs: dict[str, Any], futures: list[Any], place: Place | None = None) -> Payload:
    futures.clear()
    call = (tuple(map(_set_aside, args)), {name: _set_aside(value) for name, value in kwargs.items()})
    return write(_CallPickler, call, context=(futures, {}), place=place)


def _set_aside(value: Any) -> Any:
    """Keep large ``bytes`` out of the stream, uncopied."""
    return pickle.PickleBuffer(value) if type(value) is bytes and len(value) >= OUT_OF_BAND else value


def _culprit(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    label: str,
    names: Callable[[], Sequence[str]] | None,
    error: Exception,
) -> Exception:
    """The error that names the argument at fault, found by trying each alone."""
    named: list[tuple[str, Any]] = []
    known = names() if names is not None else ()
    for index, value in enumerate(args):
        name = f"'{known[index]}'" if index < len(known) else str(index + 1)
        named.append((f"argument {name} of {label}", value))
    named.extend((f"argument '{name}' of {label}", value) for name, value in kwargs.items())
    for what, value in named:
        _, its_error = attempt(lambda value=value: _write((value,), {}, []))  # type: ignore[misc]
        if its_error is not None:
            return refusal(its_error, what, type(value))
    return refusal(error, f"the arguments of {label}", tuple)


def unpack_call(payload: Payload, inputs: Sequence[Any], take: bool = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, with ``inputs[i]`` where placeholder ``i`` stands.

    Args:
        payload: from :func:`pack_call`; its parts may be wrapped as for :func:`~shoal.serialize.unpack`.
        inputs: the values of the futures.
        take: see :func:`~shoal.serialize.unpack`.

    Raises:
        Exception: whatever unpickling raises, for instance ModuleNotFoundError.
    """
    head = payload.head
    if type(head) is not bytes:
        head = view(head)
    buffers = own(head, payload.buffers, take) if payload.buffers else ()
    if not inputs:
        return pickle.loads(head, buffers=buffers) if buffers else pickle.loads(head)  # type: ignore[no-any-return]
    before = _inputs.set(inputs)
    try:
        call = pickle.loads(head, buffers=buffers)
    finally:
        _inputs.reset(before)
    if len(call) == 2:
        return call  # type: ignore[no-any-return]
    args, kwargs, where = call
    return _patched(args, kwargs, where, inputs)


def _patched(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], where: Sequence[tuple[int | str, int]], inputs: Sequence[Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    filled, named = list(args), dict(kwargs)
    for key, number in where:
        if type(key) is int:
            filled[key] = inputs[number]
        else:
            named[key] = inputs[number]  # type: ignore[index]
    return tuple(filled), named
