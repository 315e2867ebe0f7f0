"""What describes the high-throughput executor: a pool of workers, of the session's own or one that lasts."""

from __future__ import annotations

import msgspec

from shoal.blocks.providers.local import LocalProvider
from shoal.executors.lending import SHARED_MEMORY
from shoal.executors.pooled import PoolExecutor
from shoal.executors.workers import WorkerOptions
from shoal.pool.start import INTERFACE_FIX, names_interface
from shoal.resources import as_bytes

__all__ = ["HighThroughputExecutor"]

_MOST_WORKERS = 1024
"""Workers of one node; each is a process."""


class HighThroughputExecutor(WorkerOptions, frozen=True, tag="htex"):
    """Workers in processes, on this host or on blocks of a batch system, over ZeroMQ.

    Args:
        label: its name in the session.
        max_workers_per_node: workers of each node; default: one a core of the node.
        memory_per_node: what the tasks of a node may take together, in bytes or as a text such as ``"16 GB"``; default: what
            the node has.
        gpus_per_node: accelerators of a node that tasks may take; default: those that it has.
        provider: where blocks come from.
        pool: the name of a running pool to attach to; default: a pool of its own, which ends with the session.
        create: whether the pool of that name is started if none is running, with what is said here of provider and nodes. It
            lasts until it is stopped. Of several that ask at once, one starts it and all attach to it.
        start_timeout: seconds that the pool may take to answer before its tasks fail.
        address: the IPv4 address of an interface of this host where the pool listens for its managers, encrypted, so that blocks
            can be on other hosts; default: only blocks on this host reach it.
        restarts: how often a pool of its own is started again when its process dies, within a minute and without a result in
            between; what had not begun there is sent again, the rest is lost by name. 0: never.
        shared_memory: bytes of large arguments (or a text such as ``"4 GB"``) that wait in memory which workers of this host
            read, at most; what is more, or goes to other hosts, travels in messages. 0 does without.

    What its workers get, and how they end, is said by the options of :class:`~shoal.executors.workers.WorkerOptions`.
    """

    label: str = "htex"
    max_workers_per_node: int | None = None
    memory_per_node: int | str | None = None
    gpus_per_node: int | None = None
    provider: LocalProvider = LocalProvider()
    pool: str | None = None
    start_timeout: float = 30.0
    restarts: int = 3
    shared_memory: int | str = SHARED_MEMORY
    address: str | None = None
    create: bool = False

    def check(self) -> None:
        """A label that can be read, positive numbers; a running pool has its provider already."""
        self.require(self.label.strip() != "" and self.label.isprintable(), "label", "give it a name")
        workers = self.max_workers_per_node
        many = f"use 1 to {_MOST_WORKERS}, or None for one a core"
        self.require(workers is None or 1 <= workers <= _MOST_WORKERS, "max_workers_per_node", many)
        self.require(self.start_timeout > 0, "start_timeout", "use a number of seconds above 0")
        as_bytes("shared_memory", self.shared_memory)
        self.require(self.restarts >= 0, "restarts", "use a whole number, or 0 for never")
        memory = self.memory_per_node
        some = "use a number of bytes above 0 or a text such as '16 GB', or None for what a node has"
        field = f"{type(self).__name__}.memory_per_node"
        self.require(memory is None or as_bytes(field, memory) > 0, "memory_per_node", some)
        gpus = self.gpus_per_node
        self.require(gpus is None or gpus >= 0, "gpus_per_node", "use 0 or more, or None for those that a node has")
        both = gpus is None or self.gpus() in (None, gpus)
        self.require(both, "gpus_per_node", "leave it out: accelerators says how many there are")
        self.check_workers()
        self.require(self.address is None or names_interface(self.address), "address", INTERFACE_FIX)
        self.require(not self.create or self.pool is not None, "create", "give the pool a name, too: pool=...")
        if self.pool is not None:
            for name in ("max_workers_per_node", "memory_per_node", "gpus_per_node", "address"):
                own = self.create or getattr(self, name) is None
                self.require(
                    own, name, f"leave it out: pool '{self.pool}' has its own (create=True starts one with it)"
                )
            for option in msgspec.structs.fields(WorkerOptions):
                own = self.create or getattr(self, option.name) == option.default
                self.require(
                    own, option.name, f"leave it out: pool '{self.pool}' has its own (create=True starts one with it)"
                )
            own = self.create or self.provider == LocalProvider()
            self.require(
                own, "provider", f"leave it out: pool '{self.pool}' has its own (create=True starts one with it)"
            )

    def build(self) -> PoolExecutor:
        """The executor that this describes."""
        return PoolExecutor(self)
