"""The diary of a worker: which attempts it has begun lately, on memory that outlives it and its manager.

A worker notes each attempt before it begins it, in a ring of places behind one another. Where a manager has been killed, its
pool reads there what has begun on that node, and what has not.
"""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["DIARY_SIZE", "ENTRY", "PLACES", "read_diary"]

ENTRY = struct.Struct("<QQQ")
"""Client, task and attempt."""

PLACES = 1280
"""More than a worker can have begun without its pool having heard of it: it has at most 512 attempts at a time, and may get as
many once more before its manager has handed on the results of the first."""

DIARY_SIZE = 8 * 4096
"""Bytes that a diary has room for."""

assert PLACES * ENTRY.size <= DIARY_SIZE


def read_diary(data: Any) -> set[tuple[int, int, int]]:
    """The attempts in a diary: ``(client, tid, attempt)`` each.

    Args:
        data: its memory (bytes-like), from its beginning.
    """
    entries = ENTRY.iter_unpack(memoryview(data)[: PLACES * ENTRY.size])
    return {entry for entry in entries if entry[2]}  # attempts count from 1: a zero is a place that was never used
