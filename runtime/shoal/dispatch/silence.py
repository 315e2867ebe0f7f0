"""Who has been silent for too long.

Managers are kept in the order in which they were last heard, so that only those that are silent are looked at.
"""

from __future__ import annotations

from collections import OrderedDict

from shoal.dispatch.attempts import Manager

__all__ = ["Silence"]


class Silence:
    """All managers of a pool, those that were heard last at the end.

    Args:
        suspect_after, lost_after: seconds of silence that make a manager quiet, and lost.
    """

    __slots__ = ("_fresh", "_quiet", "lost_after", "suspect_after")

    def __init__(self, suspect_after: float, lost_after: float) -> None:
        self.suspect_after = suspect_after
        self.lost_after = lost_after
        self._fresh: OrderedDict[int, Manager] = OrderedDict()
        self._quiet: OrderedDict[int, Manager] = OrderedDict()

    def add(self, manager: Manager) -> None:
        """A manager is there, and was heard just now."""
        self._fresh[manager.number] = manager

    def remove(self, manager: Manager) -> None:
        """A manager is gone."""
        self._fresh.pop(manager.number, None)
        self._quiet.pop(manager.number, None)

    def heard(self, manager: Manager, clock: float) -> None:
        """A manager gave a sign of life; ``clock`` in seconds, and never lower than before."""
        manager.heard = clock
        number = manager.number
        if self._quiet and self._quiet.pop(number, None) is not None:
            self._fresh[number] = manager
        else:
            self._fresh.move_to_end(number)

    def lost(self, clock: float) -> list[Manager]:
        """Those that have been silent for too long altogether, the longest first."""
        return [*_silent(self._quiet, clock - self.lost_after), *_silent(self._fresh, clock - self.lost_after)]

    def quiet(self, clock: float) -> list[Manager]:
        """Those that have been silent for too long to get tasks, and were not when this was asked last."""
        found = _silent(self._fresh, clock - self.suspect_after)
        for manager in found:
            del self._fresh[manager.number]
            self._quiet[manager.number] = manager
        return found


def _silent(queue: OrderedDict[int, Manager], since: float) -> list[Manager]:
    found = []
    for manager in queue.values():
        if manager.heard >= since:
            break
        found.append(manager)
    return found
