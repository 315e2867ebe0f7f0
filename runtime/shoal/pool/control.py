"""Looking at pools and commanding them, from any process of their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import PoolNotFound, PoolStartFailed, PoolUnreachable, ProtocolError
from shoal.links import dial, receive, send
from shoal.pool.claims import claimed
from shoal.pool.connection import Connection, is_alive, list_connections, read_connection, remove_connection
from shoal.pool.start import make_spec, spawn_pool, stderr_tail, wait_for_file
from shoal.wire.frames import Codec
from shoal.wire.messages import Message, PoolStatus, Scale, Shutdown, StatusRequest

__all__ = ["PoolInfo", "list_pools", "pool_status", "scale_pool", "start_pool", "stop_pool"]


class PoolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One pool, for a list of them.

    Args:
        name: its name.
        pid: its process.
        started: seconds since the epoch.
        kind: ``embedded`` or ``lasting``.
        state: ``up``, ``not answering`` or ``gone``.
        status: what it said of itself; None unless it is up.
        python: ``major.minor`` of it and its workers.
        owner: the notebook or script that started it; empty where unknown.
        clients: names of the clients connected now.
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


def list_pools(timeout: float = 1.0) -> list[PoolInfo]:
    """All pools of this user that are running, by name.

    Args:
        timeout: seconds to wait for all of their answers together.
    """
    connections = list_connections()
    answers = _ask_all(connections, StatusRequest(1), timeout)
    return [_info(c, answers.get(c.name)) for c in connections]


def pool_status(name: str, timeout: float = 2.0) -> PoolStatus:
    """What a pool says of itself.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it does not answer in time.
    """
    return _ask(read_connection(name), StatusRequest(1), timeout)


def scale_pool(name: str, blocks: int, timeout: float = 2.0) -> PoolStatus:
    """Set the number of blocks that a pool aims at, kept within its provider's min and max.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it does not answer in time.
    """
    return _ask(read_connection(name), Scale(1, blocks), timeout)


def start_pool(
    name: str,
    provider: LocalProvider | None = None,
    max_workers_per_node: int | None = None,
    timeout: float = 10.0,
    *,
    memory_per_node: int | str | None = None,
    gpus_per_node: int | None = None,
) -> Connection:
    """Start a pool that lasts until it is stopped, and wait until it answers.

    Args:
        name: its name.
        provider: where its blocks come from; by default one block on this host.
        max_workers_per_node: workers of each manager; None for one a core.
        timeout: seconds that it may take.
        memory_per_node: bytes of memory (or a text such as "16 GB") for the tasks of each node; None for what it has.
        gpus_per_node: accelerators for them; None for what it has.

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
        spec = msgspec.structs.replace(spec, owner_pid=0)  # it outlives this process
        process, _ = spawn_pool(spec)
        connection = wait_for_file(spec, process)
    try:
        _ask(connection, StatusRequest(1), timeout)
    except PoolUnreachable:
        _end_process(connection, lambda: process.poll() is not None, 1.0)
        raise PoolStartFailed(name, f"it did not answer within {timeout:.0f} s", stderr_tail(spec.folder)) from None
    _left_running.append(process)
    return connection


_left_running: list[subprocess.Popen[bytes]] = []
"""Pools started here: kept so that their ends are collected, and no warning is given for leaving them running."""


def stop_pool(name: str, timeout: float = 10.0) -> None:
    """End a pool with its blocks and workers, and wait until it is gone.

    Args:
        name: which.
        timeout: seconds that it may take in good order; then its processes are ended.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it is on another host and does not answer.
    """
    connection = read_connection(name)
    with _Link(connection) as link:
        link.send(Shutdown("stopped by its owner"))
        if connection.host != os.uname().nodename:
            return
        _end_process(connection, lambda: not is_alive(connection), timeout)
    remove_connection(connection)


def _end_process(connection: Connection, gone: Callable[[], bool], patience: float) -> None:
    """Wait for the end of a pool's process, and help it on after a while. Its managers and workers follow it."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None and is_alive(connection):
            os.kill(connection.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            for process in _left_running:
                process.poll()
            if gone():
                return
            time.sleep(0.01)
    raise PoolUnreachable(connection.name, 3 * patience)


def _info(connection: Connection, status: PoolStatus | None) -> PoolInfo:
    state = "up" if status is not None else "not answering" if is_alive(connection) else "gone"
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
    )


class _Link:
    """A connection to a pool for a question or two."""

    def __init__(self, connection: Connection) -> None:
        self._codec = Codec()
        self._context: zmq.Context[Any] = zmq.Context()
        self.socket = dial(self._context, connection.clients)

    def __enter__(self) -> _Link:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=500)

    def send(self, message: Message) -> None:
        send(self.socket, self._codec.encode(message))

    def status(self) -> PoolStatus | None:
        while (frames := receive(self.socket)) is not None:
            try:
                message = self._codec.decode(frames)
            except ProtocolError:
                continue
            if isinstance(message, PoolStatus):
                return message
        return None


def _ask(connection: Connection, question: StatusRequest | Scale, timeout: float) -> PoolStatus:
    answer = _ask_all([connection], question, timeout).get(connection.name)
    if answer is not None:
        return answer
    if not is_alive(connection):
        raise PoolNotFound(connection.name)
    raise PoolUnreachable(connection.name, timeout)


def _ask_all(connections: list[Connection], question: StatusRequest | Scale, timeout: float) -> dict[str, PoolStatus]:
    """Ask several pools at once; the answers that came in time, by name."""
    links = {c.name: _Link(c) for c in connections}
    answers: dict[str, PoolStatus] = {}
    try:
        poller = zmq.Poller()
        for link in links.values():
            link.send(question)
            poller.register(link.socket, zmq.POLLIN)
        deadline = time.monotonic() + timeout
        while len(answers) < len(links) and (left := deadline - time.monotonic()) > 0:
            poller.poll(int(left * 1000) + 1)
            for name, link in links.items():
                status = link.status()
                if status is not None:
                    answers[name] = status
    finally:
        for link in links.values():
            link.__exit__()
    return answers
