"""What a pool process is told when it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from shoal.blocks.providers.local import LocalProvider
from shoal.links import process_started
from shoal.pool.connection import Connection
from shoal.wire.messages import PROTOCOL_VERSION
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

    def connection_of(self, pid: int, clients: Address, started: float) -> Connection:
        """What leads to the pool of this spec.

        Args:
            pid: its process, of this host.
            clients: where it listens.
            started: seconds since the epoch.
        """
        return Connection(
            name=self.name,
            kind="embedded" if self.owner_pid else "lasting",
            pid=pid,
            pid_started=process_started(pid),
            started=started,
            host=os.uname().nodename,
            protocol=PROTOCOL_VERSION,
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            clients=clients,
            folder=self.folder,
            sockets=self.sockets,
            log=str(Path(self.folder) / "pool.log"),
            owner=self.owner,
        )
