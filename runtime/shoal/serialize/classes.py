"""Notebook classes: whether they can be followed without pickling them each time."""

from __future__ import annotations

from collections.abc import Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

__all__ = ["parts_of_class", "state_of_class"]

_PASSED_OVER = (GetSetDescriptorType, MemberDescriptorType)
"""What Python itself puts into a class: ``__dict__``, ``__weakref__``, slots."""


def parts_of_class(cls: type) -> Iterator[Any]:
    """What a class consists of, wrappers taken off: its bases, its functions, its values, its annotations."""
    yield from cls.__bases__
    for name, value in cls.__dict__.items():
        kind = type(value)
        if kind in _PASSED_OVER or name == "__slotnames__":
            continue
        if kind is property:
            yield from (value.fget, value.fset, value.fdel, value.__doc__)
        elif kind is staticmethod or kind is classmethod:
            yield value.__func__
        elif name == "__annotations__" and kind is dict:
            yield from value.values()
        else:
            yield value


def state_of_class(cls: type) -> tuple[Any, ...]:
    """What tells whether a class is as it was, by the identity of all that it holds. Who keeps it must keep those alive."""
    members = cls.__dict__
    annotations = members.get("__annotations__")
    notes = (*annotations, *map(id, annotations.values())) if type(annotations) is dict else None
    return (cls.__name__, cls.__qualname__, id(cls.__bases__), *members, *map(id, members.values()), notes)
