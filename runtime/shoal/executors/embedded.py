"""A pool of the session's own: a child process that is started again when it is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from shoal.errors import PoolLost, PoolStartFailed, ShoalError
from shoal.pool.connection import Connection, remove_connection
from shoal.pool.marks import read_marks
from shoal.pool.remains import clear_remains, take_words
from shoal.pool.spec import PoolSpec
from shoal.pool.start import renewed, spawn_pool, stderr_tail

__all__ = ["EmbeddedPool", "pidfd_of", "plain", "who"]

_SPAN = 60.0
"""Seconds within which so many falls are too many."""


class EmbeddedPool:
    """The process of a pool, which this process has started.

    Args:
        spec: what it is.
        restarts: how often it may be started again in 60 s without any result in between.

    Raises:
        PoolStartFailed: the process cannot be started.
    """

    def __init__(self, spec: PoolSpec, restarts: int) -> None:
        self._spec = spec
        self._restarts = restarts
        self._falls: deque[float] = deque()
        self._welcomed = False
        self._process, self.connection = spawn_pool(spec)

    def worked(self) -> None:
        """A result has come: what fell before is forgotten."""
        if self._falls:
            self._falls.clear()

    def post_mortem(self, welcomed: bool) -> ShoalError:
        """Why the process ended.

        Args:
            welcomed: whether it had answered.
        """
        name, tail = self.connection.name, stderr_tail(self.connection.folder)
        self._welcomed = self._welcomed or welcomed
        code = self._process.wait()
        reason = f"its process ended with exit code {code}" if code >= 0 else f"its process was ended by signal {-code}"
        return PoolLost(name, reason, tail) if self._welcomed else PoolStartFailed(name, reason, tail)

    def may_start_again(self) -> bool:
        """Whether it has ended by itself, after it had come up, and not too often; counts as a fall."""
        if not self._welcomed or self._process.poll() is None:
            return False
        now = time.monotonic()
        while self._falls and now - self._falls[0] > _SPAN:
            self._falls.popleft()
        self._falls.append(now)
        return len(self._falls) <= self._restarts

    def begun(self, client: int) -> set[tuple[int, int]] | None:
        """The attempts of a client that may have begun in the process that has ended, once nothing of it runs any more.

        Args:
            client: its number in the pool; 0 if that had not welcomed it yet, and so had nothing of it.

        Returns:
            ``(tid, attempt)`` each; None if it may be any that it was sent.
        """
        clear_remains(self._spec.folder)
        marks, unbegun = read_marks(self._spec.marks()), take_words(self._spec.folder)
        if not client:
            return set()
        if marks is None:
            return None
        return {(tid, attempt) for number, tid, attempt in marks - unbegun if number == client}

    def start_again(self) -> Connection:
        """Start another process of the same pool.

        Raises:
            PoolStartFailed: it cannot be started.
        """
        self._spec = renewed(self._spec)
        self._process, self.connection = spawn_pool(self._spec)
        return self.connection

    def close(self, patience: float) -> None:
        """Wait for the process, which was told to end, and end it otherwise: that ends its managers and workers, too."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        remove_connection(self.connection)


def plain(label: str) -> str:
    """A label as part of a pool's name and of a folder's."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", label).strip("-_")[:20] or "pool"


def who() -> str:
    """This client's name for people: the script, or the notebook's kernel."""
    name = os.environ.get("JPY_SESSION_NAME") or sys.argv[0]
    return Path(name).name or "python"


def pidfd_of(connection: Connection) -> int:
    """A descriptor that is readable once the pool's process has ended; -1 if it runs on another host."""
    if connection.host != os.uname().nodename:
        return -1
    try:
        return os.pidfd_open(connection.pid)
    except OSError:
        return -1
