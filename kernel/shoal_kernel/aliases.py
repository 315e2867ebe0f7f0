"""Which names of the notebook share an object: a change through one of them is a change of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from shoal_kernel.checks import can_change

__all__ = ["Sharers"]

_SHORT = 1_000
"""Items of a container from which on it is searched only if a sample of it holds more than constants."""

_CONSTANTS = {type(None), bool, int, float, complex, str, bytes}


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
        base = _base(value)
        told: dict[str, str] = {}
        for other in self._found:
            theirs = self._notebook[other]
            if other == name:
                continue
            if theirs is value:
                told[other] = f"are the same {type(value).__name__}"
            elif base is not None and _base(theirs) is base:
                told[other] = "share their memory"
            elif id(value) in self._held(theirs):
                told[other] = f"share an object, for '{other}' holds '{name}'"
            elif deep and id(theirs) in self._held(value) and can_change(theirs):
                told[other] = f"share an object, for '{name}' holds '{other}'"
        return told

    def _held(self, container: Any) -> frozenset[int]:
        """The ids of what a container of plain type, or an object of the user's own, holds at its top."""
        key = id(container)
        if key not in self._ids:
            self._ids[key] = frozenset(map(id, _items(container)))
        return self._ids[key]


def _items(container: Any) -> Collection[Any]:
    if isinstance(container, dict):
        items: Collection[Any] = container.values()
    elif isinstance(container, list | tuple):
        items = container
    elif type(container).__module__ == "__main__" and hasattr(container, "__dict__"):
        items = vars(container).values()
    else:
        return ()
    if len(items) > _SHORT and set(map(type, islice(items, _SHORT))) <= _CONSTANTS:
        return ()
    return items


def _base(value: Any) -> Any:
    """The array whose memory an array looks at; None for what is no array."""
    if type(value).__module__ != "numpy" or not hasattr(value, "base"):
        return None
    while getattr(value, "base", None) is not None:
        value = value.base
    return value
