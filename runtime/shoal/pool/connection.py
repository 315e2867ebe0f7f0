"""Connection files: one for each pool, which leads to it. JSON, mode 0600, in a folder of the owner.

A pool of another version of Shoal is seen, too, so that it can be listed and stopped; but one cannot talk to it.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import msgspec

from shoal.errors import ConfigurationError, PoolNotFound, VersionMismatch
from shoal.links import own_folder, process_started
from shoal.wire.messages import PROTOCOL_VERSION
from shoal.wire.starting import Address

__all__ = [
    "Connection",
    "check_name",
    "connection_path",
    "find_connection",
    "is_alive",
    "is_supervised",
    "list_connections",
    "pools_folder",
    "read_connection",
    "read_file",
    "remove_connection",
    "state_folder",
    "write_connection",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What one needs to know to reach a pool.

    Args:
        name: the pool's name.
        kind: ``embedded`` (ends with its session) or ``lasting``.
        pid, pid_started: its process, and when that started in clock ticks since boot.
        started: seconds since the epoch.
        host: where it runs.
        protocol: its ``PROTOCOL_VERSION``.
        python: ``major.minor`` of it and its workers.
        clients: where clients connect.
        folder: its logs.
        sockets: the folder of its sockets.
        log: its event log.
        owner: for people: the notebook or script that started it.
        slots: workers of each node; 0 if unknown.
        supervisor, supervisor_started: the process that starts it again after a crash, and when that started; 0 if there
            is none.
        memory_per_node, gpus_per_node: as its spec says; 0 and None where its nodes find out.
        version: of the Shoal that runs it.
    """

    name: str
    kind: str
    pid: int
    pid_started: int
    started: float
    host: str
    protocol: int
    python: str
    clients: Address
    folder: str
    sockets: str
    log: str
    owner: str = ""
    slots: int = 0
    memory_per_node: int = 0
    gpus_per_node: int | None = None
    supervisor: int = 0
    supervisor_started: int = 0
    version: str = ""

    @property
    def other_version(self) -> str:
        """``older`` or ``newer`` for a pool of another protocol, to which one cannot talk; else empty."""
        if self.protocol == PROTOCOL_VERSION:
            return ""
        return "older" if self.protocol < PROTOCOL_VERSION else "newer"


class _Basics(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection file of any version says, in the words of :class:`Connection`."""

    name: str
    pid: int
    pid_started: int
    host: str
    kind: str = "lasting"
    started: float = 0.0
    protocol: int = 0
    python: str = ""
    folder: str = ""
    sockets: str = ""
    owner: str = ""
    supervisor: int = 0
    version: str = ""


def state_folder() -> Path:
    """Where Shoal keeps what outlives a session: ``$SHOAL_HOME``, or the user's state folder."""
    home = os.environ.get("SHOAL_HOME")
    if home:
        return Path(home)
    import platformdirs  # only clients need it, never a pool's own processes

    return Path(platformdirs.user_state_path("shoal"))


def pools_folder() -> Path:
    """The folder of the connection files; made if need be, mode 0700."""
    return own_folder(state_folder() / "pools")


def check_name(name: str) -> str:
    """Return ``name`` if a pool can have it.

    Raises:
        ConfigurationError: it has other characters than letters, digits, ``-`` and ``_``, or is empty or too long.
    """
    if not _NAME.fullmatch(name):
        fix = "a pool's name has 1 to 64 letters, digits, '-' or '_', and begins with a letter or digit"
        raise ConfigurationError("pool name", name, fix)
    return name


def connection_path(name: str) -> Path:
    """Where the connection file of the pool ``name`` is.

    Raises:
        ConfigurationError: no pool can have that name.
    """
    return pools_folder() / f"{check_name(name)}.json"


def write_connection(connection: Connection, path: Path) -> None:
    """Write a connection file in one step, so that nobody ever reads half of one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(connection), indent=2))
    scratch.replace(path)


def find_connection(name: str) -> Connection:
    """The connection file of a pool that is running, as far as its process tells, of whatever version.

    Raises:
        PoolNotFound: there is none.
    """
    found = read_file(connection_path(name))
    if found is None or not (is_alive(found) or is_supervised(found)):
        raise PoolNotFound(name, tuple(c.name for c in list_connections()))
    return found


def read_connection(name: str) -> Connection:
    """The connection file of a pool that is running and that one can talk to.

    Raises:
        PoolNotFound: there is none.
        VersionMismatch: the pool is of another version.
    """
    found = find_connection(name)
    if found.other_version:
        made = f" (shoal {found.version})" if found.version else ""
        raise VersionMismatch(
            f"the protocol of pool '{name}'",
            str(PROTOCOL_VERSION),
            f"{found.protocol}{made}",
            f"attach with the version of Shoal that started it, or end it with 'shoal pool stop {name}' and start it again",
        )
    return found


def list_connections() -> list[Connection]:
    """All pools whose process is alive, by name. What dead ones left behind is removed on the way."""
    alive = []
    for path in sorted(pools_folder().glob("*.json")):
        found = read_file(path)
        if found is None:
            continue
        if is_alive(found) or is_supervised(found):
            alive.append(found)
        else:
            remove_connection(found, path)
    return alive


def is_alive(connection: Connection) -> bool:
    """Whether the pool's process is there. For a pool of another host that cannot be told, so it counts as alive."""
    if connection.host != os.uname().nodename:
        return True
    return connection.pid_started > 0 and process_started(connection.pid) == connection.pid_started


def is_supervised(connection: Connection) -> bool:
    """Whether the process is there that starts the pool again after a crash."""
    if not connection.supervisor or connection.host != os.uname().nodename:
        return False
    return process_started(connection.supervisor) == connection.supervisor_started


def remove_connection(connection: Connection, path: Path | None = None) -> None:
    """Remove a pool's connection file, unless another pool has it by now, and its sockets."""
    path = path or connection_path(connection.name)
    found = read_file(path)
    if found is not None and (found.pid, found.pid_started) == (connection.pid, connection.pid_started):
        path.unlink(missing_ok=True)
    if connection.sockets:
        shutil.rmtree(connection.sockets, ignore_errors=True)


def read_file(path: Path) -> Connection | None:
    """What a connection file says; None if there is none. Of one that another version wrote, what all versions say."""
    try:
        data = path.read_bytes()
    except OSError:
        return None  # gone meanwhile
    try:
        return msgspec.json.decode(data, type=Connection)
    except msgspec.MsgspecError:
        pass
    try:
        basics = msgspec.json.decode(data, type=_Basics)
    except msgspec.MsgspecError:
        return None  # no connection file
    known = msgspec.structs.asdict(basics)
    if basics.protocol == PROTOCOL_VERSION:
        known["protocol"] = 0  # it is not what it says
    return Connection(**known, clients=Address(""), log="")
