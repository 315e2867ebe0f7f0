"""What a process is told when it starts: written to a 0600 file, never to argv or the environment."""

from __future__ import annotations

import msgspec

__all__ = ["UNBEGUN", "Address", "ManagerSpec", "NodeRules"]

UNBEGUN = ".unbegun"
"""How the names of the files end in which managers leave word of what they had not begun when their pool was killed."""


class Address(msgspec.Struct, frozen=True):
    """Where a socket of a pool is, and what it takes to connect there.

    Args:
        url: ``unix://PATH`` or ``tcp://HOST:PORT``.
        server: public CURVE key of the pool's side (Z85); empty for Unix sockets, which the folder's mode protects.
        public, secret: the CURVE key pair that the pool accepts here; empty for Unix sockets.
    """

    url: str
    server: str = ""
    public: str = ""
    secret: str = ""


class NodeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's workers get of it, how much they may take, and how they end.

    Args:
        accelerators: the names by which a task sees the node's accelerators; empty for numbers, or for those of a list that
            the block's environment has already.
        accelerator_variables: the environment variables that show them.
        cpu_affinity: ``none``; ``block`` or ``alternating`` to bind each worker to its share of the cores, neighbours or not.
        memory_per_worker: bytes that a worker may take with all that it starts; 0 for no limit.
        max_tasks_per_worker: attempts after which a worker is replaced; 0 for never.
        walltime: seconds after its manager's start at which a block ends; 0.0 if nobody ends it.
        drain_before: seconds before that end from which on nothing more begins there.
        grace: seconds that a task has when it is interrupted, before its process is killed.
    """

    accelerators: tuple[str, ...] = ()
    accelerator_variables: tuple[str, ...] = ("CUDA_VISIBLE_DEVICES",)
    cpu_affinity: str = "none"
    memory_per_worker: int = 0
    max_tasks_per_worker: int = 0
    walltime: float = 0.0
    drain_before: float = 30.0
    grace: float = 2.0


class ManagerSpec(msgspec.Struct, frozen=True):
    """What a manager needs to know.

    Args:
        pool: the pool's name, for messages to people.
        address: where managers connect.
        block: the number of the block that it belongs to.
        slots: how many workers it runs; 0 for one for each core of the node.
        folder: where its workers' logs go.
        cwd: the working directory of tasks.
        pool_pid: the pool's process where it is on the same host (the manager ends with it), else 0.
        pool_started: start time of that process in clock ticks since boot, so that a reused pid is noticed.
        memory: bytes of memory that its tasks may take in all; 0 for what the node has.
        gpus: accelerators that its tasks may take; None for what the node has.
        rules: for its workers.
        pool_host: where the pool runs; only there its process is watched.
        outlive: seconds for which a manager on the pool's host waits for the next process of its pool when that is killed; 0 if
            it ends with it.
        orphan_after: seconds after which a manager elsewhere ends if it hears nothing of its pool.
    """

    pool: str
    address: Address
    block: int
    slots: int
    folder: str
    cwd: str
    pool_pid: int = 0
    pool_started: int = 0
    memory: int = 0
    gpus: int | None = None
    rules: NodeRules = NodeRules()
    pool_host: str = ""
    orphan_after: float = 300.0
    outlive: float = 0.0
