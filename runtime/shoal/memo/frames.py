"""Bytes that stand for objects: typed, and framed so that no two different objects run together.

The *encoding* of an object is short: its bytes where they are few, their digest where they are many. Encodings are
prefix-free, so that those of a list's items may simply be joined.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["ATOMS", "blob", "bundle", "digest", "flat", "frame", "pairs"]

_INLINE = 64
"""Contents up to this many bytes stand as they are, longer ones as their digest."""

_NAN = b"not a number"
_double = struct.Struct(">d").pack


def digest(data: Any) -> bytes:
    """The 32 bytes that stand for ``data`` (bytes-like)."""
    return hashlib.blake2b(data, digest_size=32).digest()


def frame(tag: bytes, data: bytes) -> bytes:
    """``data`` under a tag, with its length."""
    return b"%b:%b%b" % (tag, len(data).to_bytes(8, "big"), data)


def blob(tag: bytes, data: bytes) -> bytes:
    """Contents of any length under a tag."""
    return frame(tag, data) if len(data) <= _INLINE else frame(tag + b"#", digest(data))


def bundle(tag: bytes, parts: Iterable[bytes]) -> bytes:
    """Encodings, in their order, under a tag."""
    return blob(tag, b"".join(parts))


def pairs(tag: bytes, keys: Iterable[bytes], values: Iterable[bytes]) -> bytes:
    """Pairs of encodings under a tag; their order makes no difference."""
    return bundle(tag, sorted([key + value for key, value in zip(keys, values, strict=True)]))


# --------------------------------------------------------------------------- what consists of nothing else


def _int(number: int) -> bytes:
    return blob(b"int", b"%x" % number)


def _float(number: float) -> bytes:
    # -0.0 is not 0.0 (1 / x tells), but one NaN is like another
    return frame(b"float", _double(number) if number == number else _NAN)


def _complex(number: complex) -> bytes:
    return frame(b"complex", _float(number.real) + _float(number.imag))


def _str(text: str) -> bytes:
    return blob(b"str", text.encode("utf-8", "surrogatepass"))


ATOMS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"None:",
    bool: lambda truth: b"True:" if truth else b"False:",
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    bytes: lambda data: blob(b"bytes", data),
    bytearray: lambda data: blob(b"bytearray", bytes(data)),
    type(Ellipsis): lambda _: b"Ellipsis:",
    type(NotImplemented): lambda _: b"NotImplemented:",
}
"""How to encode what holds no other objects, by exact type."""


def flat(obj: Any) -> bytes | None:
    """The encoding of a plain container that holds nothing but atoms; None for all else."""
    kind = type(obj)
    if kind is tuple or kind is list:
        parts = _atoms(obj)
        return None if parts is None else bundle(kind.__name__.encode(), parts)
    if kind is dict:
        keys, values = _atoms(obj), _atoms(obj.values())
        return None if keys is None or values is None else pairs(b"dict", keys, values)
    if kind is set or kind is frozenset:
        parts = _atoms(obj)
        return None if parts is None else bundle(kind.__name__.encode(), sorted(parts))
    return None


def _atoms(items: Iterable[Any]) -> list[bytes] | None:
    parts = []
    for item in items:
        encode = ATOMS.get(type(item))
        if encode is None:
            return None
        parts.append(encode(item))
    return parts
