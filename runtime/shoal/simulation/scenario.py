"""What is simulated."""

from __future__ import annotations

from shoal.spec import Spec

__all__ = ["Scenario"]


class Scenario(Spec, frozen=True, kw_only=True):
    """A pool, its work and its misfortunes. The costs are somewhat above what ``make scale`` and ``make bench`` measured.

    Args:
        nodes: how many; each is a block with one manager.
        workers: of each node.
        tasks: how many one client submits, as fast as it can.
        duration: seconds that a task runs.
        spread: each takes between ``1 - spread`` and ``1 + spread`` times that.
        latency: seconds on the way from one process to the next.
        client_task: seconds of the client's work for each task.
        pool_task, pool_message: seconds of the interchange's work for each task, from its arrival to its result's leaving,
            and for each message that comes or goes.
        start: seconds that a node takes to come up once it has been asked for.
        lifetime: mean seconds until a node dies; 0.0 for never.
        notice: seconds until the pool hears that a node has died; None if only its silence tells.
        seed: of all that is left to chance.
    """

    nodes: int = 8
    workers: int = 32
    tasks: int = 10_000
    duration: float = 1.0
    spread: float = 0.0
    latency: float = 0.0005
    client_task: float = 15e-6
    pool_task: float = 4e-6
    pool_message: float = 5.5e-6
    start: float = 0.0
    lifetime: float = 0.0
    notice: float | None = 2.0
    seed: int = 0

    def check(self) -> None:
        """Refuse numbers that cannot be simulated.

        Raises:
            ConfigurationError: naming the field, its value and the fix.
        """
        for field in ("nodes", "workers", "tasks"):
            self.require(getattr(self, field) >= 1, field, "it must be 1 or more")
        for field in ("duration", "latency", "client_task", "pool_task", "pool_message", "start", "lifetime"):
            self.require(0.0 <= getattr(self, field) < 1e9, field, "it must be a number of seconds, 0 or more")
        self.require(0.0 <= self.spread <= 1.0, "spread", "it must lie between 0 and 1")
        self.require(self.notice is None or self.notice >= 0.0, "notice", "it must be 0 or more, or None")
