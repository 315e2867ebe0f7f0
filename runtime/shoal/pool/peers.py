"""Who is connected to a pool."""

from __future__ import annotations

import msgspec

__all__ = ["ClientPeer", "ManagerPeer"]


class ClientPeer(msgspec.Struct):
    """A client that said hello.

    Args:
        number: what the pool calls it.
        identity: its address on the clients' door.
        session: its run id.
        name: for people.
        pid: its process.
        pidfd: watches that process; -1 where it cannot be watched.
    """

    number: int
    identity: bytes
    session: str
    name: str
    pid: int
    pidfd: int = -1


class ManagerPeer(msgspec.Struct):
    """A manager that registered.

    Args:
        number: what the pool calls it.
        identity: its address on the managers' door.
        block: the block that it belongs to.
        host, pid: where it is.
        slots: how many one-core tasks it runs at once.
        memory: bytes of memory that its tasks may take in all; 0 if unknown.
        gpus: its accelerators.
        workers: how many of its workers are up.
    """

    number: int
    identity: bytes
    block: int
    host: str
    pid: int
    slots: int
    memory: int = 0
    gpus: int = 0
    workers: int = 0

    @property
    def name(self) -> str:
        """For messages to people."""
        return f"the manager of block {self.block} (pid {self.pid} on {self.host})"
