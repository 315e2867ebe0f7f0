"""Looking at pools and commanding them, from any process of their owner."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress

import msgspec

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import PoolExists, PoolNotFound, PoolStartFailed, PoolUnreachable
from shoal.links import Poll
from shoal.pool.asking import Asking, ask, ask_all
from shoal.pool.claims import claimed
from shoal.pool.connection import (
    Connection,
    connection_path,
    find_connection,
    is_alive,
    list_connections,
    read_connection,
    read_file,
    remove_connection,
)
from shoal.pool.ending import PoolProcess, end_supervisor
from shoal.pool.remains import clear_remains
from shoal.pool.spec import KEEP_BYTES, KEEP_SECONDS, OUTLIVE
from shoal.pool.start import make_spec, on_interface, spawn_pool, stderr_tail, wait_for_file
from shoal.wire.messages import PoolStatus, Scale, Shutdown, StatusRequest
from shoal.wire.starting import NodeRules

__all__ = ["PoolInfo", "ensure_pool", "list_pools", "pool_status", "scale_pool", "start_pool", "stop_pool"]


class PoolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One pool, for a list of them.

    Args:
        name: its name.
        pid: its process.
        started: seconds since the epoch.
        kind: ``embedded`` or ``lasting``.
        state: ``up``, ``not answering`` or ``gone``; ``older`` or ``newer`` where another version of Shoal runs it, so that
            it can be stopped and nothing else.
        status: what it said of itself; None unless it is up.
        python: ``major.minor`` of it and its workers.
        owner: the notebook or script that started it; empty where unknown.
        clients: names of the clients connected now.
        version: of the Shoal that runs it; empty where unknown.
    """

    name: str
    pid: int
    started: float
    kind: str
    state: str
    status: PoolStatus | None
    python: str
    owner: str
    clients: list[str]
    version: str = ""


def list_pools(timeout: float = 1.0) -> list[PoolInfo]:
    """All pools of this user that are running, by name.

    Args:
        timeout: seconds to wait for all of their answers together.
    """
    connections = list_connections()
    answers = ask_all([c for c in connections if not c.other_version], StatusRequest(1), PoolStatus, timeout)
    return [_info(c, answers.get(c.name)) for c in connections]


def pool_status(name: str, timeout: float = 2.0) -> PoolStatus:
    """What a pool says of itself.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it does not answer in time.
        VersionMismatch: it is of another version.
    """
    return ask(read_connection(name), StatusRequest(1), PoolStatus, timeout)


def scale_pool(name: str, blocks: int, timeout: float = 2.0) -> PoolStatus:
    """Set the number of blocks that a pool aims at, kept within its provider's min and max.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it does not answer in time.
        VersionMismatch: it is of another version.
    """
    return ask(read_connection(name), Scale(1, blocks), PoolStatus, timeout)


def start_pool(  # noqa: PLR0913 - the options of one call, each a keyword of its own
    name: str,
    provider: LocalProvider | None = None,
    max_workers_per_node: int | None = None,
    timeout: float = 10.0,
    *,
    memory_per_node: int | str | None = None,
    gpus_per_node: int | None = None,
    address: str | None = None,
    keep: tuple[int, float] = (KEEP_BYTES, KEEP_SECONDS),
    rules: NodeRules | None = None,
) -> Connection:
    """Start a pool that lasts until it is stopped, and wait until it answers.

    Args:
        name: its name.
        provider: where its blocks come from; by default one block on this host.
        max_workers_per_node: workers of each manager; None for one a core.
        timeout: seconds that it may take.
        memory_per_node: bytes of memory (or a text such as "16 GB") for the tasks of each node; None for what it has.
        gpus_per_node: accelerators for them; None for what it has.
        address: the IPv4 address of the interface that its ports are bound to, so that managers and clients can come from
            other hosts; None lets in only this host.
        keep: bytes of results that it keeps for clients that are away, and seconds for which it keeps them.
        rules: for its workers.

    Raises:
        ConfigurationError: the name is none that a pool can have, or a number that cannot be.
        PoolExists: a pool of that name is running, or being started by another process.
        PoolStartFailed: it did not come up.
    """
    with claimed(name):
        spec = make_spec(
            name,
            provider or LocalProvider(),
            max_workers_per_node=max_workers_per_node,
            memory_per_node=memory_per_node,
            gpus_per_node=gpus_per_node,
        )
        keep_bytes, keep_seconds = keep
        spec = msgspec.structs.replace(
            spec,
            owner_pid=0,
            supervised=True,
            outlive=OUTLIVE,
            keep_bytes=keep_bytes,
            keep_seconds=keep_seconds,
            rules=rules or NodeRules(),
        )  # it outlives this process
        spec = spec if address is None else on_interface(spec, address)
        process, _ = spawn_pool(spec)
        connection = wait_for_file(spec, process)
    try:
        ask(connection, StatusRequest(1), PoolStatus, timeout)
    except PoolUnreachable:
        with closing(PoolProcess(connection)) as failed:
            failed.end(1.0)
        process.poll()
        raise PoolStartFailed(name, f"it did not answer within {timeout:.0f} s", stderr_tail(spec.folder)) from None
    _left_running.append(process)
    return connection


