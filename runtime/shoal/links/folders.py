"""Where sockets lie, and whose processes are at their ends."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from shoal.errors import ConfigurationError
from shoal.wire.starting import Address

__all__ = ["folder_address", "own_folder", "process_started", "socket_folder"]

PATH_LIMIT = 100
"""Unix socket paths up to this many bytes work everywhere (the kernel takes 107)."""


def own_folder(path: Path) -> Path:
    """Make ``path`` a folder that only its owner can enter, and return it.

    Raises:
        ConfigurationError: it belongs to somebody else or is open to others.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError("folder", str(path), "it must be a folder of yours with mode 0700; remove or mend it")
    return path


def socket_folder() -> Path:
    """A new folder for the sockets of one pool, mode 0700, with a path as short as can be had."""
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108  own_folder checks
        if base and len(base) <= PATH_LIMIT - 40 and os.access(base, os.W_OK | os.X_OK):
            home = own_folder(Path(base) / f"shoal-{os.getuid()}")
            return Path(tempfile.mkdtemp(prefix="p-", dir=home))
    return Path(tempfile.mkdtemp(prefix="shoal-"))


def folder_address(folder: Path, name: str) -> Address | None:
    """The address of the Unix socket ``name`` in ``folder``; None if its path would be too long."""
    path = folder / name
    return Address(f"unix://{path}") if len(os.fsencode(path)) <= PATH_LIMIT else None


def process_started(pid: int) -> int:
    """When a process of this host started, in clock ticks since boot; 0 if it is gone. Tells a reused pid.

    A zombie is gone, too: its parent (a Jupyter server that started a pool, say) may not collect it for long.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0
