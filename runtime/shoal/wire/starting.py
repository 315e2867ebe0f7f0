"""What a process is told when it starts: written to a 0600 file, never to argv or the environment."""

from __future__ import annotations

import msgspec

__all__ = ["Address", "ManagerSpec"]


class Address(msgspec.Struct, frozen=True):
    """Where a socket of a pool is, and what it takes to connect there.

    Args:
        url: ``ipc://PATH`` or ``tcp://HOST:PORT``.
        server: public CURVE key of the pool's side (Z85); empty for Unix sockets, which the folder's mode protects.
        public, secret: the CURVE key pair that the pool accepts here; empty for Unix sockets.
    """

    url: str
    server: str = ""
    public: str = ""
    secret: str = ""


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
