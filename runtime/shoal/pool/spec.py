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
from shoal.wire.starting import Address, NodeRules

__all__ = ["KEEP_BYTES", "KEEP_SECONDS", "OUTLIVE", "PoolSpec"]

OUTLIVE = 60.0
"""Seconds for which the managers of a supervised pool wait for its next process."""

KEEP_BYTES = 2_000_000_000
"""Bytes of results that a pool keeps for clients that are away."""

KEEP_SECONDS = 24 * 3600.0
"""Seconds for which it keeps them, and goes on with what they have waiting."""


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
        address: the address of the interface that TCP ports are bound to; by default only this host is let in.
        outlive: seconds for which managers on this host wait for the next process when the pool's is killed; 0 if they end.
        orphan_after: seconds after which a manager on another host ends if it hears nothing of its pool.
        max_workers_per_node: workers of each manager; 0 for one a core.
        memory_per_node: bytes of memory that the tasks of each manager may take in all; 0 for what its node has.
        gpus_per_node: accelerators that they may take; None for what its node has.
        owner_pid: the client that it ends with, and which has started it; 0 for a pool that lasts.
        owner: for people: that client's notebook or script.
        version: of Shoal, for the log.
        supervised: its process is started again by its parent after a crash.
        keep_bytes, keep_seconds: how much a pool that lasts keeps for clients that are away, and how long.
        suspect_after, lost_after: seconds of silence after which a manager gets no new tasks, and is given up.
        rules: for the workers of each manager.
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
    supervised: bool = False
    keep_bytes: int = KEEP_BYTES
    keep_seconds: float = KEEP_SECONDS
    suspect_after: float = SUSPECT_AFTER
    lost_after: float = LOST_AFTER
    address: str = "127.0.0.1"
    orphan_after: float = 300.0
    outlive: float = 0.0
    rules: NodeRules = NodeRules()

    def marks(self) -> Path:
        """Where a pool that ends with its session notes what it has sent to managers."""
        return Path(self.sockets) / "marks"

    def ledger(self) -> Path:
        """Where a pool that lasts writes what it must not forget."""
        return Path(self.folder) / "ledger"

    def connection_of(self, pid: int, clients: Address, started: float) -> Connection:
        """What leads to the pool of this spec.

        Args:
            pid: its process, of this host.
            clients: where it listens.
            started: seconds since the epoch.
        """
        supervisor = os.getppid() if self.supervised and pid == os.getpid() else 0
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
            version=self.version,
            slots=self.max_workers_per_node or len(os.sched_getaffinity(0)),
            memory_per_node=self.memory_per_node,
            gpus_per_node=self.gpus_per_node,
            supervisor=supervisor,
            supervisor_started=process_started(supervisor) if supervisor else 0,
        )
