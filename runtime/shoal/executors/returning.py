"""Coming back to a lasting pool whose process was started again."""

from __future__ import annotations

import time
from collections.abc import Callable

from shoal.pool.connection import Connection, connection_path, is_alive, is_supervised, read_file

__all__ = ["RETURN_LIMIT", "wait_for_return"]

RETURN_LIMIT = 30.0
"""Seconds that a pool may take to come back."""

_PAUSE = 0.05


def wait_for_return(lost: Connection, stop: Callable[[], bool], limit: float = RETURN_LIMIT) -> Connection | None:
    """Wait for a pool to come back, or to be reachable again.

    Args:
        lost: how it was reached before.
        stop: whether nobody waits any more.
        limit: seconds to wait.

    Returns:
        How it is reached now; None if it does not come back.
    """
    deadline = time.monotonic() + limit
    path = connection_path(lost.name)
    while not stop():
        found = read_file(path)
        if found is not None and found.supervisor == lost.supervisor and is_alive(found):
            return found
        if found is None or not is_supervised(lost):
            return None  # it was ended, or nobody is left to start it again
        if time.monotonic() > deadline:
            return None
        time.sleep(_PAUSE)
    return None
