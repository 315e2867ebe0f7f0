"""One pool: its files, its process, its answers, its blocks, and what its host has left for it."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import time
from pathlib import Path

from shoal.doctor.finding import Finding
from shoal.errors import ConfigurationError, PoolError
from shoal.pool.asking import ask
from shoal.pool.connection import Connection, connection_path, is_alive, is_supervised, list_connections, read_file
from shoal.resources import as_text
from shoal.wire.messages import PROTOCOL_VERSION, BlockStatus, ManagerStatus, PoolStatus, StatusRequest

__all__ = ["examine_pool"]

ANSWER = 1.0
"""Seconds within which a pool should answer."""

SILENT = 10.0
"""Seconds of silence of a manager that are too many."""

SLOW = 60.0
"""Seconds that a block, or its first worker, may take to come."""

ROOM = 1 << 30
"""Bytes that should be left where logs and large values go."""

FILES = 4096
"""Files that a pool should be able to open: one for each manager and client, several for each worker."""

_TAIL = 12
_STOP = "end it with 'shoal pool stop {name}', and start it again"


def examine_pool(name: str) -> list[Finding]:
    """Look at a pool of this user, in the order in which to mend it.

    Args:
        name: its name.

    Raises:
        ConfigurationError: no pool can have that name.
    """
    path = connection_path(name)
    connection = read_file(path)
    if connection is None:
        known = ", ".join(c.name for c in list_connections()) or "none is running"
        text = f"{path} {'is no connection file' if path.exists() else 'is not there'} (pools: {known})"
        return [Finding("connection file", text, False, f"start it with 'shoal pool start {name}'")]
    findings = [_file(path), _version(connection)]
    here = connection.host == os.uname().nodename
    if here:
        findings += [_process(connection), _sockets(connection)]
    reachable = not connection.other_version and (is_alive(connection) or not here)
    if reachable:
        findings += _answers(connection)
    if here:
        findings += [_disk(connection), _shared_memory(), _open_files()]
    return findings


def _file(path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    fix = f"it holds keys: others may have read them. Run 'chmod 600 {path}', and start the pool again for new ones"
    return Finding("connection file", f"{path}, mode {mode:04o}", not mode & 0o077, fix)


def _version(connection: Connection) -> Finding:
    made = f"shoal {connection.version or '(unknown)'}, protocol {connection.protocol}, Python {connection.python}"
    word = connection.other_version
    found = f"{made}; {word} than here (protocol {PROTOCOL_VERSION})" if word else made
    return Finding("version", found, not word, _STOP.format(name=connection.name))


def _process(connection: Connection) -> Finding:
    pid = connection.pid
    if is_alive(connection):
        guarded = ", started again if it crashes" if is_supervised(connection) else ""
        return Finding("process", f"{pid}, up for {_age(connection.started)}{guarded}")
    if is_supervised(connection):
        found = f"{pid} has ended, and is about to be started again"
        return Finding("process", found, False, f"wait a moment; if that goes on, see {connection.folder}/pool.err")
    try:
        os.kill(pid, 0)
        found = f"{pid} is another process by now"
    except ProcessLookupError:
        found = f"{pid} has ended"
    except PermissionError:
        found = f"{pid} is another user's process by now"
    why = _tail(Path(connection.folder) / "pool.err")
    return Finding("process", found + why, False, f"start it again with 'shoal pool start {connection.name}'")


def _sockets(connection: Connection) -> Finding:
    url = connection.clients.url
    if not url.startswith("unix://"):
        return Finding("sockets", f"clients at {url}, with keys")
    path = Path(url.removeprefix("unix://"))
    if not path.is_socket():
        return Finding(
            "sockets", f"{path} is gone: was a temporary folder cleaned up?", False, _STOP.format(name=connection.name)
        )
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    fix = f"others can reach the pool: run 'chmod 700 {path.parent}'"
    return Finding("sockets", f"{path.parent}, mode {mode:04o}", not mode & 0o077, fix)


def _answers(connection: Connection) -> list[Finding]:
    begun = time.monotonic()
    try:
        status = ask(connection, StatusRequest(1), PoolStatus, 3 * ANSWER)
    except (PoolError, ConfigurationError) as error:
        fix = f"see what it does with 'shoal pool stacks {connection.name}'; then {_STOP.format(name=connection.name)}"
        return [Finding("answers", str(error), False, fix)]
    took = time.monotonic() - begun
    fix = f"it has too much to do, or too little of the processor: 'shoal pool stacks {connection.name}' shows what it does"
    findings = [
        Finding("answers", f"after {1000 * took:.1f} ms", took < ANSWER, fix),
        _malformed(status, connection),
        *[_block(block, connection) for block in status.blocks if block.state != "ended"],
        _workers(status),
        *[_manager(manager, connection) for manager in status.managers],
    ]
    if status.trouble:
        findings.append(
            Finding("last trouble", status.trouble, False, f"'shoal pool logs {connection.name}' shows more")
        )
    return findings


def _malformed(status: PoolStatus, connection: Connection) -> Finding:
    fix = f"something else than Shoal, or another version of it, connects to its sockets; see {connection.folder}/pool.err"
    return Finding("messages that were none", str(status.malformed), not status.malformed, fix)


def _block(block: BlockStatus, connection: Connection) -> Finding:
    what = f"block {block.block}"
    found = f"{block.state} for {_age(block.since)}" + (f": {block.message}" if block.message else "")
    bad = block.state == "failed"
    late = block.state in ("requested", "pending") and time.time() - block.since > SLOW
    log = _tail(Path(connection.folder) / f"block-{block.block}.err") if bad or late else ""
    fix = (
        f"mend what it says, then 'shoal pool scale {connection.name} N'"
        if bad
        else "its provider has not started it yet"
    )
    return Finding(what, found + log, not bad and not late, fix)


def _workers(status: PoolStatus) -> Finding:
    up, slots = sum(m.workers for m in status.managers), sum(m.slots for m in status.managers)
    found = f"{up} of {slots} up, in {len(status.managers)} managers; {status.queued} tasks wait, {status.running} are there"
    coming = any(b.state in ("requested", "pending", "running") and time.time() - b.since < SLOW for b in status.blocks)
    fix = f"no block has a worker: 'shoal pool scale {status.name} 1' asks for one, 'shoal pool logs {status.name}' may say why"
    return Finding("workers", found, up > 0 or coming or not (status.queued or status.target), fix)


def _manager(manager: ManagerStatus, connection: Connection) -> Finding:
    found = f"process {manager.pid} on {manager.host}, {manager.workers} workers, heard {manager.silent:.1f} s ago"
    fix = (
        f"it is stopped, or cut off: 'shoal pool stacks {connection.name}' asks it; the pool gives it up after a while"
    )
    return Finding(f"manager {manager.manager}", found, manager.silent < SILENT, fix)


def _disk(connection: Connection) -> Finding:
    try:
        left = shutil.disk_usage(connection.folder).free
    except OSError as error:
        return Finding(
            "disk", f"{connection.folder}: {error}", False, "its logs have nowhere to go: make the folder again"
        )
    return Finding("disk", f"{as_text(left)} left at {connection.folder}", left > ROOM, "make room: its logs are there")


def _shared_memory() -> Finding:
    what, path = "shared memory", "/dev/shm"  # noqa: S108  it is looked at, not used
    try:
        left = shutil.disk_usage(path).free
    except OSError as error:
        return Finding(what, f"{path}: {error}", False, "large values travel more slowly without it: mount it")
    return Finding(
        what, f"{as_text(left)} left at {path}", left > ROOM, "large values travel more slowly: make it larger"
    )


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} for programs, {hard} for pools, which raise it"
    return Finding("open files", found, hard >= FILES, f"have an administrator raise the hard limit to {FILES} or more")


def _tail(path: Path) -> str:
    """The end of a log, to be shown under a finding; empty if there is nothing."""
    try:
        lines = path.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()[-_TAIL:]
    except OSError:
        return ""
    return f"; the end of {path}:" + "".join(f"\n        {line}" for line in lines) if lines else ""


def _age(since: float) -> str:
    seconds = max(0.0, time.time() - since)
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
