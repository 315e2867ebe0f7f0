"""Which parts of a stretch of memory are free: first fit, the lowest place first, so that what was used lately is used again."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["PAGE", "Space"]

PAGE = 4096
"""Places begin at multiples of this (bytes)."""


class Space:
    """A stretch of memory, handed out in pieces.

    Args:
        size: bytes.
    """

    def __init__(self, size: int) -> None:
        self._starts = [0]
        self.end = size - size % PAGE
        """Bytes in all."""
        self._sizes = [self.end]
        self.taken = 0
        """Bytes that are handed out."""

    def take(self, size: int) -> int | None:
        """A piece of at least ``size`` bytes: where it begins; None if there is none."""
        size = _whole(size)
        for index, free in enumerate(self._sizes):
            if free >= size:
                start = self._starts[index]
                if free == size:
                    del self._starts[index], self._sizes[index]
                else:
                    self._starts[index] += size
                    self._sizes[index] -= size
                self.taken += size
                return start
        return None

    def give_back(self, start: int, size: int) -> None:
        """A piece is free again.

        Args:
            start: where it begins.
            size: as it was asked for.
        """
        size = _whole(size)
        self.taken -= size
        starts, sizes = self._starts, self._sizes
        index = bisect_left(starts, start)
        if index < len(starts) and start + size == starts[index]:
            starts[index] = start
            sizes[index] += size
        else:
            starts.insert(index, start)
            sizes.insert(index, size)
        if index and starts[index - 1] + sizes[index - 1] == starts[index]:
            sizes[index - 1] += sizes[index]
            del starts[index], sizes[index]

    def keep_only(self, pieces: list[tuple[int, int]]) -> None:
        """Begin anew, with these pieces handed out and no others.

        Args:
            pieces: for each where it begins, and its size as it was asked for.
        """
        end = self.end
        starts, sizes, place = [], [], 0
        for start, size in sorted(pieces):
            if start > place:
                starts.append(place)
                sizes.append(start - place)
            place = start + _whole(size)
        if place < end:
            starts.append(place)
            sizes.append(end - place)
        self._starts, self._sizes = starts, sizes
        self.taken = end - sum(sizes)


def _whole(size: int) -> int:
    return -(-size // PAGE) * PAGE or PAGE
