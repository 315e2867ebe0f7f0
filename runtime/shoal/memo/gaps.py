"""Encodings with gaps, where futures stand in lists, tuples and dicts: once filled, they are those of the values themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from shoal.memo.digest import Futures
from shoal.memo.frames import bundle, flat, pairs
from shoal.serialize.reducers import is_future

__all__ = ["Gaps", "Part", "filled"]

_DEEPEST = 8
"""Futures further down are numbered by whoever encodes what they are in."""


class _Gapped(NamedTuple):
    """A list, tuple or dict with futures in it.

    Args:
        tag: its type.
        keys: encodings of a dict's keys.
        parts: its items, or its values.
    """

    tag: bytes
    keys: tuple[bytes, ...]
    parts: tuple[Part, ...]


Part = bytes | int | _Gapped
"""An encoding, the number of the future whose value's encoding comes here, or what has such parts."""


class _Loop(Exception):
    """Something contains itself."""


class Gaps:
    """Encodes values, and leaves gaps for futures.

    Args:
        encode: encodes what is no list, tuple, dict or future.
        futures: gets the futures that leave a gap, with their numbers.
    """

    def __init__(self, encode: Callable[[Any], bytes], futures: Futures) -> None:
        self._encode = encode
        self._futures = futures
        self._seen: dict[int, tuple[Any, Part | None]] = {}

    def part(self, value: Any) -> Part:
        """The encoding of a value; one that contains itself has no gaps."""
        try:
            return self._part(value, 0)
        except _Loop:
            return self._encode(value)

    def _part(self, value: Any, depth: int) -> Part:
        kind = type(value)
        if is_future(kind):
            return self._futures.setdefault(id(value), (len(self._futures), value))[0]
        if depth == _DEEPEST or (kind is not list and kind is not tuple and kind is not dict):
            return self._encode(value)
        whole = flat(value)
        if whole is not None:
            return whole
        if id(value) in self._seen:
            known = self._seen[id(value)][1]
            if known is None:
                raise _Loop
            return known
        self._seen[id(value)] = (value, None)
        keys = tuple(map(self._encode, value)) if kind is dict else ()
        parts = tuple([self._part(item, depth + 1) for item in (list(value.values()) if kind is dict else value)])
        made: Part = _Gapped(kind.__name__.encode(), keys, parts)
        if all(type(part) is bytes for part in parts):
            made = filled(made, ())
        self._seen[id(value)] = (value, made)
        return made


def filled(part: Part, values: Sequence[bytes], known: dict[int, bytes] | None = None) -> bytes:
    """The encoding without gaps.

    Args:
        part: with them.
        values: encodings of the futures' values, by number.
        known: what was filled before.
    """
    if isinstance(part, bytes):
        return part
    if isinstance(part, int):
        return values[part]
    known = {} if known is None else known
    whole = known.get(id(part))
    if whole is None:
        parts = [filled(inner, values, known) for inner in part.parts]
        whole = pairs(part.tag, part.keys, parts) if part.tag == b"dict" else bundle(part.tag, parts)
        known[id(part)] = whole
    return whole