def ensure_pool(
    name: str, start: Callable[[str], Connection] = start_pool, timeout: float = 10.0
) -> tuple[Connection, bool]:
    """The pool of that name: the one that runs, or a new one. Of several processes that ask at once, one starts it.

    Args:
        name: its name.
        start: starts a pool of the name that it is given, as :func:`start_pool` does.
        timeout: seconds to wait for another process that is starting it.

    Returns:
        What leads to it, and whether it was started here.

    Raises:
        PoolExists: another process has been starting it for longer than ``timeout``.
        VersionMismatch: the one that runs is of another version.
        ShoalError: what ``start`` raises.
    """
    deadline = time.monotonic() + timeout
    while True:
        with suppress(PoolNotFound):
            return read_connection(name), False
        try:
            return start(name), True
        except PoolExists:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


_left_running: list[subprocess.Popen[bytes]] = []
"""Pools started here: kept so that their ends are collected, and no warning is given for leaving them running."""


def stop_pool(name: str, timeout: float = 10.0) -> None:
    """End a pool with its blocks and workers, and wait until it is gone. A pool of another version is ended by a signal.

    Args:
        name: which.
        timeout: seconds that it may take in good order; then its processes are ended.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it is on another host and does not answer.
        VersionMismatch: it is on another host, and of another version.
    """
    connection = find_connection(name)
    if connection.host != os.uname().nodename:
        _stop_far(read_connection(name), timeout)
        return
    if is_alive(connection):
        with closing(PoolProcess(connection)) as process, ExitStack() as stack:
            told = not connection.other_version
            if told:
                poll = stack.enter_context(closing(Poll()))
                stack.enter_context(closing(Asking(connection, poll))).send(Shutdown("stopped by its owner"))
            ended = process.end(timeout, told)
        if not ended:
            raise PoolUnreachable(
                name, 3 * timeout, "look at its process, which cannot even be killed: is a disk gone?"
            )
    else:
        end_supervisor(connection)  # else it would be started again in a moment
    for left in _left_running:
        left.poll()
    if connection.folder:
        clear_remains(connection.folder, 0.5)  # managers that would wait for the pool to come back
    remove_connection(connection)


def _stop_far(connection: Connection, timeout: float) -> None:
    """Tell a pool of another host to end, and wait until its file is gone from the folder that both hosts see."""
    ask(connection, StatusRequest(1), PoolStatus, timeout)
    with closing(Poll()) as poll, closing(Asking(connection, poll)) as link:
        link.send(Shutdown("stopped by its owner"))
        deadline = time.monotonic() + timeout
        while read_file(connection_path(connection.name)) == connection:
            if time.monotonic() > deadline:
                raise PoolUnreachable(connection.name, timeout, f"end process {connection.pid} on {connection.host}")
            poll.once(0.05)


def _info(connection: Connection, status: PoolStatus | None) -> PoolInfo:
    state = "up" if status is not None else "not answering" if is_alive(connection) else "gone"
    if state == "not answering" and connection.other_version:
        state = connection.other_version
    return PoolInfo(
        name=connection.name,
        pid=connection.pid,
        started=connection.started,
        kind=connection.kind,
        state=state,
        status=status,
        python=connection.python,
        owner=connection.owner,
        clients=status.clients if status else [],
        version=connection.version,
    )
