"""What can be said of the workers of a pool."""

from __future__ import annotations

from shoal.resources import as_bytes
from shoal.spec import Spec
from shoal.wire.starting import NodeRules

__all__ = ["WorkerOptions"]

_AFFINITIES = ("none", "block", "alternating")


class WorkerOptions(Spec, frozen=True, kw_only=True):
    """What workers get of their node, how much they may take, and how they end.

    Args:
        accelerators: how many accelerators a node has, or the names by which tasks shall see them. Each task with ``gpus`` gets
            some of its own, others see none. Default: what the node has.
        accelerator_variables: the environment variables that show a task its accelerators, such as ``ROCR_VISIBLE_DEVICES``,
            ``HIP_VISIBLE_DEVICES``, ``ZE_AFFINITY_MASK``.
        cpu_affinity: ``none``, or bind each worker to its share of the cores: neighbours (``block``) or not (``alternating``).
        memory_per_worker: bytes that a worker may take with all that it starts (or a text such as ``"4 GB"``); 0: no limit.
        max_tasks_per_worker: tasks after which a worker is replaced, with all that they have left behind in it; 0: never.
        drain_before: seconds before the end of a block's walltime from which on nothing more begins there.
        grace: seconds that a task has to clean up when it is cancelled, has run too long, or its block ends.
    """

    accelerators: int | tuple[str, ...] | None = None
    accelerator_variables: tuple[str, ...] = ("CUDA_VISIBLE_DEVICES",)
    cpu_affinity: str = "none"
    memory_per_worker: int | str = 0
    max_tasks_per_worker: int = 0
    drain_before: float = 30.0
    grace: float = 2.0

    def check_workers(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigurationError: naming the option.
        """
        given = self.accelerators
        ok = given is None or (given >= 0 if isinstance(given, int) else len(set(given)) == len(given) and all(given))
        self.require(ok, "accelerators", "use a number, 0 or more, or names that differ")
        named = all(name.isidentifier() for name in self.accelerator_variables)
        self.require(named and bool(self.accelerator_variables), "accelerator_variables", "use names of variables")
        self.require(self.cpu_affinity in _AFFINITIES, "cpu_affinity", f"use one of {', '.join(_AFFINITIES)}")
        as_bytes(f"{type(self).__name__}.memory_per_worker", self.memory_per_worker)
        self.require(self.max_tasks_per_worker >= 0, "max_tasks_per_worker", "use a whole number, or 0 for never")
        self.require(self.drain_before >= 0, "drain_before", "use a number of seconds, 0 or more")
        self.require(0 <= self.grace <= 3600, "grace", "use a number of seconds up to 3600")

    def gpus(self) -> int | None:
        """How many accelerators a node has, where ``accelerators`` says it."""
        given = self.accelerators
        return given if given is None or isinstance(given, int) else len(given)

    def rules(self) -> NodeRules:
        """The same for managers."""
        return NodeRules(
            accelerators=self.accelerators if isinstance(self.accelerators, tuple) else (),
            accelerator_variables=self.accelerator_variables,
            cpu_affinity=self.cpu_affinity,
            memory_per_worker=as_bytes("memory_per_worker", self.memory_per_worker),
            max_tasks_per_worker=self.max_tasks_per_worker,
            drain_before=self.drain_before,
            grace=self.grace,
        )
