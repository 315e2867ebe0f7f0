"""How much nonsense a pool takes from one sender before it stops listening."""

from __future__ import annotations

__all__ = ["PATIENCE", "Manners"]

PATIENCE = 8
"""Messages of one sender that may be none, or not for the door where they came, before it is ignored."""

_MOST = 1024
"""Senders remembered at most."""


class Manners:
    """Counts what was no message, in all and by sender."""

    def __init__(self) -> None:
        self.malformed = 0
        """How many there were."""
        self._by_sender: dict[bytes, int] = {}

    def note(self, sender: bytes) -> bool:
        """There was another one from this sender; returns whether it is to be ignored from now on.

        Args:
            sender: its identity at the door.
        """
        self.malformed += 1
        times = self._by_sender.pop(sender, 0) + 1
        if times >= PATIENCE:
            return True
        self._by_sender[sender] = times  # now the last to be forgotten
        if len(self._by_sender) > _MOST:
            del self._by_sender[next(iter(self._by_sender))]
        return False
