"""From any object to its encoding, by content.

Objects are taken apart in steps on a stack of its own, so that no nesting is too deep. What contains itself is met a second time
on the way down, and stands there for how far up it began. Equal objects have equal encodings whether they are shared or not;
only in structures that are tangled beyond measure (most objects reach most others, both ways) objects are numbered as they are
met, and sharing counts.
"""

from __future__ import annotations

import functools
from concurrent.futures import Future
from types import FunctionType
from typing import Any

from shoal.errors import NotMemoizable
from shoal.files import File
from shoal.memo.frames import ATOMS, blob, digest, flat, frame
from shoal.memo.functions import Known, Record, Records, class_steps, function_steps, record_of
from shoal.memo.kinds import steps_for
from shoal.memo.origins import reference_to, refresh
from shoal.memo.steps import Steps, Undigestible
from shoal.serialize.pickling import attempt
from shoal.serialize.reducers import is_future
from shoal.serialize.references import reference

__all__ = ["Digester", "Futures", "content", "content_digest", "id_for_memo"]

_TANGLED = 20_000
"""So many objects met more than once on ways that lead back to them are too many."""

_FAR = 1 << 60

Futures = dict[int, tuple[int, Future[Any]]]
"""Futures by their ids, each with its number."""


class _Tangled(Exception):
    pass


class _Level:
    """One object that is being taken apart.

    Attributes:
        lowest: the highest place on the stack that something within refers back to.
        record, turn: what is known of it, if it is code, and since when.
        start: how many objects of rings were met before.
    """

    __slots__ = ("lowest", "obj", "record", "start", "steps", "turn")

    def __init__(self, obj: Any, steps: Steps, record: Record | None, start: int) -> None:
        self.obj, self.steps, self.record, self.start = obj, steps, record, start
        self.lowest = _FAR
        self.turn = 0 if record is None else record.turn


