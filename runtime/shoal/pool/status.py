"""What a pool says of itself."""

from __future__ import annotations

import time

from shoal.blocks.scaling import Block, Scaling
from shoal.blocks.states import BlockState
from shoal.pool.interchange import Interchange
from shoal.pool.peers import ManagerPeer
from shoal.pool.spec import PoolSpec
from shoal.wire.messages import BlockStatus, ManagerStatus, PoolStatus

__all__ = ["status_of"]


def status_of(
    ticket: int, about: tuple[PoolSpec, float, str], interchange: Interchange, scaling: Scaling
) -> PoolStatus:
    """A pool at this moment.

    Args:
        ticket: of the request.
        about: its spec, when it started (seconds since the epoch), and the last thing that went wrong.
        interchange: its peers and its machine.
        scaling: its blocks.
    """
    spec, started, trouble = about
    machine = interchange.machine
    waiting = machine.waiting
    provider = type(spec.provider).__name__
    managers = [_manager_status(peer, interchange) for peer in interchange.managers.values()]
    return PoolStatus(
        ticket=ticket,
        name=spec.name,
        started=started,
        queued=waiting,
        running=len(machine.attempts) - waiting,
        done=machine.done,
        target=scaling.target,
        blocks=[_block_status(b, provider) for b in scaling.blocks.values()],
        managers=managers,
        clients=[c.name for c in interchange.clients.values()],
        trouble=trouble,
        memory=sum(m.memory for m in managers),
        memory_free=sum(m.memory_free for m in managers),
        gpus=sum(m.gpus for m in managers),
        gpus_free=sum(m.gpus_free for m in managers),
        sessions=interchange.sessions.absent() if interchange.sessions is not None else [],
        malformed=interchange.malformed,
    )


def _manager_status(peer: ManagerPeer, interchange: Interchange) -> ManagerStatus:
    known = interchange.machine.managers.get(peer.number)
    held = len(known.outstanding) if known else 0
    return ManagerStatus(
        peer.number,
        peer.block,
        peer.host,
        peer.pid,
        peer.slots,
        peer.workers,
        min(held, peer.slots),
        max(0, held - peer.slots),
        interchange.machine.silent_for(peer.number, time.monotonic()),
        peer.memory,
        max(0, known.memory_left) if known else 0,
        peer.gpus,
        max(0, known.gpus_left) if known else 0,
    )


def _block_status(block: Block, provider: str) -> BlockStatus:
    since = time.time() - (time.monotonic() - block.since)
    state = "draining" if block.draining and block.state is BlockState.RUNNING else block.state.value
    return BlockStatus(block.number, state, provider, block.job, since, block.message)
