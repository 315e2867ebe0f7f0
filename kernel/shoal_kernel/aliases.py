"""Which names of the notebook share an object: a change through one of them is a change of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from shoal_kernel.checks import can_change

__all__ = ["sharers"]

_LONGEST = 100_000
"""Items of a container up to which it is searched."""


def sharers(name: str, notebook: Mapping[str, Any], found: Collection[str], deep: bool) -> dict[str, str]:
    """The other names whose values change if that of ``name`` does.

    Args:
        name: a name of the notebook.
        notebook: the notebook's variables.
        found: the user's own among them.
        deep: not just the object itself is changed, but what it holds.

    Returns:
        Each name, with the words for how it shares: ``is the same list``, ``holds it``, ``is held in it``.
    """
    value = notebook[name]
    if not can_change(value):
        return {}
    base = _base(value)
    told: dict[str, str] = {}
    for other in sorted(found):
        if other == name or other.startswith("_"):  # what IPython keeps of outputs is nobody's variable
            continue
        theirs = notebook[other]
        if theirs is value:
            told[other] = f"are the same {type(value).__name__}"
        elif base is not None and _base(theirs) is base:
            told[other] = "share their memory"
        elif _holds(theirs, value):
            told[other] = f"share an object, for '{other}' holds '{name}'"
        elif deep and _holds(value, theirs) and can_change(theirs):
            told[other] = f"share an object, for '{name}' holds '{other}'"
    return told


def _holds(container: Any, value: Any) -> bool:
    if isinstance(container, list | tuple):
        return len(container) <= _LONGEST and any(item is value for item in container)
    if isinstance(container, dict):
        return len(container) <= _LONGEST and any(item is value for item in container.values())
    kept = getattr(type(container), "__dictoffset__", 0) and type(container).__module__ == "__main__"
    return bool(kept) and any(item is value for item in vars(container).values())


def _base(value: Any) -> Any:
    """The array whose memory an array looks at; None for what is no array."""
    if type(value).__module__ != "numpy" or not hasattr(value, "base"):
        return None
    while getattr(value, "base", None) is not None:
        value = value.base
    return value
