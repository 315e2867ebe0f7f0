"""Blobs that passed through: kept by digest, the least recently used dropped first."""

from __future__ import annotations

from typing import Any

__all__ = ["BlobStore"]


class BlobStore:
    """Holds blobs up to a number of bytes.

    Args:
        limit: bytes kept at most; a single larger blob is kept alone.
    """

    __slots__ = ("_blobs", "_limit", "_sizes", "nbytes")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blobs: dict[bytes, Any] = {}
        self._sizes: dict[bytes, int] = {}
        self.nbytes = 0

    def __contains__(self, digest: bytes) -> bool:
        """Whether the blob is here."""
        return digest in self._blobs

    def add(self, digest: bytes, data: Any) -> list[bytes]:
        """Keep a blob; returns the digests of those that had to go."""
        if digest in self._blobs:
            self.get(digest)
            return []
        self._blobs[digest] = data
        self._sizes[digest] = size = len(data)
        self.nbytes += size
        dropped = []
        while self.nbytes > self._limit and len(self._blobs) > 1:
            oldest = next(iter(self._blobs))
            del self._blobs[oldest]
            self.nbytes -= self._sizes.pop(oldest)
            dropped.append(oldest)
        return dropped

    def get(self, digest: bytes) -> Any:
        """The blob, now the most recently used; None if it is not here."""
        data = self._blobs.pop(digest, None)
        if data is not None:
            self._blobs[digest] = data
        return data
