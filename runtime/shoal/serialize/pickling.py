"""Objects to bytes and back.

The stream is plain pickle, protocol 5, written by the C pickler. Buffers of ``OUT_OF_BAND`` bytes or more (arrays, and
``bytes`` at the top) are kept beside the stream, so that no hop parses or copies them. One byte for each of them, after
the end of the stream where pickle does not look, says whether it arrives read-only.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, TypeVar

from shoal.errors import NotPicklable
from shoal.outcome import Payload
from shoal.serialize.reducers import (
    CallFailed,
    Refused,
    cloudpickle_is_loaded,
    load_cloudpickle,
    reduce_class,
    reducer_for,
)
from shoal.serialize.references import by_reference

__all__ = [
    "OUT_OF_BAND",
    "SMALL",
    "Chunks",
    "Pickler",
    "Place",
    "attempt",
    "own",
    "pack",
    "refusal",
    "try_dump",
    "unpack",
    "view",
    "write",
]

T = TypeVar("T")

OUT_OF_BAND = 16 * 1024
"""Buffers from this size on (bytes) are kept beside the pickle stream."""

Place = Callable[[Any], Any]

SMALL = frozenset({type(None), bool, int, float, complex})
"""Types whose instances are always small and mention nothing else."""

_WRITABLE, _READ_ONLY = b"\0", b"\1"
_ONE_BYTES = pickle.dumps(pickle.PickleBuffer(b""), 5, buffer_callback=lambda _: None) + _READ_ONLY

_plain: set[type] = set()
"""Types that pickle handles by itself: the reducer need not think about them again."""

_MANY_TYPES = 20_000


class Chunks(list[bytes]):
    """What a pickler writes, kept as it comes: a file that never joins its parts."""

    write = list.append


class Pickler(pickle.Pickler):
    """A C pickler that sends by value what cannot be imported: functions and classes of notebooks among them."""

    context: Any = None
    """What a subclass works with; set for it by :func:`write`."""

    _cloud: Any = None

    def reducer_override(self, obj: Any) -> Any:
        """Decide how ``obj`` is written; called by pickle for all but its basic types."""
        kind = type(obj)
        if kind in _plain:
            return NotImplemented
        if kind is FunctionType:
            return NotImplemented if by_reference(obj) else self.function(obj)
        if issubclass(kind, type):
            return NotImplemented if by_reference(obj) else reduce_class(obj, self.cloud().reducer_override(obj))
        return self.special(obj, kind)

    def function(self, function: FunctionType) -> Any:
        """Write a function by value."""
        return self.cloud().reducer_override(function)

    def special(self, obj: Any, kind: type) -> Any:
        """Write an object of a type that was not met before, or that needs help."""
        reducer = reducer_for(kind)
        if reducer is not None:
            return reducer(obj)
        if len(_plain) > _MANY_TYPES:
            _plain.clear()
        _plain.add(kind)
        return NotImplemented

    def cloud(self) -> Any:
        """The cloudpickle pickler that belongs to this one: within it, functions share their globals."""
        if self._cloud is None:
            cloudpickle = load_cloudpickle()
            _plain.clear()
            self._cloud = cloudpickle.Pickler(Chunks())
        return self._cloud


# --------------------------------------------------------------------------- pickling


def pack(obj: Any, what: str = "the object", copy: bool = True, place: Place | None = None) -> Payload:
    """Pickle an object.

    Args:
        obj: anything.
        what: the object in the user's words, for the error.
        copy: whether mutable buffers are copied. False is for who sends the payload before anyone can change them.
        place: see :func:`write`.

    Raises:
        NotPicklable: the object, or something in it, cannot be pickled.
        Exception: what an app raised that was called inside a task, if its future is in the object.
    """
    kind = type(obj)
    if kind in SMALL or ((kind is str or kind is bytes) and len(obj) < OUT_OF_BAND):
        return Payload(pickle.dumps(obj, 5))
    if kind is bytes:
        return Payload(_ONE_BYTES, ((place(obj) if place is not None else None) or obj,))
    payload, error = try_dump(lambda: write(Pickler, obj, copy, place=place))
    if payload is None:
        assert error is not None
        if isinstance(error, CallFailed):
            raise error.error
        raise refusal(error, what, kind) from error
    return payload


def write(kind: type[Pickler], obj: Any, copy: bool = True, context: Any = None, place: Place | None = None) -> Payload:
    """Pickle an object with a pickler of the given class, whatever that raises.

    Args:
        kind: the class of the pickler.
        obj: the object.
        copy: see :func:`pack`.
        context: given to the pickler.
        place: puts a large buffer elsewhere, and gives what travels in its place; None if it does not.
    """
    chunks = Chunks()
    buffers: list[Any] = []
    flags: list[bytes] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND:
            return True  # in the stream
        owner = raw.obj
        elsewhere = place(raw) if place is not None else None
        if elsewhere is not None:
            buffers.append(elsewhere)
        elif type(owner) is bytes and len(owner) == raw.nbytes:
            buffers.append(owner)
        else:
            buffers.append(bytes(raw) if copy else raw)
        flags.append(_READ_ONLY if raw.readonly else _WRITABLE)
        return False

    pickler = kind(chunks, 5, buffer_callback=keep)
    pickler.context = context
    pickler.dump(obj)
    head = chunks[0] if len(chunks) == 1 and not flags else b"".join(chunks + flags)
    if place is not None and len(head) >= OUT_OF_BAND:
        return Payload(place(head) or head, tuple(buffers))
    return Payload(head, tuple(buffers))


def try_dump(dump: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Call ``dump``; again with cloudpickle's help if it fails without. Returns what it gave, or its error."""
    payload, error = attempt(dump)
    if error is not None and not cloudpickle_is_loaded():
        load_cloudpickle()
        _plain.clear()
        payload, error = attempt(dump)
    return payload, error


