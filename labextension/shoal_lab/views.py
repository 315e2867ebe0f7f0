"""What the panel sees and does, as plain blocking functions over ``shoal.pool.control``."""

from __future__ import annotations

from importlib.metadata import version
from typing import TypeVar, cast

import msgspec

from shoal import LocalProvider
from shoal.errors import ConfigurationError, PoolExists, PoolNotFound, ShoalError
from shoal.pool import control
from shoal_lab.models import Block, ErrorBody, Host, Pool, PoolKind, PoolList, PoolState, ScalePool, StartPool

__all__ = ["VERSION", "describe", "list_pools", "scale_pool", "start_pool", "stop_pool"]

VERSION = version("shoal")

_MOST = 1024
"""The most workers of a node, and blocks of a pool, that a form can ask for."""

_T = TypeVar("_T", bound=msgspec.Struct)


def list_pools() -> PoolList:
    """Every pool of this user on this machine, asked for its status; sorted by name."""
    return PoolList(VERSION, [_pool(info) for info in sorted(control.list_pools(), key=lambda info: info.name)])


def start_pool(body: bytes) -> PoolList:
    """Start a pool that lasts, and wait until it answers.

    Args:
        body: a :class:`StartPool` as JSON.

    Raises:
        ShoalError: it did not come up, or the options cannot work.
    """
    wanted = _read(body, StartPool)
    for field in ("max_workers_per_node", "init_blocks", "max_blocks"):
        _limit(field, getattr(wanted, field))
    provider = LocalProvider(init_blocks=wanted.init_blocks, max_blocks=wanted.max_blocks)
    control.start_pool(wanted.name, provider=provider, max_workers_per_node=wanted.max_workers_per_node)
    return list_pools()


def scale_pool(name: str, body: bytes) -> PoolList:
    """Let a pool aim at another number of blocks.

    Args:
        name: which pool.
        body: a :class:`ScalePool` as JSON.

    Raises:
        ShoalError: there is no such pool, or it does not answer.
    """
    blocks = _read(body, ScalePool).blocks
    _limit("blocks", blocks)
    control.scale_pool(name, blocks)
    return list_pools()


def stop_pool(name: str) -> PoolList:
    """End a pool and its blocks.

    Args:
        name: which pool.

    Raises:
        ShoalError: there is no such pool, or it cannot be ended.
    """
    control.stop_pool(name)
    return list_pools()


def describe(error: ShoalError) -> tuple[int, ErrorBody]:
    """The HTTP status and the body that tell of an error."""
    status = 422
    for kind, code in ((PoolNotFound, 404), (PoolExists, 409), (ConfigurationError, 400)):
        if isinstance(error, kind):
            status = code
    return status, ErrorBody(type(error).__name__, str(error), str(getattr(error, "fix", "")))


def _read(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(kind.__name__, body.decode(errors="replace"), str(error)) from None


def _limit(field: str, value: int | None) -> None:
    """A slip of a finger in a form must not start processes without end."""
    if value is not None and value > _MOST:
        raise ConfigurationError(field, value, f"write {_MOST} or less; for more, start the pool from Python")


def _pool(info: control.PoolInfo) -> Pool:
    status = info.status
    hosts = [
        Host(m.host, m.block, m.slots, m.workers, m.running, m.queued, m.silent)
        for m in (status.managers if status else [])
    ]
    blocks = [Block(b.block, b.state, b.provider, b.job, b.since, b.message) for b in (status.blocks if status else [])]
    return Pool(
        name=info.name,
        kind=cast("PoolKind", info.kind),
        state=cast("PoolState", info.state),
        pid=info.pid,
        python=info.python,
        started=info.started,
        owner=info.owner,
        clients=info.clients,
        target=status.target if status else 0,
        blocks=blocks,
        hosts=hosts,
        slots=sum(host.slots for host in hosts),
        workers=sum(host.workers for host in hosts),
        running=status.running if status else 0,
        queued=status.queued if status else 0,
        done=status.done if status else 0,
        trouble=status.trouble if status else "",
    )
