"""What a pool process is told when it starts."""

from __future__ import annotations

import msgspec

from shoal.blocks.providers.local import LocalProvider
from shoal.wire.starting import Address

__all__ = ["PoolSpec"]


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One pool.

    Args:
        name: its name.
        provider: where its blocks come from.
        folder: its logs and the specs of its blocks; mode 0700.
        sockets: the folder of its sockets.
        cwd: the working directory of its tasks.
        connection: the path of its connection file.
        clients, managers: Unix addresses to listen at; None for TCP.
        max_workers_per_node: workers of each manager; 0 for one a core.
        owner_pid: the client that it ends with, and which has started it; 0 for a pool that lasts.
        owner: for people: that client's notebook or script.
        version: of Shoal, for the log.
    """

    name: str
    provider: LocalProvider
    folder: str
    sockets: str
    cwd: str
    connection: str
    clients: Address | None
    managers: Address | None
    max_workers_per_node: int = 0
    owner_pid: int = 0
    owner: str = ""
    version: str = ""
