"""Starting pool processes."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ConfigurationError, PoolExists, PoolStartFailed
from shoal.links import folder_address, own_folder, socket_folder
from shoal.pool.connection import Connection, connection_path, is_alive, is_supervised, pools_folder, read_file
from shoal.pool.spec import PoolSpec
from shoal.resources import as_bytes

__all__ = [
    "INTERFACE_FIX",
    "make_spec",
    "names_interface",
    "on_interface",
    "renewed",
    "spawn_pool",
    "stderr_tail",
    "wait_for_file",
]

START_LIMIT = 10.0
"""Seconds that a pool may take to write its connection file, where that has to be waited for."""

TAIL = 4096

INTERFACE_FIX = "use the IPv4 address of one interface of this host, such as 10.0.0.5, which its nodes can reach"
"""What to do about an address that is none."""


def make_spec(
    name: str,
    provider: LocalProvider,
    *,
    max_workers_per_node: int | None = None,
    memory_per_node: int | str | None = None,
    gpus_per_node: int | None = None,
    owner: str = "",
    folder: Path | None = None,
) -> PoolSpec:
    """Describe a pool that is about to be started, and that ends with this process.

    Args:
        name: its name.
        provider: where its blocks come from.
        max_workers_per_node: workers of each manager; None for one a core.
        memory_per_node: bytes of memory (or a text such as "16 GB") for the tasks of each manager; None for what its node has.
        gpus_per_node: accelerators for them; None for what its node has.
        owner: for people: the notebook or script that starts it.
        folder: where its logs go; None for a folder beside its connection file.

    Raises:
        ConfigurationError: the name is none that a pool can have, or a number that cannot be.
        PoolExists: a pool of that name is running.
    """
    path = connection_path(name)
    if max_workers_per_node is not None and max_workers_per_node < 1:
        raise ConfigurationError("max_workers_per_node", max_workers_per_node, "use 1 or more, or None for one a core")
    memory = 0 if memory_per_node is None else as_bytes("memory_per_node", memory_per_node)
    if memory_per_node is not None and not memory:
        raise ConfigurationError(
            "memory_per_node", memory_per_node, "use more than 0 bytes, or None for what a node has"
        )
    if gpus_per_node is not None and gpus_per_node < 0:
        raise ConfigurationError("gpus_per_node", gpus_per_node, "use 0 or more, or None for what a node has")
    found = read_file(path)
    if found is not None and (is_alive(found) or is_supervised(found)):
        raise PoolExists(name)
    logs = own_folder(folder if folder is not None else pools_folder() / f"{name}.d")
    sockets = socket_folder()
    return PoolSpec(
        name=name,
        provider=provider,
        folder=str(logs),
        sockets=str(sockets),
        cwd=str(Path.cwd()),
        connection=str(path),
        clients=folder_address(sockets, "clients"),
        managers=folder_address(sockets, "managers"),
        max_workers_per_node=max_workers_per_node or 0,
        memory_per_node=memory,
        gpus_per_node=gpus_per_node,
        owner_pid=os.getpid(),
        owner=owner,
        version=_version(),
    )


def on_interface(spec: PoolSpec, address: str) -> PoolSpec:
    """The same pool with its ports on an interface of this host, so that managers come from other hosts; clients, too, if it lasts.

    Args:
        spec: of the pool.
        address: the interface's IPv4 address.

    Raises:
        ConfigurationError: it is no such address.
    """
    if not names_interface(address):
        raise ConfigurationError("address", address, INTERFACE_FIX)
    clients = spec.clients if spec.owner_pid else None
    return msgspec.structs.replace(spec, address=address, managers=None, clients=clients)


def names_interface(address: str) -> bool:
    """Whether it is an IPv4 address that one interface can have, and that others can connect to."""
    try:
        found = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (found.is_unspecified or found.is_multicast)


def renewed(spec: PoolSpec) -> PoolSpec:
    """The same pool once more, with sockets of its own: for one that was killed. What that left is removed."""
    shutil.rmtree(spec.sockets, ignore_errors=True)
    sockets = socket_folder()
    clients = spec.clients and folder_address(sockets, "clients")
    managers = spec.managers and folder_address(sockets, "managers")
    return msgspec.structs.replace(spec, sockets=str(sockets), clients=clients, managers=managers)


def spawn_pool(spec: PoolSpec) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a pool process.

    Returns at once where the clients' address is known beforehand: one may connect before the pool listens.

    Returns:
        The process, and the connection (its file may not be written yet).

    Raises:
        PoolStartFailed: it ended, or did not write its connection file in time.
    """
    folder = Path(spec.folder)
    path = folder / "pool.json"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(spec))
    err = os.open(folder / "pool.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "shoal.pool.supervisor" if spec.supervised else "shoal.pool", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=err,
            stderr=err,
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(spec, str(error)) from None
    finally:
        os.close(err)
    if spec.clients is None:
        return process, wait_for_file(spec, process)
    return process, spec.connection_of(process.pid, spec.clients, time.time())


def wait_for_file(spec: PoolSpec, process: subprocess.Popen[bytes]) -> Connection:
    """The connection of a pool that is starting, once it has written it.

    Raises:
        PoolStartFailed: it ended, or did not write its connection file in time.
    """
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        found = read_file(Path(spec.connection))
        if found is not None and process.pid in (found.pid, found.supervisor):
            return found
        if process.poll() is not None:
            raise _failed(spec, f"it ended with exit code {process.returncode}")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own; a supervised pool is in there, too
    process.wait()
    raise _failed(spec, f"it did not come up within {START_LIMIT:.0f} s")


def _failed(spec: PoolSpec, reason: str) -> PoolStartFailed:
    """Clear up after a pool that did not start; returns the error to raise."""
    shutil.rmtree(spec.sockets, ignore_errors=True)
    return PoolStartFailed(spec.name, reason, stderr_tail(spec.folder))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to load

    try:
        return version("shoal")
    except PackageNotFoundError:
        return ""  # run from a source tree that is not installed


def stderr_tail(folder: str) -> str:
    """The end of what a pool process wrote to its stderr."""
    try:
        with (Path(folder) / "pool.err").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
