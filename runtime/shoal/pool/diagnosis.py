"""What the processes of a pool are doing right now, asked from any process of its owner."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

from shoal.errors import ConfigurationError, PoolUnreachable
from shoal.links import Poll
from shoal.pool.asking import Asking, ask
from shoal.pool.connection import Connection, read_connection
from shoal.pool.ending import PoolProcess
from shoal.stacks import SIGNAL, answers, states, written
from shoal.wire.messages import PoolStatus, Stacks, StacksRequest, StatusRequest

__all__ = ["pool_stacks"]

_PATIENCE = 2.0


def pool_stacks(name: str, worker: str = "", timeout: float = 5.0) -> list[tuple[str, str]]:
    """The stacks of a pool's processes, also of those in a C call. A pool of this host that does not answer is asked by a signal.

    Args:
        name: of the pool.
        worker: the one worker that is meant, ``host/pid``; empty for all, their managers and the pool.
        timeout: seconds to wait for them.

    Returns:
        For each process its name, with what it is doing, and the stacks of its threads.

    Raises:
        PoolNotFound: there is no such pool.
        PoolUnreachable: it does not answer in time, and is on another host, or only a worker was asked for.
        VersionMismatch: it is of another version.
        ConfigurationError: the pool has no such worker.
    """
    connection = read_connection(name)
    try:
        status = ask(connection, StatusRequest(1), PoolStatus, timeout)
    except PoolUnreachable:
        if worker or connection.host != os.uname().nodename:
            raise
        return [(f"{connection.host}/{connection.pid} (pool, which does not answer)", _by_signal(connection))]
    host = worker.rpartition("/")[0]
    silent = {f"{m.host}/{m.pid}": m.host for m in status.managers if host in ("", m.host) or not worker}
    found: list[tuple[str, str]] = []
    deadline = time.monotonic() + timeout
    with closing(Poll()) as poll, closing(Asking(connection, poll)) as link:
        link.send(StacksRequest(2, worker))
        awaited = len(silent) + (not worker)
        while awaited and (left := deadline - time.monotonic()) > 0:
            poll.once(left)
            while (answer := link.answer(Stacks)) is not None:
                awaited -= 1
                found += answer.processes
    if worker and not found:
        fix = f"pool '{name}' has no such worker; 'shoal pool stacks {name}' shows those that it has"
        raise ConfigurationError("worker", worker, fix)
    for manager, place in silent.items():
        if not worker and not any(process.startswith(f"{manager} ") for process, _ in found):
            found.append((f"{manager} (manager)", f"it did not answer within {timeout:.3g} s; look at it on {place}"))
    return found


def _by_signal(connection: Connection) -> str:
    """What a pool that does not answer writes to its log, and what the kernel knows of it."""
    with closing(PoolProcess(connection)) as process:
        log = Path(connection.folder) / "pool.err"
        if process.wait(0.0) or not answers(connection.pid):
            return f"it cannot be asked\n{states(connection.pid)}"
        before = log.stat().st_size
        process.signal(SIGNAL)
        deadline = time.monotonic() + _PATIENCE
        while not (log.stat().st_size > before and written(connection.pid)):
            if time.monotonic() > deadline:
                return f"it does not answer\n{states(connection.pid)}"
            time.sleep(0.01)
        text = log.read_bytes()[before:].decode(errors="replace").strip()
        return f"{text}\n{states(connection.pid)}"
