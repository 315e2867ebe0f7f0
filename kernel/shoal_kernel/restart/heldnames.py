"""What variables of the notebook hold of futures: told so that another kernel can give them the like. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.events import HeldName
from shoal.futures import DataFuture, OutputFuture, ValueFuture

__all__ = ["Signature", "filled", "held_by", "signature_of", "told"]

Signature = tuple[Any, ...]
"""Tells whether a variable holds the futures that it held."""

_MOST = 10_000
"""Futures in one list, tuple or dict that are told, at most."""

_KINDS: dict[type, str] = {list: "list", tuple: "tuple", dict: "dict"}


def signature_of(value: object, owner: object) -> Signature | None:
    """What a variable holds, if it is a future, or a list, tuple or dict of futures and nothing else; else None.

    Args:
        value: of the variable.
        owner: whose futures count.
    """
    if isinstance(value, ValueFuture):
        return ("future", _place(value)) if _is_of(value, owner) else None
    kind = _KINDS.get(type(value))
    if kind is None or not value or len(value) > _MOST:  # type: ignore[arg-type]
        return None
    parts: Sequence[Any] = list(value.values()) if isinstance(value, dict) else value  # type: ignore[assignment]
    if not all(_is_of(part, owner) for part in parts):
        return None
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            return None
        return (kind, *map(_place, parts), *value)
    return (kind, *map(_place, parts))


def told(name: str, value: Any, elements: tuple[Sequence[ValueFuture[Any]], Sequence[str]] | None = None) -> HeldName:
    """What a variable holds, for the run's log.

    Args:
        name: the variable.
        value: its value, which has a signature.
        elements: if it is the list of the values of others: these, and what tells each from the others; empty where nothing does.
    """
    if elements is not None:
        return HeldName(name, "elements", [_place(value), *map(_place, elements[0])], list(elements[1]))
    if isinstance(value, ValueFuture):
        return HeldName(name, "future", [_place(value)])
    if isinstance(value, dict):
        return HeldName(name, "dict", [_place(future) for future in value.values()], list(value))
    return HeldName(name, _KINDS[type(value)], [_place(future) for future in value])


def filled(held: HeldName, future: Callable[[tuple[int, int]], ValueFuture[Any]]) -> Any:
    """The value of a variable anew; of ``elements`` the list of their futures, for the list of their values is made anew.

    Args:
        held: what it held.
        future: gives the future in the place of one.
    """
    futures = [future(place) for place in (held.futures[1:] if held.kind == "elements" else held.futures)]
    if held.kind == "future":
        return futures[0]
    if held.kind == "dict":
        return dict(zip(held.keys, futures, strict=True))
    return tuple(futures) if held.kind == "tuple" else futures


def _is_of(value: object, owner: object) -> bool:
    """Whether a value is a future of that owner; those of promised files have no place of their own at the pool."""
    return isinstance(value, ValueFuture) and value.owner is owner and not isinstance(value, DataFuture)


def _place(future: ValueFuture[Any]) -> tuple[int, int]:
    if isinstance(future, OutputFuture):
        return future.tid, future.index
    return future.tid, -1


def held_by(notebook: Mapping[str, Any], owner: object) -> dict[str, Signature]:
    """The variables that hold futures, each with its signature; what IPython keeps of outputs is left out."""
    found = {}
    for name, value in list(notebook.items()):
        if not name.startswith("_"):
            signature = signature_of(value, owner)
            if signature is not None:
                found[name] = signature
    return found
