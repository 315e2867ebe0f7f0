"""The walk: all that a function reaches, where it reaches it, and what each place holds.

The walk begins at a function and follows what is *notebook code*: functions that cannot be imported where they would
arrive. It notes every place that such code reads (global names, closure cells, defaults, attributes) and holds on to what
was there. :meth:`Walk.same` then tells in a fraction of a microsecond for each place whether anything was rebound since.
"""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Iterator
from enum import Enum
from types import CellType, FunctionType, GenericAlias, ModuleType, UnionType
from typing import Any

from shoal.serialize.classes import parts_of_class, state_of_class
from shoal.serialize.codes import CodeFacts, facts_of
from shoal.serialize.layout import BASICS, Target
from shoal.serialize.reducers import is_app
from shoal.serialize.references import meet, reference

__all__ = ["MISSING", "Changed", "Kind", "Place", "Walk", "contents"]

MISSING: Any = object()
"""Stands for a name that is not bound, or a cell that is empty."""

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), type(NotImplemented)})
_names_of = operator.attrgetter("__name__", "__qualname__", "__doc__", "__module__")


class Changed(Exception):
    """Something was found that only a new walk can take in."""


class Kind(Enum):
    """What a place holds."""

    MISSING = "nothing"
    BASIC = "a basic name of its namespace"
    REFERENCE = "something importable"
    FUNCTION = "a notebook function"
    APP = "an app"
    STABLE = "a value that cannot change"
    MUTABLE = "a value that may change without being rebound"


VALUES = (Kind.STABLE, Kind.MUTABLE)


class Place:
    """Somewhere that notebook code reads.

    Attributes:
        target, index, key: where it is, see :mod:`shoal.serialize.layout`.
        holder: the dict or cell that it is in; None where its function vouches for it.
        owner: the number of the function that was found to read it first.
        value: what it held.
        kind, data: what that is; for a function its number, for something importable its names.
        slot: its number among the places of values; -1 for others.
        row: its number among what is checked in a dict, or in a cell.
    """

    __slots__ = ("data", "holder", "index", "key", "kind", "owner", "row", "slot", "target", "value")

    def __init__(self, target: Target, index: int, key: str, holder: Any, owner: int) -> None:
        self.target, self.index, self.key, self.holder, self.owner = target, index, key, holder, owner
        self.value: Any = MISSING
        self.kind = Kind.MISSING
        self.data: Any = None
        self.slot = self.row = -1

    def now(self) -> Any:
        """What it holds now."""
        if type(self.holder) is CellType:
            return contents(self.holder)
        return self.value if self.holder is None else self.holder.get(self.key, MISSING)


