"""Taking objects apart in steps: a generator yields each object within, is sent its encoding, and returns the whole."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

__all__ = ["Steps", "Undigestible", "each"]

Steps = Generator[Any, bytes, bytes]


def each(items: Iterable[Any]) -> Generator[Any, bytes, list[bytes]]:
    """The steps to the encodings of some objects, for ``yield from``."""
    parts = []
    for item in items:
        parts.append((yield item))  # noqa: PERF401 - a comprehension cannot yield
    return parts


class Undigestible(Exception):
    """An object has no digest of its content; becomes :class:`~shoal.errors.NotMemoizable` where its place is known.

    Args:
        type_name: its type.
        reason: why.
        what: where it was found, in the user's words; empty while unknown.
    """

    def __init__(self, type_name: str, reason: str, what: str = "") -> None:
        super().__init__(reason)
        self.type_name, self.reason, self.what = type_name, reason, what

    def at(self, what: str) -> Undigestible:
        """The same, found at ``what`` unless a nearer place is known."""
        return Undigestible(self.type_name, self.reason, self.what or what)
