"""How a node leaves its pool before its time is up: it takes nothing more, lets what runs end, and interrupts the rest."""

from __future__ import annotations

from collections.abc import Callable

from shoal.node.endings import Endings
from shoal.wire.starting import NodeRules

__all__ = ["Leaving"]

MARGIN = 1.0
"""Seconds between the end of what was interrupted and that of the block."""

EVERY = 0.1
"""Seconds between looks when all that is left is to see it end."""

_NEVER = float("inf")


class Leaving:
    """Watches the clock of a block.

    Args:
        rules: say how long it has.
        began: when it began, on a steady clock.
        endings: interrupts what runs when time is up.
        tell: is called once, with the reason, when nothing more is to begin here.
    """

    def __init__(self, rules: NodeRules, began: float, endings: Endings, tell: Callable[[str], None]) -> None:
        self._rules, self._endings, self._tell = rules, endings, tell
        limit = rules.walltime
        self._end = began + limit if limit else _NEVER
        self._drain = self._end - min(rules.drain_before, limit / 2) if limit else _NEVER
        self._reason = f"its block reaches its walltime of {limit:g} s"
        self._told = False
        self.terminated = False
        """Whether the batch system, or somebody, has asked this process to end."""

    def terminate(self, now: float) -> None:
        """SIGTERM has come: what runs has as long as before the end of a walltime."""
        if not self.terminated:
            self.terminated = True
            self._reason = "its block was asked to end (SIGTERM)"
            self._drain = now
            self._end = min(self._end, now + max(self._rules.drain_before, self._rules.grace + MARGIN))

    def wait(self, now: float) -> float:
        """Seconds until something is due, or is to be looked at; infinity if nothing is."""
        if self._end == _NEVER:
            return _NEVER
        due = (self._last() if self._told else self._drain) - now
        return due if due > 0.0 else EVERY if self._told else 0.0

    def look(self, now: float) -> bool:
        """Do what is due; True if this process has to end now."""
        if now < self._drain:
            return False
        if not self._told:
            self._told = True
            self._tell(self._reason)
        if now >= self._last():
            self._endings.end_all(self._reason, now)
        return now >= self._end

    def _last(self) -> float:
        return self._end - self._rules.grace - MARGIN
