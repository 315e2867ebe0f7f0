"""About how large a value is, told in a moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from shoal_kernel.analysis.effects import is_a

__all__ = ["size_of"]

_SAMPLE = 200
_DEEPEST = 8
_MOST = 5_000
_SMALL = 8
"""Bytes that a number counts for."""


def size_of(value: Any, enough: int) -> int:
    """About how many bytes of content a value has.

    Args:
        value: anything. Of long containers a sample is looked at.
        enough: the caller does not care how much more than this it is.
    """
    return int(_Sizer(enough).of(value, 0))


class _Sizer:
    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._seen: set[int] = set()

    def of(self, value: Any, depth: int) -> float:
        kind = type(value)
        if kind in (str, bytes, bytearray, memoryview):
            return len(value)
        if kind in (int, float, bool, type(None), complex):
            return _SMALL
        if depth > _DEEPEST or id(value) in self._seen or len(self._seen) > _MOST:
            return _SMALL
        self._seen.add(id(value))
        if is_a(value, dict):
            return self._parts(value.keys(), depth) + self._parts(value.values(), depth)
        if is_a(value, (list, tuple, set, frozenset)):
            return self._parts(value, depth)
        return self._object(value, depth)

    def _parts(self, parts: Collection[Any], depth: int) -> float:
        count = len(parts)
        if isinstance(parts, Sequence) and count > _SAMPLE:
            looked_at = list(parts[:: count // _SAMPLE])
        else:
            looked_at = list(islice(parts, _SAMPLE))
        total = 0.0
        for part in looked_at:
            total += self.of(part, depth + 1)
            if total > self._enough:
                return total
        return total * count / max(1, len(looked_at)) + _SMALL

    def _object(self, value: Any, depth: int) -> float:
        home = str(type(value).__module__).partition(".")[0]
        if home == "pandas" and type(value).__name__ == "DataFrame":
            return float(value.memory_usage().sum())
        if home == "polars" and hasattr(value, "estimated_size"):
            return float(value.estimated_size())
        if home not in ("__main__", "builtins"):
            nbytes = getattr(value, "nbytes", None)
            if isinstance(nbytes, int):
                return nbytes
        held = getattr(value, "__dict__", None)
        return self.of(held, depth + 1) if type(held) is dict else _SMALL
