"""The worker's look at the inputs of a cell, before and after it: what was changed although the text does not show it.

A value is looked at if code of unknown effect gets at it, or if its type is one whose mere reading may run code of the user's
own. Plain containers are compared as pickle writes them, order included; all else in them by the digest of its content.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable
from types import CellType, FunctionType, ModuleType
from typing import Any

import msgspec

from shoal.errors import HiddenMutation, NotPicklable
from shoal.memo.digest import Digester
from shoal.memo.steps import Undigestible
from shoal.outcome import Payload
from shoal.serialize import pack
from shoal.serialize.reducers import is_app
from shoal.serialize.references import reference
from shoal_kernel.analysis.effects import is_a
from shoal_kernel.analysis.purity import INSTANCE, LIBRARIES, MODULE, OBJECT
from shoal_kernel.worker.sizes import size_of

__all__ = [
    "BOUND",
    "Checks",
    "Watch",
    "can_change",
    "classes_of",
    "fingerprint",
    "is_dunder",
    "is_known",
    "is_what",
]

BOUND = 64 << 20
"""Bytes of content up to which a value is looked at."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented), slice)
_CONTAINERS = (list, tuple, set, frozenset)
_MOST_LOOKED_AT = 10_000
_IN_PLACE = ("copy", "copy_X", "copy_x")
"""Attributes of models of scikit-learn: where they are False, methods work in what they are given."""


class Checks(msgspec.Struct, frozen=True):
    """What the text of a cell, and what the notebook holds, say about its inputs.

    Args:
        plain: names that the cell only reads in ways that change nothing.
        lines: of the others, where code of unknown effect gets at them.
        trusts: two names and a kind: the second is no plain one, if the object of the first is not of that kind.
        written: names that the text changes or binds: no news, whether they come back or not.
        watched: names that the cell may bind anew as well as change, and what shares their first objects in the notebook.
        shared: names that travel, and the names of the notebook that share objects with them.
        passing: names that are bound by the way, by loops and ``with``.
        made: classes that the cell defines: they can come back.
    """

    plain: frozenset[str] = frozenset()
    lines: dict[str, tuple[int, ...]] = {}
    trusts: tuple[tuple[str, str, str], ...] = ()
    written: frozenset[str] = frozenset()
    watched: dict[str, tuple[str, ...]] = {}
    shared: dict[str, tuple[str, ...]] = {}
    passing: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()


