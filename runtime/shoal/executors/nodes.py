"""What a node of a pool has, as far as a client knows."""

from __future__ import annotations

from typing import NamedTuple

from shoal.node import supply
from shoal.pool.connection import Connection
from shoal.resources import Resources, as_text

__all__ = ["NodeSize", "node_of"]


class NodeSize(NamedTuple):
    """What the largest node of a pool has; 0 cores or bytes of memory, and None accelerators, where unknown."""

    cores: int = 0
    memory: int = 0
    gpus: int | None = None

    def lacks(self, needs: Resources) -> str:
        """Why no such node can ever run a task of these needs; empty if one can, or may.

        Args:
            needs: of one attempt.
        """
        if self.cores and needs.cores > self.cores:
            return f"cores = {needs.cores:g}: its nodes have {self.cores} (max_workers_per_node)"
        if self.memory and needs.memory > self.memory:
            return f"memory = {as_text(needs.memory)}: its nodes have {as_text(self.memory)} (memory_per_node)"
        if self.gpus is not None and needs.gpus > self.gpus:
            return f"gpus = {needs.gpus}: its nodes have {self.gpus or 'none'} (gpus_per_node)"
        return ""


def node_of(connection: Connection, here: bool) -> NodeSize:
    """What a node of a pool has.

    Args:
        connection: of the pool; what the pool was not told of its nodes it does not say.
        here: the pool was started by this process, and its nodes are this host.
    """
    memory, gpus = connection.memory_per_node, connection.gpus_per_node
    if here:
        memory = memory or supply.memory()
        gpus = supply.gpus() if gpus is None else gpus
    return NodeSize(connection.slots, memory, gpus)
