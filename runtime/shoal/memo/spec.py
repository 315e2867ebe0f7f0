"""What is kept of results, where, and when."""

from __future__ import annotations

import msgspec

from shoal.resources import as_bytes
from shoal.spec import Spec

__all__ = ["MODES", "Memo"]

MODES = ("task_exit", "periodic", "dfk_exit", "manual")


class Memo(Spec, frozen=True, tag="memo"):
    """How the results of cached apps are kept.

    Args:
        folder: where; default: ``memo`` in ``$SHOAL_HOME``, or in the user's cache folder. All sessions that use it share what is
            kept. Reading a result runs code (it is unpickled), so the folder must be the user's own and not writable by others.
        size: at most so much is kept, in bytes or as ``"10 GB"``; what was not used for longest goes first.
        checkpoint_mode: when results are written: ``task_exit`` (at once), ``periodic``, ``dfk_exit`` (when the session is closed)
            or ``manual`` (by ``session.checkpoint()``). Until then a session finds its own results in memory.
        checkpoint_period: seconds between two times of writing, for ``periodic``.
        exceptions: keep failures too: a task that failed fails again without running.
        environment: what makes a difference besides code and arguments: names of distributions (their versions count),
            ``env:NAME`` (the variable's value counts), or any text of yours.
    """

    folder: str | None = None
    size: str | int = "10 GB"
    checkpoint_mode: str = "task_exit"
    checkpoint_period: float = 60.0
    exceptions: bool = False
    environment: list[str] = msgspec.field(default_factory=list)

    def check(self) -> None:
        """A size that is one, a mode that there is, a period above 0."""
        as_bytes("Memo.size", self.size)
        self.require(self.folder != "", "folder", "give a folder, or leave it out")
        self.require(self.checkpoint_mode in MODES, "checkpoint_mode", f"use one of {', '.join(MODES)}")
        self.require(self.checkpoint_period > 0, "checkpoint_period", "use a number of seconds above 0")
        self.require(all(self.environment), "environment", "give names, or leave them out")

    def limit(self) -> int:
        """The size in bytes."""
        return as_bytes("Memo.size", self.size)