class Walk:
    """What a function reaches.

    Args:
        root: the function, or anything else that can be called.

    Attributes:
        functions: the notebook functions, by number.
        reads: for each function, the places that it reads.
        namespaces, cells: those that they share, by number.
        places: all places, the root first.
        values: the places whose values travel as captures.
        mutable: whether any of those may change without being rebound.
        submodules: modules that code reaches as attributes of packages.
        imports: modules that code imports while it runs.
    """

    def __init__(self, root: Any) -> None:
        self.functions: list[FunctionType] = []
        self.reads: list[list[Place]] = []
        self.namespaces: list[dict[str, Any]] = []
        self.cells: list[CellType] = []
        self.places: list[Place] = []
        self.values: list[Place] = []
        self.mutable = False
        self.sealed = False
        self.submodules: dict[str, None] = {}
        self.imports: dict[str, None] = {}
        self._numbers: dict[int, int] = {}
        self._namespace_numbers: dict[int, int] = {}
        self._cell_numbers: dict[int, int] = {}
        self._by_spot: dict[tuple[int, int, str], Place] = {}
        self._queue: deque[int] = deque()
        self._closures: dict[int, tuple[Place, ...]] = {}
        # what same() looks at
        self._in_dicts: list[tuple[dict[str, Any], str, Any]] = []
        self._in_cells: list[tuple[CellType, Any]] = []
        self._function_states: list[tuple[Any, ...]] = []
        self._apps: list[tuple[Any, Any]] = []
        self._classes: list[tuple[type, tuple[Any, ...], list[Any]]] = []
        self._judged: dict[int, bool] = {}
        self._place(Target.ROOT, 0, "", None, -1, root)
        self._drain()

    # ------------------------------------------------------------------ looking again

    def same(self) -> bool:
        """Whether every place holds the very object that it held, and every function is as it was."""
        for holder, key, value in self._in_dicts:
            if holder.get(key, MISSING) is not value:
                return False
        for cell, value in self._in_cells:
            try:
                if cell.cell_contents is not value:
                    return False
            except ValueError:
                if value is not MISSING:
                    return False
        for f, code, defaults, kwdefaults, kwsize, attributes, size, notes, noted, names in self._function_states:
            if (
                f.__code__ is not code
                or f.__defaults__ is not defaults
                or f.__kwdefaults__ is not kwdefaults
                or (kwdefaults is not None and len(kwdefaults) != kwsize)
                or f.__dict__ is not attributes
                or len(attributes) != size
                or f.__annotations__ is not notes
                or len(notes) != noted
                or _names_of(f) != names
            ):
                return False
        for app, function in self._apps:
            if app.__shoal_function__ is not function:
                return False
        for cls, state, _ in self._classes:  # noqa: SIM110 - all() over a generator takes three times as long
            if state_of_class(cls) != state:
                return False
        return True

    def update(self) -> bool:
        """Take in values that were rebound to values; False if more than that has changed."""
        if not all(self._judged.values()):
            return False  # classes that mention each other were judged together
        try:
            for place in self.places:
                value = place.now()
                if value is place.value:
                    continue
                kind, data = self._classify(value)
                if place.kind not in VALUES or kind not in VALUES:
                    return False
                place.value, place.kind, place.data = value, kind, data
                if place.target is Target.CELL:
                    self._in_cells[place.row] = (place.holder, value)
                else:
                    self._in_dicts[place.row] = (place.holder, place.key, value)
        except Changed:
            return False
        self.mutable = any(place.kind is Kind.MUTABLE for place in self.values)
        return self.same()

    # ------------------------------------------------------------------ asking

    def namespace_of(self, function: FunctionType) -> int:
        """The number of a walked function's namespace."""
        return self._namespace_numbers[id(function.__globals__)]

    def cell_number(self, cell: CellType) -> int:
        """The number of a walked cell."""
        return self._cell_numbers[id(cell)]

    def number_of(self, function: FunctionType) -> int:
        """The number of a notebook function, which is walked if it is new.

        Raises:
            Changed: it is new, and this walk is sealed.
        """
        number = self._add(function)
        self._drain()
        return number

    def needs(self, place: Place) -> tuple[Place, ...]:
        """The places of values that must be filled before what ``place`` holds can be used."""
        if place.kind in (Kind.FUNCTION, Kind.APP):
            return self.closure(place.data)
        return (place,) if place.kind in VALUES else ()

    def closure(self, number: int) -> tuple[Place, ...]:
        """The places of values that a function reads, itself or through functions that it reaches by name."""
        known = self._closures.get(number)
        if known is None:
            found: dict[Place, None] = {}
            seen, queue = {number}, deque([number])
            while queue:
                for place in self.reads[queue.popleft()]:
                    if place.kind in VALUES:
                        found[place] = None
                    elif place.kind in (Kind.FUNCTION, Kind.APP) and place.data not in seen:
                        seen.add(place.data)
                        queue.append(place.data)
            known = self._closures[number] = tuple(found)
        return known

    # ------------------------------------------------------------------ walking

    def _drain(self) -> None:
        while self._queue:
            self._visit(self._queue.popleft())

    def _add(self, function: FunctionType) -> int:
        number = self._numbers.get(id(function))
        if number is None:
            if self.sealed:
                raise Changed
            number = self._numbers[id(function)] = len(self.functions)
            self.functions.append(function)
            self.reads.append([])
            self._queue.append(number)
        return number

    def _visit(self, number: int) -> None:
        f = self.functions[number]
        facts = facts_of(f.__code__)
        space = _numbered(f.__globals__, self._namespace_numbers, self.namespaces)
        attributes, annotations, kwdefaults = f.__dict__, f.__annotations__, f.__kwdefaults__
        state = (attributes, len(attributes), annotations, len(annotations), _names_of(f))
        kwsize = len(kwdefaults or ())
        self._function_states.append((f, f.__code__, f.__defaults__, kwdefaults, kwsize, *state))
        for name in facts.globals:
            self._place(Target.NAMESPACE, space, name, f.__globals__, number, f.__globals__.get(name, MISSING))
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            index = _numbered(cell, self._cell_numbers, self.cells)
            self._place(Target.CELL, index, name, cell, number, contents(cell))
        for name, value in _odd_attributes(f):
            self._place(Target.ATTRIBUTE, number, name, None, number, value)
        for target, holder in (
            (Target.KWDEFAULTS, kwdefaults),
            (Target.ANNOTATIONS, annotations),
            (Target.DICT, attributes),
        ):
            for name, value in list((holder or {}).items()):
                self._place(target, number, name, holder, number, value)
        self.imports.update(dict.fromkeys(facts.imports))
        self._find_submodules(self.reads[number], facts)

    def _place(self, target: Target, index: int, key: str, holder: Any, owner: int, value: Any) -> Place:
        spot = (target.value, index, "" if target is Target.CELL else key)
        place = self._by_spot.get(spot)
        if place is None:
            place = self._by_spot[spot] = Place(target, index, key, holder, owner)
            self.places.append(place)
            place.value = value
            if target is Target.NAMESPACE and key in BASICS and value is not MISSING:
                place.kind = Kind.BASIC
            else:
                place.kind, place.data = self._classify(value)
            if place.kind in VALUES:
                place.slot = len(self.values)
                self.values.append(place)
                self.mutable = self.mutable or place.kind is Kind.MUTABLE
            if target is Target.CELL:
                place.row = len(self._in_cells)
                self._in_cells.append((holder, value))
            elif holder is not None:
                place.row = len(self._in_dicts)
                self._in_dicts.append((holder, key, value))
        if owner >= 0:
            self.reads[owner].append(place)
        return place

    def _classify(self, value: Any) -> tuple[Kind, Any]:
        kind = type(value)
        if kind in _ATOMS:
            return Kind.STABLE, None
        if value is MISSING:
            return Kind.MISSING, None
        if is_app(kind):
            return self._classify_app(value)
        names = reference(value)
        if names is not None:
            return Kind.REFERENCE, names
        if kind is FunctionType:
            return Kind.FUNCTION, self._add(value)
        if self._is_stable(value):
            return Kind.STABLE, None
        return Kind.MUTABLE, None

    def _classify_app(self, app: Any) -> tuple[Kind, Any]:
        function = app.__shoal_function__
        if type(function) is not FunctionType or reference(function) is not None:
            return Kind.MUTABLE, None
        number = self._add(function)
        self._apps.append((app, function))
        return Kind.APP, number

    def _is_stable(self, value: Any) -> bool:
        """Whether a value consists of what cannot change; notebook functions in it are walked."""
        kind = type(value)
        if kind in _ATOMS:
            return True
        if kind is tuple or kind is frozenset:
            return all(map(self._is_stable, value))
        if kind in (GenericAlias, UnionType) or (kind.__module__ == "typing" and hasattr(value, "__args__")):
            return all(map(self._is_stable, value.__args__))  # annotations
        if reference(value) is not None:
            return True
        if kind is FunctionType:
            self._add(value)
            return True
        return kind is type and self._is_stable_class(value)

    def _is_stable_class(self, cls: type) -> bool:
        """Whether a notebook class consists of functions and of what cannot change; then it is followed from here on."""
        known = self._judged.get(id(cls))
        if known is None:
            self._judged[id(cls)] = True  # while its parts are looked at, which may mention it
            known = self._judged[id(cls)] = all(map(self._is_stable, parts_of_class(cls)))
            if known:
                # an id means something only while what it is of is alive
                self._classes.append(
                    (cls, state_of_class(cls), [*vars(cls).values(), *parts_of_class(cls), cls.__bases__])
                )
        return known

    def _find_submodules(self, places: list[Place], facts: CodeFacts) -> None:
        """Note the loaded submodules that code may reach as attributes of a package, as in ``concurrent.futures``."""
        queue = [place.value.__name__ for place in places if isinstance(place.value, ModuleType)]
        for package in queue:
            for name in sorted(facts.names):
                module = f"{package}.{name}"
                if module in sys.modules and module not in queue:
                    self.submodules[module] = None
                    meet(module)
                    queue.append(module)


def contents(cell: CellType) -> Any:
    """What a closure cell holds; MISSING if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _numbered(item: Any, numbers: dict[int, int], items: list[Any]) -> int:
    number = numbers.setdefault(id(item), len(items))
    if number == len(items):
        items.append(item)
    return number


def _odd_attributes(f: FunctionType) -> Iterator[tuple[str, Any]]:
    """Attributes of a function that need a place of their own: defaults, and what is no string where one is expected."""
    if f.__defaults__ is not None:
        yield "__defaults__", f.__defaults__
    for name in ("__doc__", "__module__"):
        value = getattr(f, name)
        if value is not None and type(value) is not str:
            yield name, value
    parameters = getattr(f, "__type_params__", ())
    if parameters:
        yield "__type_params__", parameters
