"""A function as bytes, looked at again at each submission: never stale, and fast.

The code of notebook functions and what they capture are two blobs. A snapshot is taken at each submission: places that
hold what cannot change are compared by identity, values that may change are pickled again and their bytes compared. If all
is as it was, the snapshot is the same object as last time, and nothing needs to travel.
"""

from __future__ import annotations

import hashlib
import inspect
import marshal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from shoal.errors import NotPicklable
from shoal.serialize.codes import source_of
from shoal.serialize.layout import BASICS, CodeBlob, Target
from shoal.serialize.modules import is_installed, local
from shoal.serialize.pickling import Chunks, Pickler, attempt, refusal
from shoal.serialize.places import Changed, Kind, Place, Walk
from shoal.serialize.rebuild import fill, take_function
from shoal.serialize.reducers import is_app, load_cloudpickle

__all__ = ["FunctionImage", "ShoalWarning", "Snapshot"]

HEAVY = 1 << 20
"""Captured values that may change and take more bytes than this are worth a warning: each submission pickles them."""


class ShoalWarning(UserWarning):
    """Something works, but not as well as it could."""


class Snapshot:
    """A function as it was at one moment.

    Args:
        code_blob: the code of every notebook function that it reaches.
        captures_blob: the values that this code captures; empty if there are none.

    Attributes:
        code: digest of ``code_blob`` (16 bytes).
        captures: digest of ``captures_blob``; empty if there are none.
    """

    __slots__ = ("__weakref__", "captures", "captures_blob", "code", "code_blob")

    def __init__(self, code: bytes, code_blob: bytes, captures_blob: bytes) -> None:
        self.code, self.code_blob = code, code_blob
        self.captures_blob = captures_blob
        self.captures = _digest(captures_blob) if captures_blob else b""


class FunctionImage:
    """What workers need to run a function, always as of now.

    Args:
        function: anything that can be called; an app stands for its plain function.
        label: its name for people; default: its own.

    Attributes:
        function: the plain function.
        label: as given.
        notes: what others found out about the function; lives as long as the image, for it may hold what the function holds.
    """

    def __init__(self, function: Callable[..., Any], label: str | None = None) -> None:
        self.function: Callable[..., Any] = (
            function.__shoal_function__ if is_app(type(function)) else function  # type: ignore[attr-defined]
        )
        self.label = label or str(getattr(self.function, "__name__", type(self.function).__name__))
        self.notes: dict[Any, Any] = {}
        self._lock = threading.RLock()
        self._walk: Walk | None = None
        self._root: tuple[Place, ...] = ()
        self._loaded = self._version = -1
        self._last: Snapshot | None = None
        self._weighed = 0
        self._warned: set[str] = set()

    def parameters(self) -> tuple[str, ...]:
        """The names of its positional parameters; none where they cannot be told."""
        try:
            kinds = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):  # some callables of C tell nothing
            return ()
        return tuple(p.name for p in kinds if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))

    def snapshot(self) -> Snapshot:
        """The function as of now: the same object as last time if nothing has changed.

        Raises:
            NotPicklable: names the captured variable that cannot travel.
        """
        with self._lock:
            walk = self._walk
            # a module that was loaded since may be one that code reaches as an attribute of its package
            if walk is None or len(sys.modules) != self._loaded or local.refresh() != self._version:
                return self._look()
            if walk.same():
                if not walk.mutable:
                    return self._last  # type: ignore[return-value]
            elif not walk.update():
                return self._look()
            try:
                captures = self._capture(walk)
            except Changed:
                return self._look()
            if local.refresh() != self._version:
                return self._look()
            return self._publish(self._last.code_blob, captures)  # type: ignore[union-attr]

    # ------------------------------------------------------------------ looking

    def _look(self) -> Snapshot:
        """Walk all that the function reaches."""
        self._walk = None
        load_cloudpickle()
        walk = Walk(self.function)
        self._root = walk.needs(walk.places[0])
        captures = self._capture(walk)
        local.want(walk.imports)
        self._version = local.refresh()
        try:
            code_blob = marshal.dumps(_layout(walk, self._root), 2)  # version 2: equal code gives equal bytes
        except ValueError as error:
            what = f"the code of {self.label}"
            raise NotPicklable(what, "code", str(error), "write it as a plain function") from error
        walk.sealed = True
        self._loaded = len(sys.modules)
        self._walk = walk
        return self._publish(code_blob, captures)

    def _publish(self, code_blob: bytes, captures: bytes) -> Snapshot:
        last = self._last
        if last is None or code_blob != last.code_blob:
            self._last = Snapshot(_digest(code_blob), code_blob, captures)
        elif captures != last.captures_blob:
            self._last = Snapshot(last.code, last.code_blob, captures)
        return self._last  # type: ignore[return-value]

    # ------------------------------------------------------------------ captured values

    def _capture(self, walk: Walk) -> bytes:
        if not self._root:
            return b""
        captures, error = attempt(lambda: _dump(walk, tuple([place.value for place in self._root])))
        if captures is None:
            if isinstance(error, Changed):
                raise error
            raise self._culprit(walk, error) from error  # type: ignore[arg-type]
        if walk.mutable and len(captures) > max(HEAVY, 2 * self._weighed):
            self._weighed = len(captures)
            self._warn(walk)
        return captures

    def _culprit(self, walk: Walk, error: Exception) -> NotPicklable:
        """The error that names the variable at fault: the last that was reached is the nearest to it."""
        for place in reversed(walk.values):
            _, its_error = attempt(lambda value=place.value: _dump(walk, (value,)))  # type: ignore[misc]
            if its_error is not None:
                return refusal(its_error, self._describe(walk, place), type(place.value))
        return refusal(error, f"what {self.label} captures", tuple)

    def _describe(self, walk: Walk, place: Place) -> str:
        owner = walk.functions[place.owner] if place.owner >= 0 else None
        name = self.label
        if owner is not None and owner is not self.function:
            name = f"{owner.__qualname__} (which {self.label} uses)"
        if place.target is Target.ROOT:
            return f"the function {self.label}"
        if place.target is Target.KWDEFAULTS:
            return f"default of argument '{place.key}' of {name}"
        if place.target is Target.ANNOTATIONS:
            return f"annotation '{place.key}' of {name}"
        if place.target is Target.DICT:
            return f"attribute '{place.key}' of {name}"
        if place.target is Target.ATTRIBUTE:
            return _describe_default(walk, place, name) if owner is not None else name
        return f"variable '{place.key}' used by {name}"

    def _warn(self, walk: Walk) -> None:
        for place in self._root:
            what = self._describe(walk, place)
            if place.kind is not Kind.MUTABLE or what in self._warned:
                continue
            size = len(_dump(walk, (place.value,)))
            if size > HEAVY:
                self._warned.add(what)
                text = (
                    f"{what} takes {size / 1e6:.1f} MB and is pickled again at each submission, for it may have "
                    "changed. Load it inside the task, or let a task return it and pass that task's future."
                )
                warnings.warn(text, ShoalWarning, stacklevel=_level_of_user())


