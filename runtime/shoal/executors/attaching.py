"""The pool that an executor attaches to by name: one that runs, or one that is started for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.pool.connection import Connection, read_connection

if TYPE_CHECKING:
    from shoal.executors.htex import HighThroughputExecutor

__all__ = ["attach"]


def attach(spec: HighThroughputExecutor, name: str) -> Connection:
    """What leads to the pool of that name; it is started if the spec says so and none is running.

    Args:
        spec: of the executor.
        name: of the pool.

    Raises:
        PoolNotFound: none is running.
        PoolStartFailed: it does not come up.
        VersionMismatch: it is of another version.
    """
    if not spec.create:
        return read_connection(name)
    from shoal.pool.control import ensure_pool, start_pool  # few need it

    def start(name: str) -> Connection:
        return start_pool(
            name,
            spec.provider,
            spec.max_workers_per_node,
            spec.start_timeout,
            memory_per_node=spec.memory_per_node,
            gpus_per_node=spec.gpus() if spec.gpus_per_node is None else spec.gpus_per_node,
            address=spec.address,
            rules=spec.rules(),
        )

    return ensure_pool(name, start, spec.start_timeout)[0]