class Watch:
    """One cell's inputs, as they are before it runs.

    Args:
        checks: what is known about them.
        namespace: where the cell will run.
        outputs: the names that come back.
        others: names that are no business of the notebook's: those that are deleted, and the worker's own.

    Attributes:
        unchecked: names that are too large to be looked at, each with its size in words.
    """

    def __init__(
        self, checks: Checks, namespace: dict[str, Any], outputs: tuple[str, ...], others: tuple[str, ...] = ()
    ) -> None:
        self._checks, self._outputs = checks, outputs
        doubted = {(first, kind) for first, _, kind in checks.trusts if first in namespace}
        doubted = {(first, kind) for first, kind in doubted if not is_what(namespace[first], kind)}
        self._doubted = {second for first, second, kind in checks.trusts if (first, kind) in doubted}
        self._before: dict[str, tuple[Any, bytes | None]] = {}
        self._bound: dict[str, Any] = {}
        self._classes: dict[str, tuple[Any, bytes | None]] = {}
        self.unchecked: dict[str, str] = {}
        said = checks.written | {*outputs, *others}
        values = {name: value for name, value in list(namespace.items()) if not is_dunder(name)}
        for name, value in values.items():
            if name not in said:
                self._bound[name] = value
            if name in others or is_a(value, type):
                continue
            if (name not in said or name in checks.watched) and _has_state(value) and self._is_touched(name, value):
                self._look(name, value, self._before)
        known_as = {id(value): name for name, value in values.items() if is_a(value, type)}
        for kind in classes_of(value for name, value in values.items() if name not in others):
            self._look(known_as.get(id(kind), kind.__name__), kind, self._classes)

    @property
    def looked_at(self) -> set[str]:
        """The names whose values are compared."""
        return {*self._before}

    def _is_touched(self, name: str, value: Any) -> bool:
        if name not in self._checks.plain or name in self._checks.watched:
            return True
        return name in self._doubted or not is_known(value)

    def _look(self, name: str, value: Any, where: dict[str, tuple[Any, bytes | None]]) -> None:
        size = size_of(_state(value) if is_a(value, type) else value, BOUND)
        if size > BOUND:
            self.unchecked[name] = _in_words(size)
        else:
            where[name] = value, fingerprint(value)

    def compare(self, namespace: dict[str, Any]) -> None:
        """Look again.

        Raises:
            HiddenMutation: something was changed, or bound anew by a function, that the text does not show.
        """
        missing = object()
        changed, classes = _changed(self._before), _changed(self._classes)
        for name, value in self._bound.items():
            now = namespace.get(name, missing)
            if now is not value and name not in changed and not _are_equal_atoms(now, value):
                changed.append(name)
        if changed or classes:
            lasting = [name for name in classes if name not in self._checks.made]
            names = sorted({*changed, *classes})
            lines = {line for name in names for line in self._checks.lines.get(name, ())}
            shared = {other for name in changed for other in self._checks.watched.get(name, ())}
            write = sorted({*self._outputs, *names, *shared})
            raise HiddenMutation(
                tuple(names), tuple(sorted(lines)), tuple(write), tuple(sorted(shared)), tuple(sorted(lasting))
            )


def _changed(looked_at: dict[str, tuple[Any, bytes | None]]) -> list[str]:
    return [name for name, (value, before) in looked_at.items() if before is not None and fingerprint(value) != before]


def _are_equal_atoms(one: Any, other: Any) -> bool:
    return type(one) is type(other) and type(one) in _ATOMS and repr(one) == repr(other)


def _in_words(size: int) -> str:
    """A number of bytes, for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


# --------------------------------------------------------------------------- what a value is


def can_change(value: Any) -> bool:
    """Whether an object can be changed in place: not so for numbers, text, modules, functions without state, plain classes."""
    kind = type(value)
    if kind in _ATOMS or is_a(value, ModuleType) or is_app(kind):
        return False
    if kind is tuple or kind is frozenset:
        return any(map(can_change, value))
    if kind is FunctionType or is_a(value, type):
        return any(map(can_change, _state(value)))
    return reference(value) is None


def _has_state(value: Any) -> bool:
    """Whether there is something to be changed in a value, or in what a function keeps: numbers of a closure, too."""
    return bool(_state(value)) if type(value) is FunctionType else can_change(value)


def classes_of(values: Iterable[Any]) -> list[type]:
    """The classes of the notebook among some values, and those of the objects among them, also in plain containers."""
    pending, left = list(values), _MOST_LOOKED_AT
    seen: set[int] = set()
    found: dict[type, None] = {}
    while pending and left > 0:
        item = pending.pop()
        kind = type(item)
        if kind in _ATOMS or id(item) in seen:
            continue
        seen.add(id(item))
        left -= 1
        if kind in _CONTAINERS or kind is dict:
            parts = item.values() if kind is dict else item
            left -= len(parts)
            if not {*map(type, parts)} <= {*_ATOMS}:
                pending.extend(parts)
            continue
        own = [part for part in (item if is_a(item, type) else kind).__mro__ if part.__module__ == "__main__"]
        found.update(dict.fromkeys(own))
        if own and not is_a(item, type):
            pending.extend(getattr(item, "__dict__", {}).values())
    return list(found)


def _state(code: Any) -> list[Any]:
    """What a function or class of the notebook holds besides code."""
    if reference(code) is not None:
        return []
    if is_a(code, type):
        held = [value for name, value in vars(code).items() if not is_dunder(name)]
        return [value for value in held if not hasattr(value, "__get__") and not is_a(value, type)]
    cells = [_content(cell) for cell in code.__closure__ or ()]
    held = [*cells, *(code.__defaults__ or ()), *(code.__kwdefaults__ or {}).values(), *vars(code).values()]
    return [value for value in held if type(value) is not FunctionType and not is_a(value, type)]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def is_dunder(name: str) -> bool:
    """Whether a name is one of Python's own."""
    return name.startswith("__") and name.endswith("__")


