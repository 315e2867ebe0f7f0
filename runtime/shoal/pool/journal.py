"""Where a pool writes its facts."""

from __future__ import annotations

from typing import Protocol

from shoal.events import Event

__all__ = ["Journal"]


class Journal(Protocol):
    """Takes facts; a :class:`shoal.record.log.LogWriter` is one."""

    def append(self, event: Event) -> None:
        """Take one fact. Never blocks."""
        ...
