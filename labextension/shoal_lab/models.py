"""What the server extension and the panel say to each other. ``api.ts`` is generated from these types."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Block", "ErrorBody", "Host", "Pool", "PoolKind", "PoolList", "PoolState", "ScalePool", "StartPool"]

PoolKind = Literal["embedded", "lasting"]
PoolState = Literal["up", "not answering", "gone", "older", "newer"]


class Block(msgspec.Struct, frozen=True):
    """One block of a pool.

    Args:
        number: the block's number in its pool.
        state: its state, as the pool names it.
        provider: what it was asked of.
        job: the provider's own name for it.
        since: when it entered this state, in seconds since the epoch.
        message: why, where that is not plain; else empty.
    """

    number: int
    state: str
    provider: str
    job: str
    since: float
    message: str


class Host(msgspec.Struct, frozen=True):
    """One manager of a pool, which owns the workers of one host (or of one node of a block).

    Args:
        name: the host's name.
        block: the number of the block it belongs to.
        slots: how many one-core tasks it runs at once.
        workers: how many of its workers are up.
        running: tasks that run there now.
        queued: tasks that wait there.
        silent: seconds since it was last heard.
    """

    name: str
    block: int
    slots: int
    workers: int
    running: int
    queued: int
    silent: float


class Pool(msgspec.Struct, frozen=True):
    """One pool, as the panel shows it.

    Args:
        name: the pool's name, unique on this machine for this user.
        kind: ``embedded`` ends with its notebook, ``lasting`` lives until it is stopped.
        state: whether its process is there and answers; ``older`` or ``newer`` if another version of Shoal runs it.
        pid: its process.
        python: the Python version that it runs.
        started: when, in seconds since the epoch.
        owner: the notebook or script that started it; empty where that is not known.
        clients: names of the notebooks and scripts that are connected.
        target: the number of blocks that it aims at.
        blocks: its blocks.
        hosts: its managers.
        slots: how many one-core tasks it runs at once.
        workers: workers that are up.
        running: tasks that run now.
        queued: tasks that wait for a worker.
        done: tasks that ended since it started.
        trouble: the last thing that went wrong; empty if nothing did.
    """

    name: str
    kind: PoolKind
    state: PoolState
    pid: int
    python: str
    started: float
    owner: str
    clients: list[str]
    target: int
    blocks: list[Block]
    hosts: list[Host]
    slots: int
    workers: int
    running: int
    queued: int
    done: int
    trouble: str


class PoolList(msgspec.Struct, frozen=True):
    """Every pool of this user on this machine.

    Args:
        version: the version of the server extension.
        pools: sorted by name.
    """

    version: str
    pools: list[Pool]


class StartPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for a new pool of local workers that lasts until it is stopped.

    Args:
        name: how it is to be called.
        max_workers_per_node: workers in each block; null for one per core.
        init_blocks: blocks to start with.
        max_blocks: blocks that it may grow to.
    """

    name: str
    max_workers_per_node: int | None = None
    init_blocks: int = 1
    max_blocks: int = 1


class ScalePool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask a pool to aim at another number of blocks.

    Args:
        blocks: how many; the pool keeps within the limits that it was started with.
    """

    blocks: int


class ErrorBody(msgspec.Struct, frozen=True):
    """Why a request was not carried out.

    Args:
        error: the type of the error.
        message: one sentence for people.
        fix: what to do; empty where nothing can be said.
    """

    error: str
    message: str
    fix: str
