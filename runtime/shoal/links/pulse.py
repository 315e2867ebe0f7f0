"""The pulse of a pool.

On the pool's own host its process is seen to end. From another host it can only be asked: where it has not answered for long,
a manager ends, so that no node is left with workers that nobody knows of, and a client gives it up.
"""

from __future__ import annotations

__all__ = ["Pulse"]

PART = 4
"""A pool is asked once it has been silent for this part of the limit."""

AWAY = 5.0
"""Longest time between two looks that is counted (seconds): a longer one was no silence, this process was stopped then."""


class Pulse:
    """When a pool was last heard.

    Args:
        limit: seconds of silence after which it counts as gone.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._silent = 0.0
        self._looked = 0.0

    @property
    def reason(self) -> str:
        """Why it counts as gone, for people."""
        return f"it has not answered for {self._limit:.0f} s"

    def heard(self) -> None:
        """Something came from it."""
        self._silent = 0.0

    def asks(self) -> bool:
        """Whether to ask it for an answer with this beat."""
        return self._silent * PART > self._limit

    def gone(self, now: float) -> bool:
        """Whether it has been silent for too long; to be asked at least every ``AWAY`` seconds.

        Args:
            now: on a steady clock.
        """
        if self._looked:
            self._silent += min(AWAY, now - self._looked)
        self._looked = now
        return self._silent > self._limit