class _CapturePickler(Pickler):
    """Writes notebook functions as references to those of the code blob."""

    def function(self, function: FunctionType) -> Any:
        walk: Walk = self.context
        number = walk.number_of(function)
        needs = walk.closure(number)
        if not needs:
            return (take_function, (number,))
        state = (tuple([place.slot for place in needs]), tuple([place.value for place in needs]))
        return (take_function, (number,), state, None, None, fill)


def _dump(walk: Walk, values: tuple[Any, ...]) -> bytes:
    chunks = Chunks()
    pickler = _CapturePickler(chunks, 5)
    pickler.context = walk
    pickler.dump(values)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _describe_default(walk: Walk, place: Place, name: str) -> str:
    function = walk.functions[place.owner]
    if place.key == "__defaults__":
        code = function.__code__
        names = code.co_varnames[: code.co_argcount][-len(place.value) :]
        for argument, value in zip(names, place.value, strict=True):
            if attempt(lambda value=value: _dump(walk, (value,)))[1] is not None:  # type: ignore[misc]
                return f"default of argument '{argument}' of {name}"
    return f"attribute '{place.key}' of {name}"


def _level_of_user() -> int:
    """How far up the stack the first frame outside Shoal is, for ``warnings.warn`` in the caller."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "shoal":
        level, frame = level + 1, frame.f_back
    return level


# --------------------------------------------------------------------------- the code blob


def _layout(walk: Walk, root: Sequence[Place]) -> CodeBlob:
    namespaces = [_basics(namespace) for namespace in walk.namespaces]
    functions = [_recipe(walk, function, namespaces) for function in walk.functions]
    references, links = [], []
    for place in walk.places:
        spot = (int(place.target), place.index, place.key)
        if place.kind is Kind.REFERENCE:
            references.append((*spot, *place.data))
        elif place.kind in (Kind.FUNCTION, Kind.APP):
            links.append((*spot, place.data, place.kind is Kind.APP))
    pieces = []
    for function in walk.functions:
        code = function.__code__
        if not is_installed(code.co_filename) and (text := source_of(code, function.__globals__)):
            pieces.append((code.co_filename, code.co_firstlineno, text))
    return (
        str(sys.implementation.cache_tag),
        namespaces,
        len(walk.cells),
        functions,
        [(int(place.target), place.index, place.key) for place in walk.values],
        references,
        links,
        tuple([place.slot for place in root]),
        (list(walk.submodules), pieces, [tuple(source) for source in local.sources()]),
    )


def _basics(namespace: dict[str, Any]) -> dict[str, Any]:
    basics: dict[str, Any] = {}
    for name in BASICS:
        if name in namespace:
            value = namespace[name]
            if name == "__path__":
                value = [str(part) for part in value]
            if value is None or type(value) in (str, list):
                basics[name] = value
    return basics


def _recipe(walk: Walk, function: FunctionType, namespaces: list[dict[str, Any]]) -> tuple[Any, ...]:
    code = function.__code__
    namespace = walk.namespace_of(function)
    cells = tuple([walk.cell_number(cell) for cell in function.__closure__ or ()])
    kwdefaults, annotations, others = function.__kwdefaults__, function.__annotations__, function.__dict__
    dicts = None
    if kwdefaults is not None or annotations or others:
        dicts = (
            None if kwdefaults is None else tuple(kwdefaults),
            tuple(annotations) if annotations else None,
            tuple(others) if others else None,
        )
    plain = FunctionType(code, dict(namespaces[namespace]), function.__name__, None, function.__closure__)
    attributes = {
        name: getattr(function, name)
        for name in ("__qualname__", "__doc__", "__module__")
        if getattr(function, name) != getattr(plain, name) and isinstance(getattr(function, name), str | None)
    }
    return (code, namespace, function.__name__, cells, dicts, attributes or None)


def _digest(blob: bytes) -> bytes:
    return hashlib.blake2b(blob, digest_size=16).digest()
