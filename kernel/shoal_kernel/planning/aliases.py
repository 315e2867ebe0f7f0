"""Which names of the notebook share an object: a change through one of them is a change of the others."""

from __future__ import annotations

import gc
import sys
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from shoal_kernel.analysis.effects import is_a
from shoal_kernel.worker.checks import can_change

__all__ = ["Sharers"]

_MOST = 10_000
"""Objects that are looked at to find what one name holds."""

_CONSTANTS = frozenset({type(None), bool, int, float, complex, str, bytes, range, slice, ModuleType})


class Sharers:
    """Finds the names of a notebook that share objects.

    Args:
        notebook: the notebook's variables.
        found: the user's own among them.
    """

    def __init__(self, notebook: Mapping[str, Any], found: Collection[str]) -> None:
        self._notebook = notebook
        # what IPython keeps of outputs (_3) is nobody's variable
        self._found = sorted(name for name in found if not name.startswith("_"))
        self._ids: dict[int, frozenset[int]] = {}

    def of(self, name: str, deep: bool) -> dict[str, str]:
        """The other names whose values change if that of ``name`` does.

        Args:
            name: a name of the notebook.
            deep: not just the object itself is changed, but what it holds.

        Returns:
            Each name, with the words for how it shares: ``are the same list``, ``share their memory`` ...
        """
        value = self._notebook[name]
        if not can_change(value):
            return {}
        base, told = _base(value), dict[str, str]()
        kind = type(value).__name__
        suspects = {id(value): sys.getrefcount(value) - _OWN_COUNTS, **(_held_elsewhere(value) if deep else {})}
        suspects = {key: more for key, more in suspects.items() if more > 0}
        if not suspects and base is None:
            return {}
        named = Counter(id(theirs) for other, theirs in self._notebook.items() if other != name)
        hidden = any(more > named[key] for key, more in suspects.items())  # held by what is no name
        inside = self._held(value) if deep and hidden else frozenset(suspects)
        for other in self._found:
            theirs = self._notebook[other]
            if other == name or type(theirs) in _CONSTANTS:
                continue
            if theirs is value:
                told[other] = f"are the same {kind}"
            elif base is not None and _base(theirs) is base:
                told[other] = "share their memory"
            elif id(theirs) in inside:
                if can_change(theirs):
                    told[other] = f"share an object, for '{name}' holds '{other}'"
            elif not hidden:
                continue
            elif id(value) in (held := self._held(theirs)):
                told[other] = f"share an object, for '{other}' holds '{name}'"
            elif deep and not inside.isdisjoint(held):
                told[other] = "share an object"
        return told

    def _held(self, container: Any) -> frozenset[int]:
        """The ids of what an object holds, and what that holds, and so on, so far as it can be changed."""
        key = id(container)
        if key not in self._ids:
            self._ids[key] = frozenset(map(id, _within(container)))
        return self._ids[key]


def _count(notebook: dict[str, Any]) -> int:
    value = notebook["value"]
    return sys.getrefcount(value)


_OWN_COUNTS = _count({"value": []})
"""The references to an object of which nobody knows but the variables of a notebook, as counted in a function."""


def _held_elsewhere(container: Any) -> dict[int, int]:
    """Of the objects within an object those that are held from outside of it, or twice from within: their ids, and how often more."""
    found: dict[int, int] = {}
    seen, pending, left = {id(container)}, [container], _MOST
    while pending and left > 0:
        parts = _parts(pending.pop())
        for part in parts:
            if type(part) in _CONSTANTS:
                continue
            left -= 1
            more = sys.getrefcount(part) - _OWN_COUNTS - 1  # its holder, and the list of parts
            if id(part) not in seen and left > 0:
                seen.add(id(part))
                pending.append(part)
                if more > 0 and can_change(part):
                    found[id(part)] = more
    return found


def _within(container: Any) -> Iterator[Any]:
    """The objects within an object; not those of more than :data:`_MOST`."""
    seen = {id(container)}
    pending, left = deque([container]), _MOST
    while pending and left > 0:
        for part in _parts(pending.popleft()):
            if type(part) in _CONSTANTS:
                continue
            left -= 1
            if id(part) not in seen and left > 0:
                seen.add(id(part))
                pending.append(part)
                if can_change(part):
                    yield part


def _parts(item: Any) -> list[Any]:
    """What an object holds: not the variables of functions, nor what is inside of objects of libraries that are no containers."""
    kind = type(item)
    if kind is dict:
        return list(item.values())
    if kind in (list, tuple, deque):
        return list(item)
    if kind is FunctionType:
        cells = [cell.cell_contents for cell in item.__closure__ or () if cell != type(cell)()]
        return [*cells, *(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values(), *vars(item).values()]
    if is_a(item, type):
        return list(vars(item).values()) if item.__module__ == "__main__" else []
    home = kind.__module__.partition(".")[0]
    if home in ("builtins", "collections", "functools", "itertools", "types"):
        return [part for part in gc.get_referents(item) if not isinstance(part, type)]
    if home in ("numpy", "pandas"):
        return _cells(item)
    held = getattr(item, "__dict__", None)
    return list(held.values()) if type(held) is dict and home in ("__main__", "sklearn") else []


def _cells(item: Any) -> list[Any]:
    """The objects in arrays, series and frames that hold such."""
    if hasattr(item, "dtypes") and hasattr(item, "iloc") and hasattr(item, "columns"):
        columns = [item.iloc[:, place] for place, kind in enumerate(item.dtypes) if str(kind) == "object"]
    else:
        columns = [item] if str(getattr(item, "dtype", "")) == "object" else []
    found: list[Any] = []
    for column in columns:
        values = column.to_numpy() if hasattr(column, "to_numpy") else column
        found += list(values.ravel()[:_MOST])
    return found


def _base(value: Any) -> Any:
    """The array whose memory an array looks at; None for what is no array."""
    if type(value).__module__ != "numpy" or not hasattr(value, "base"):
        return None
    while getattr(value, "base", None) is not None:
        value = value.base
    return value
