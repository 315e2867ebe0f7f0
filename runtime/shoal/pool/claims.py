"""Claims: who may start the pool of a name. Of several processes that want to at once, one gets it.

A claim is a symbolic link beside the connection file whose target says who holds it: made in one step or not at all, also
on network file systems. It is held while the pool starts; from then on its connection file has the name.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shoal.errors import PoolExists
from shoal.links import process_started
from shoal.pool.connection import connection_path

__all__ = ["claimed"]

FOREIGN_LIMIT = 120.0
"""Seconds after which the claim of another host counts as stale: whether its process is alive cannot be told."""


@contextmanager
def claimed(name: str) -> Iterator[None]:
    """Hold the claim to ``name``.

    Args:
        name: of the pool that is about to be started.

    Raises:
        ConfigurationError: no pool can have that name.
        PoolExists: another process is starting a pool of that name.
    """
    path = connection_path(name)
    claim = path.with_name(f".{name}.claim")
    # The last part keeps apart two threads of one process.
    mine = f"{os.getpid()}:{process_started(os.getpid())}:{os.uname().nodename}:{uuid.uuid4().hex}"
    while not _take(claim, mine):
        theirs = _holder(claim)
        if theirs is None:
            continue  # given up meanwhile
        if _is_held(claim, theirs):
            raise PoolExists(name)
        _remove(claim, theirs)
    try:
        yield
    finally:
        _remove(claim, mine)


def _take(claim: Path, mine: str) -> bool:
    try:
        claim.symlink_to(mine)
    except FileExistsError:
        return False
    return True


def _holder(claim: Path) -> str | None:
    try:
        return str(claim.readlink())
    except FileNotFoundError:
        return None
    except OSError:
        return ""  # no link: not made here


def _is_held(claim: Path, holder: str) -> bool:
    """Whether the process that made the claim is there."""
    pid, _, rest = holder.partition(":")
    started, _, rest = rest.partition(":")
    host = rest.partition(":")[0]
    if not (pid.isdigit() and started.isdigit() and host):
        return False
    if host == os.uname().nodename:
        return process_started(int(pid)) == int(started)
    with suppress(FileNotFoundError):
        return time.time() - claim.lstat().st_mtime < FOREIGN_LIMIT
    return False


def _remove(claim: Path, holder: str) -> None:
    """Remove the claim if it is still that of ``holder``.

    It is taken aside first and looked at there, so that of several who clear up nobody removes a newer claim for good.
    """
    aside = claim.with_name(f"{claim.name}-{uuid.uuid4().hex}")
    try:
        claim.rename(aside)
    except FileNotFoundError:
        return
    found = _holder(aside)
    if found and found != holder:
        _take(claim, found)
    aside.unlink(missing_ok=True)