def attempt(function: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What ``function`` returns, or what it raised. The one place where errors of any kind are caught here."""
    try:
        return function(), None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - pickling and unpickling run the users' code (__reduce__, imports)
        return None, error


def refusal(error: Exception, what: str, kind: type) -> NotPicklable:
    """The error for the user.

    Args:
        error: what the pickler raised.
        what: the object in the user's words.
        kind: the object's type.
    """
    if isinstance(error, NotPicklable):
        return error
    if isinstance(error, Refused):
        return NotPicklable(what, error.type_name, error.reason, error.fix)
    if isinstance(error, RecursionError):
        return NotPicklable(what, kind.__name__, "it is nested too deeply", "flatten it, or raise the recursion limit")
    return NotPicklable(what, kind.__name__, str(error) or type(error).__name__)


# --------------------------------------------------------------------------- unpickling


def unpack(payload: Payload, take: bool = False, common: bool = False) -> Any:
    """The object in a payload. Its arrays are writable where they were, and shared with nobody.

    Args:
        payload: from :func:`pack`, its parts bytes-like, or wrapped as something with ``data`` or ``buffer``.
        take: give writable buffers of the payload to the object instead of copying them; the payload is spent then.
        common: give all of its buffers to the object as they are: its arrays can only be read, and others read the same.

    Raises:
        Exception: whatever unpickling raises, for instance ModuleNotFoundError.
    """
    head = payload.head
    if type(head) is not bytes:
        head = view(head)
    if not payload.buffers:
        return pickle.loads(head)
    if common:
        return pickle.loads(head, buffers=_in_common(head, payload.buffers))
    return pickle.loads(head, buffers=own(head, payload.buffers, take))


def own(head: Any, buffers: Sequence[Any], take: bool = False) -> list[Any]:
    """Buffers for the unpickler: ``bytes`` for those that arrive read-only, private writable ones for the others.

    Args:
        head: the stream with its flags.
        buffers: the payload's buffers.
        take: see :func:`unpack`.
    """
    owned: list[Any] = []
    for flag, item in zip(head[-len(buffers) :], buffers, strict=True):
        data = item if type(item) in _BYTES_LIKE else view(item)
        if flag:
            owned.append(data if type(data) is bytes else bytes(data))
        elif take and type(data) is not bytes and not memoryview(data).readonly:
            owned.append(data)
        else:
            owned.append(bytearray(data))
    return owned


def _in_common(head: Any, buffers: Sequence[Any]) -> list[Any]:
    """Buffers for the unpickler, none of them copied but ``bytes``, which only exist as objects of their own."""
    views = [memoryview(view(item)).toreadonly() for item in buffers]
    return [bytes(v) if flag else v for flag, v in zip(head[-len(buffers) :], views, strict=True)]


_BYTES_LIKE = (bytes, bytearray, memoryview)


def view(item: Any) -> Any:
    """The bytes-like object in ``item``: itself, its ``data`` (a part that travels outside), its ``buffer`` (a frame)."""
    if type(item) not in _BYTES_LIKE:
        item = getattr(item, "data", item)
        item = getattr(item, "buffer", item)
    return item
