"""Functions and classes of notebooks by content: their code, all that it reaches, and the values that it captures.

What a function reaches is found by :class:`~shoal.serialize.places.Walk`, as for sending it. The walk is kept for each function
and tells at the next submission whether anything was rebound. Only then, and for captured values that may change in place,
is there anything to digest again.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Sequence
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from shoal.memo.code import code_digest
from shoal.memo.frames import ATOMS, blob, bundle, frame
from shoal.memo.origins import is_packaged, origin, reference_to
from shoal.memo.steps import Steps, Undigestible, each
from shoal.serialize.layout import Target
from shoal.serialize.places import Kind, Place, Walk

__all__ = ["Known", "Record", "Records", "class_steps", "function_steps", "record_of"]

_PASSED_OVER = frozenset(
    {
        "__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__",
        "__slotnames__", "_abc_impl", "__annotations_cache__",
    }
)  # fmt: skip
_DISPATCH_CACHE = frozenset({"cache_token", "dispatch_cache", "_clear_cache"})
_LINKS = {Kind.FUNCTION: b"function", Kind.APP: b"app"}


class Known:
    """The encoding of an object that is held on to.

    Args:
        obj: the object.
        encoding: as seen from outside.
        ring: the objects that it reaches and that reach it, if it contains itself.
    """

    __slots__ = ("encoding", "ids", "obj", "ring")

    def __init__(self, obj: Any, encoding: bytes, ring: Sequence[Any] = ()) -> None:
        self.obj, self.encoding, self.ring = obj, encoding, ring
        self.ids = frozenset(map(id, ring))


class Record:
    """What is known of one function or class.

    Args:
        obj: the function or class.
        version: of the modules that are edited here, see :func:`~shoal.memo.origins.refresh`.

    Attributes:
        walk: what it reaches.
        static: the encoding of all but the values.
        values: the places whose values belong to the content.
        known: the whole, where nothing in it can change without being rebound; None while unknown.
        turn: grows with each change that was found.
    """

    __slots__ = ("known", "loaded", "static", "turn", "values", "version", "walk")

    def __init__(self, obj: Any, version: int) -> None:
        self.turn = 0
        self.look(obj, version)

    def look(self, obj: Any, version: int) -> None:
        """Walk anew."""
        self.known: Known | None = None
        self.turn += 1
        self.version, self.loaded = version, len(sys.modules)
        self.walk = walk = Walk(obj)
        walk.sealed = True
        packaged = [_is_of_package(space) for space in walk.namespaces]
        self.static = _static(walk, packaged)
        # of the code of an installed package, the version vouches for what its module holds
        self.values = [
            p for p in walk.values if not ((p.target is Target.NAMESPACE and packaged[p.index]) or _is_cache(walk, p))
        ]

    def freshen(self, obj: Any, version: int) -> None:
        """Take in what was rebound since the last time."""
        if self.version != version or self.loaded != len(sys.modules):
            self.look(obj, version)
        elif not self.walk.same():
            self.known = None
            self.turn += 1
            if not self.walk.update():
                self.look(obj, version)

    def settle(self, known: Known, turn: int) -> None:
        """Keep an encoding that was begun in ``turn``, if it holds until something is rebound."""
        with _lock:
            if turn == self.turn and not any(place.kind is Kind.MUTABLE for place in self.values):
                self.known = known


def _is_of_package(space: dict[str, Any]) -> bool:
    """Whether a namespace is that of an installed module: not one of that name that was made otherwise."""
    name = space.get("__name__")
    return isinstance(name, str) and getattr(sys.modules.get(name), "__dict__", None) is space and is_packaged(name)


def _is_cache(walk: Walk, place: Place) -> bool:
    """Whether a place holds what ``functools.singledispatch`` found out, which grows by mere calls."""
    return place.key in _DISPATCH_CACHE and walk.functions[place.owner].__globals__ is vars(functools)


Records = dict[int, tuple[Any, Record]]
"""Records by the ids of what they are of. They keep all that it reaches alive, so whoever keeps them keeps them near it."""

_MANY = 256
_lock = threading.RLock()


def record_of(obj: Any, records: Records, version: int) -> Record:
    """The record of a notebook function or class, up to date; in ``records`` for the next time."""
    with _lock:
        known = records.get(id(obj))
        if known is not None:
            known[1].freshen(obj, version)
            return known[1]
        record = Record(obj, version)
        if len(records) >= _MANY:
            records.clear()
        records[id(obj)] = (obj, record)
        return record


def _static(walk: Walk, packaged: list[bool]) -> bytes:
    parts = []
    for number, function in enumerate(walk.functions):
        space = walk.namespace_of(function)
        parts.append(frame(b"body", code_digest(function.__code__, function.__globals__)))
        if packaged[space]:
            parts.append(origin(str(function.__globals__.get("__name__"))))
        places = [p for p in walk.reads[number] if not (p.target is Target.NAMESPACE and packaged[space])]
        parts.extend(map(_place, places))
    for names in (walk.imports, walk.submodules):
        parts.extend(blob(b"imports", name.encode()) + _imported(name) for name in names)
    root = walk.places[0]
    return bundle(b"static", [*parts, _place(root)])


def _place(place: Place) -> bytes:
    spot = blob(b"spot", f"{int(place.target)} {place.key}".encode())
    if place.kind is Kind.REFERENCE:
        return spot + reference_to(*place.data)
    if place.kind in _LINKS:
        app = type(place.value).__name__ if place.kind is Kind.APP else ""
        return spot + blob(_LINKS[place.kind], f"{place.data} {app}".encode())
    if place.kind is Kind.BASIC:
        return spot + blob(b"basic", repr(place.value).encode("utf-8", "surrogatepass"))
    if place.slot >= 0:
        return spot + frame(b"slot", b"%x" % place.slot)
    return spot + b"missing:"


def _imported(name: str) -> bytes:
    """A module that code imports while it runs, or a name in one."""
    parent, _, _ = name.rpartition(".")
    return origin(name if name in sys.modules or not parent else parent)


# --------------------------------------------------------------------------- steps, see shoal.memo.digest


def function_steps(record: Record) -> Steps:
    """Encode a notebook function: its static part, then each captured value."""
    parts = [record.static]
    for place in record.values:
        encode = ATOMS.get(type(place.value))
        if encode is not None:
            parts.append(encode(place.value))
            continue
        try:
            parts.append((yield place.value))
        except Undigestible as error:
            raise error.at(_describe(record.walk, place)) from None
    return bundle(b"function", parts)


def class_steps(cls: type) -> Steps:
    """Encode a notebook class: its names, its bases, its members."""
    head = f"{cls.__module__}:{cls.__qualname__}".encode()
    parts = [blob(b"name", head), *(yield from each(cls.__bases__))]
    if type(cls) is not type:
        parts.append((yield type(cls)))
        parts.append((yield _hidden_state(cls)))
    for name, value in sorted(vars(cls).items()):
        if name in _PASSED_OVER or type(value) in (GetSetDescriptorType, MemberDescriptorType):
            continue
        try:
            parts.append(blob(b"member", name.encode()) + (yield value))
        except Undigestible as error:
            raise error.at(f"'{name}' of class {cls.__qualname__}") from None
    return bundle(b"class", parts)


def _hidden_state(cls: type) -> dict[str, Any]:
    """What a metaclass that is written in C keeps of a class outside its ``__dict__``: the defaults of a struct, say."""
    metas = [meta for meta in inspect.getmro(type(cls)) if not issubclass(type, meta)]
    names = [n for meta in metas for n, kept in vars(meta).items() if type(kept) is MemberDescriptorType]
    return {name: getattr(cls, name, None) for name in names}


def _describe(walk: Walk, place: Place) -> str:
    owner = walk.functions[place.owner].__qualname__ if place.owner >= 0 else "the function"
    if place.target in (Target.NAMESPACE, Target.CELL):
        return f"variable '{place.key}' used by {owner}"
    if place.key == "__defaults__":
        return f"a default of {owner}"
    return f"'{place.key}' of {owner}"
