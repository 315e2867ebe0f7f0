"""Where this process stands: a client's process, or a worker of a pool. It imports nothing of Shoal."""

from __future__ import annotations

__all__ = ["enter_worker", "in_worker"]

_worker = False


def enter_worker() -> None:
    """From now on this process is a worker: apps that its tasks call run in place, and start no pool."""
    global _worker
    _worker = True


def in_worker() -> bool:
    """Whether this process is a worker."""
    return _worker
