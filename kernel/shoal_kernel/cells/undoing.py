"""Making tasks of a cell as a whole: an interrupt meanwhile leaves nothing of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from shoal.futures import ValueFuture
from shoal.session import Session
from shoal_kernel.notebook.current import current_session, reading
from shoal_kernel.notebook.where import cell_number

__all__ = ["all_or_nothing"]

_TOLD = (
    "KeyboardInterrupt: stopped while tasks were made of this cell; they are cancelled, and its names are as they were"
)


@contextmanager
def all_or_nothing(shell: Any) -> Iterator[None]:
    """If an interrupt comes in this block, cancel the tasks that it has made, and let names hold what they held.

    Args:
        shell: the running IPython shell.
    """
    before, began = dict(shell.user_ns), time.time()
    try:
        yield
    except KeyboardInterrupt as error:
        # a thread of its own: the next interrupt must not come between
        undoing = threading.Thread(target=_undo, args=(shell, before, began), name="shoal-undo", daemon=True)
        undoing.start()
        while undoing.is_alive():
            with suppress(KeyboardInterrupt):
                undoing.join()
        setattr(error, "_render_traceback_", lambda: [_TOLD])  # noqa: B010 - as in errors.short
        raise


def _undo(shell: Any, before: dict[str, Any], began: float) -> None:
    session = current_session()
    if session is None:
        return
    made = _made(session, cell_number(shell), began)
    notebook = shell.user_ns
    for name, value in list(notebook.items()):
        ours = isinstance(value, ValueFuture) and value.owner is session.owner and value.tid in made
        if ours and before.get(name) is not value:
            del notebook[name]
    for name in before.keys() - notebook.keys():
        notebook[name] = before[name]
    for tid in reversed(made):
        session.cancel(tid)


def _made(session: Session, count: int, began: float) -> dict[int, None]:
    with reading(session) as view:
        tids = range(len(view))
        return {
            tid: None
            for tid in tids
            if (cell := view.cell[tid]) is not None and cell.execution_count == count and view.submitted[tid] >= began
        }
