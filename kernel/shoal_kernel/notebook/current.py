"""The session that the notebook uses now, and a look at its run that holds still."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import shoal
from shoal.errors import NoSession
from shoal.record.runs import RunView

if TYPE_CHECKING:
    from shoal.session import Session

__all__ = ["current_session", "lasts", "reading"]

_reading = threading.Lock()


def current_session() -> Session | None:
    """The session that apps use; None if there is none."""
    try:
        return shoal.current()
    except NoSession:
        return None


@contextmanager
def reading(session: Session) -> Iterator[RunView]:
    """The session's run as columns, which hold still while the block runs.

    The columns are brought up to date in place, by whichever thread asks: two that read take turns here.
    """
    with _reading:
        yield session.view()


def lasts(session: Session) -> bool:
    """Whether an executor of a session has a pool that lasts."""
    return any(
        executor.kind == "pool" and executor.connection.kind == "lasting"  # type: ignore[attr-defined]
        for executor in session.executors.values()
    )