def is_known(value: Any) -> bool:
    """Whether an object, and what it holds, is of known libraries: reading it changes nothing."""
    home: object
    pending, left = [value], _MOST_LOOKED_AT
    seen: set[int] = set()
    while pending and left > 0:
        item = pending.pop()
        kind = type(item)
        if kind in _ATOMS or id(item) in seen:
            continue
        seen.add(id(item))
        left -= 1
        if is_a(item, ModuleType):
            home = item.__name__
        elif kind is FunctionType or is_a(item, type):
            home = item.__module__
        elif kind in _CONTAINERS or kind is dict:
            for part in (item, item.values()) if kind is dict else (item,):
                left -= len(part)
                if not {*map(type, part)} <= {*_ATOMS}:
                    pending.extend(part)
            continue
        else:
            home = kind.__module__
            adds = hasattr(kind, "__missing__") and kind.__name__ != "Counter"
            if adds or hasattr(kind, "__next__"):  # reading adds items, or takes them
                return False
        if not isinstance(home, str) or home.partition(".")[0].lstrip("_") not in LIBRARIES:
            return False
    return True


def is_what(value: Any, kind: str) -> bool:
    """Whether an object is what its methods' names were taken to say.

    Args:
        value: the object.
        kind: as in :data:`shoal_kernel.analysis.purity.LIBRARY`.
    """
    is_module = is_a(value, ModuleType)
    if (kind == MODULE and not is_module) or (kind == OBJECT and is_module):
        return False
    if kind in (INSTANCE, OBJECT) and is_a(value, type):
        return False
    held = getattr(value, "__dict__", None)
    if type(held) is dict and any(held.get(name) is False for name in _IN_PLACE):
        return False
    return is_known(value)


# --------------------------------------------------------------------------- how a value is


class _Sink:
    def __init__(self) -> None:
        self.sum = hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.sum.update(data)
        return len(data)


class _Looker(pickle.Pickler):
    """Writes plain containers as they are, and stands in for all else by digests."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__(sink, protocol=5)
        self._digester = Digester()
        self._met: set[int] = set()

    def reducer_override(self, obj: Any) -> Any:
        """What stands for an object that is no plain container."""
        if obj is _stands:
            return NotImplemented
        if is_a(obj, ModuleType) or is_app(type(obj)):
            return _stands, (type(obj).__name__,)
        if type(obj) is FunctionType or is_a(obj, type):
            known = id(obj) in self._met  # it may hold itself
            self._met.add(id(obj))
            return _stands, (obj.__qualname__, *(() if known else _state(obj)))
        try:
            return _stands, (self._digester.encode(obj),)
        except Undigestible:
            return _stands, (_pickled(obj),)


def _stands(*parts: Any) -> Any:
    """Named in what :class:`_Looker` writes, which nobody reads."""
    return parts


def _pickled(obj: Any) -> bytes:
    try:
        payload: Payload = pack(obj, "it")
    except NotPicklable:
        return b""  # nobody can tell
    return b"".join(bytes(part) for part in (payload.head, *payload.buffers))


def fingerprint(value: Any) -> bytes | None:
    """What tells whether a value was changed; None if that cannot be told."""
    sink = _Sink()
    try:
        _Looker(sink).dump(value)
    except RecursionError:  # nested too deep for pickle
        try:
            return Digester().encode(value)
        except Undigestible:
            return None
    return sink.sum.digest()
