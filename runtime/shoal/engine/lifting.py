"""Items and attributes of values that are not there yet."""

from __future__ import annotations

import operator
import reprlib
from typing import Any

from shoal.executors.executor import Call
from shoal.futures import ValueFuture
from shoal.outcome import clean
from shoal.serialize import FunctionImage

__all__ = ["lifted"]

_OPERATIONS = {"item": FunctionImage(operator.getitem, "item"), "attribute": FunctionImage(getattr, "attribute")}

_LONGEST = 60
"""Characters of the name of an attribute that are shown."""


def lifted(future: ValueFuture[Any], operation: str, key: Any) -> Call:
    """The call that takes an item or an attribute of a future's value."""
    image = _OPERATIONS[operation]
    shown = f"[{reprlib.repr(key)}]" if operation == "item" else f".{key[:_LONGEST]}"
    return Call(image.function, image, (future, key), {}, clean(future.label + shown), ())
