"""What a pool process is told when it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from shoal.blocks.providers.local import LocalProvider
from shoal.dispatch.machine import LOST_AFTER, SUSPECT_AFTER
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
        memory_per_node: bytes of memory that the tasks of each manager may take in all; 0 for what its node has.
        gpus_per_node: accelerators that they may take; None for what its node has.
        owner_pid: the client that it ends with, and which has started it; 0 for a pool that lasts.
        owner: for people: that client's notebook or script.
        version: of Shoal, for the log.
        suspect_after, lost_after: seconds of silence after which a manager gets no new tasks, and is given up.
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
    memory_per_node: int = 0
    gpus_per_node: int | None = None
    owner_pid: int = 0
    owner: str = ""
    version: str = ""
    suspect_after: float = SUSPECT_AFTER
    lost_after: float = LOST_AFTER

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
            slots=self.max_workers_per_node or len(os.sched_getaffinity(0)),
            memory_per_node=self.memory_per_node,
            gpus_per_node=self.gpus_per_node,
        )