class Digester:
    """Encodes objects; what it met once it need not take apart again.

    Args:
        futures: gets each future that is met; its number stands for its value. None where there can be none.
        outputs: files stand for their paths, not their contents.
        records: what is known of functions and classes; gets what is found out about more.
        numbered: number objects as they are met.
    """

    def __init__(
        self,
        futures: Futures | None = None,
        outputs: bool = False,
        records: Records | None = None,
        numbered: bool = False,
    ) -> None:
        self._futures = futures
        self._records: Records = {} if records is None else records
        self._outputs = outputs
        self._numbered = numbered
        self._known: dict[int, Known] = {}
        self._ring: list[Any] = []
        self._path: dict[int, int] = {}
        self._stack: list[_Level] = []
        self._loose = 0
        self._version = refresh()

    def encode(self, obj: Any) -> bytes:
        """The encoding of an object.

        Raises:
            Undigestible: it, or something in it, has none.
        """
        try:
            return self._encode(obj)
        except _Tangled:
            return frame(b"tangle", Digester(self._futures, self._outputs, self._records, numbered=True).encode(obj))
        finally:
            self._path.clear()
            self._stack.clear()
            self._ring.clear()

    def _encode(self, obj: Any) -> bytes:
        encoding, error = self._enter(obj)
        while self._stack:
            level = self._stack[-1]
            try:
                child = level.steps.send(encoding) if error is None else level.steps.throw(error)  # type: ignore[arg-type]
            except StopIteration as stop:
                encoding, error = self._leave(stop.value), None
            except Undigestible as refused:
                self._stack.pop()
                encoding, error = None, refused
            else:
                encoding, error = self._enter(child)
        if error is not None:
            raise error
        assert encoding is not None, "what is left has an encoding or an error"
        return encoding

    def _enter(self, obj: Any) -> tuple[bytes | None, Undigestible | None]:
        """The encoding of an object, if it is known at once; else it is on the stack now."""
        kind = type(obj)
        atom = ATOMS.get(kind)
        if atom is not None:
            return atom(obj), None
        key = id(obj)
        known = self._known.get(key)
        if known is not None and self._holds(known):
            return known.encoding, None
        depth = self._path.get(key)
        if depth is not None:
            self._stack[-1].lowest = min(self._stack[-1].lowest, depth)
            return frame(b"above", b"%x" % (len(self._stack) - depth)), None
        try:
            steps, record = self._steps(obj, kind)
        except Undigestible as refused:
            return None, refused
        if type(steps) is bytes:
            return steps, None
        self._path[key] = len(self._stack)
        if self._numbered:
            self._known[key] = Known(obj, frame(b"number", b"%x" % len(self._known)))
        self._stack.append(_Level(obj, steps, record, len(self._ring)))  # type: ignore[arg-type]
        return None, None

    def _leave(self, encoding: bytes) -> bytes:
        level = self._stack.pop()
        depth = self._path.pop(id(level.obj))
        if self._numbered:
            return encoding
        if level.lowest >= depth:
            ring = self._ring[level.start :]
            del self._ring[level.start :]
            if level.lowest == depth:
                ring.append(level.obj)
            known = self._known[id(level.obj)] = Known(level.obj, encoding, ring)
            if level.record is not None:
                level.record.settle(known, level.turn)
        else:
            self._ring.append(level.obj)
            self._loose += 1
            if self._loose > _TANGLED:
                raise _Tangled
            above = self._stack[-1]
            above.lowest = min(above.lowest, level.lowest)
        return encoding

    def _holds(self, known: Known) -> bool:
        """Whether an encoding counts here: not within the ring that the object is in, where the way round ends elsewhere."""
        return not known.ring or known.ids.isdisjoint(self._path)

    def _steps(self, obj: Any, kind: type) -> tuple[bytes | Steps, Record | None]:
        if len(id_for_memo.registry) > 1:
            registered = id_for_memo.dispatch(kind)
            if registered is not _BY_CONTENT:
                return _by_user(registered, obj, kind), None
        plain = flat(obj)
        if plain is not None:
            return plain, None
        if kind is FunctionType or issubclass(kind, type):
            return self._code_steps(obj, kind)
        if is_future(kind):
            return self._placeholder(obj, kind), None
        if self._outputs and kind is File:
            return blob(b"output", obj.filepath.encode("utf-8", "surrogateescape")), None
        return steps_for(obj, kind), None

    def _code_steps(self, obj: Any, kind: type) -> tuple[bytes | Steps, Record | None]:
        names = reference(obj)
        if names is not None:
            return reference_to(*names), None
        record = record_of(obj, self._records, self._version)
        if record.known is not None and not self._numbered and self._holds(record.known):
            return record.known.encoding, None
        return (function_steps(record) if kind is FunctionType else class_steps(obj)), record

    def _placeholder(self, future: Any, kind: type) -> bytes:
        if self._futures is None:
            raise Undigestible(kind.__name__, "a future stands for a value that is not here")
        number, _ = self._futures.setdefault(id(future), (len(self._futures), future))
        return frame(b"future", b"%x" % number)


def content_digest(obj: Any) -> bytes:
    """The digest of an object's content, 32 bytes: equal for equal objects, in this process and any other.

    Raises:
        NotMemoizable: the object, or something in it, has none.
    """
    return digest(content(obj))


def content(obj: Any) -> bytes:
    """The encoding of an object's content, as it stands for the object in what contains it.

    Raises:
        NotMemoizable: the object, or something in it, has none.
    """
    try:
        return Digester().encode(obj)
    except Undigestible as refused:
        raise NotMemoizable(refused.what or "the object", refused.type_name, refused.reason) from None


@functools.singledispatch
def id_for_memo(obj: object) -> bytes:
    """The bytes that stand for an object in the key of a cached task.

    Of most objects Shoal digests the content by itself. For a type where it cannot, or should not look at all of it, register a
    function::

        @shoal.id_for_memo.register(Model)
        def model_id(model: Model) -> bytes:
            return shoal.id_for_memo((model.name, model.weights))

    Args:
        obj: the object.

    Raises:
        NotMemoizable: it has no digest.
    """
    return content_digest(obj)


_BY_CONTENT = id_for_memo.registry[object]


def _by_user(registered: Any, obj: Any, kind: type) -> bytes:
    found, error = attempt(lambda: registered(obj))
    if error is not None:
        raise Undigestible(kind.__name__, f"its registered function raised {type(error).__name__}: {error}")
    if not isinstance(found, bytes):
        raise Undigestible(kind.__name__, f"its registered function returned a {type(found).__name__} and no bytes")
    return frame(b"registered", blob(b"type", f"{kind.__module__}:{kind.__qualname__}".encode()) + blob(b"id", found))
