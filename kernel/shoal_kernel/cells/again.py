"""``%retry``: cells that became tasks, so that a task that failed can be made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from shoal.errors import CellError
from shoal.record.tasks import TaskRecord
from shoal.session import Session
from shoal_kernel.notebook.current import reading
from shoal_kernel.notebook.where import cell_number

__all__ = ["check_failed", "refuse_here", "remember", "remember_earlier", "retry_task"]

Start = Callable[[Any, str, str], object]
_MANY = 1000
_ENDED_BADLY = ("failed", "skipped", "cancelled")


class _Cell(NamedTuple):
    start: Start
    line: str
    body: str


_cells: dict[tuple[str, int], _Cell] = {}
_earlier: set[tuple[str, int]] = set()
"""Tasks of cells that an earlier kernel ran."""


def remember(session: Session, shell: Any, start: Start, line: str, body: str) -> None:
    """A cell has become tasks.

    Args:
        session: whose tasks.
        shell: the running IPython shell.
        start: what made them: ``start(shell, line, body)``.
        line: the rest of the magic's line.
        body: the lines after it.
    """
    _cells[session.run_id, cell_number(shell)] = _Cell(start, line, body)
    if len(_cells) > _MANY:
        del _cells[next(iter(_cells))]


def remember_earlier(session: Session, tid: int) -> None:
    """A task was taken over that a cell of an earlier kernel had become.

    Args:
        session: which has the task now.
        tid: its number there.
    """
    _earlier.add((session.run_id, tid))


def check_failed(session: Session, tid: int) -> str:
    """The words for a task that has no value.

    Raises:
        CellError: it has one, or may get one.
    """
    with reading(session) as view:
        record = view.record(tid)
    who = f"{record.label} (task {tid})"
    if record.status not in _ENDED_BADLY:
        raise CellError(f"{who} is {record.status}, so that there is nothing to try again", "see %tasks failed")
    return who


def refuse_here(session: Session, tid: int, who: str) -> NoReturn:
    """Say why a task cannot be run in the kernel.

    Args:
        session: whose task.
        tid: its number.
        who: the words for it.

    Raises:
        CellError: always.
    """
    with reading(session) as view:
        record = view.record(tid)
    _refuse_earlier(session, tid, who)
    if _cell_of(session, record) is None:
        fix = f"call {record.label}.__wrapped__(...) here with them; %debug then opens the failing line"
        raise CellError(f"{who} was made by a call, whose arguments are not kept", fix)
    reason = f"what {who} had is not kept: that is done for the last tasks of cells that failed themselves"
    raise CellError(reason, f"write %retry {tid}, which runs its cell on a worker again")


def _refuse_earlier(session: Session, tid: int, who: str) -> None:
    if (session.run_id, tid) in _earlier:
        raise CellError(
            f"{who} is of a cell that an earlier kernel ran, and what it read ended there", "run the cell again"
        )


def _cell_of(session: Session, record: TaskRecord) -> _Cell | None:
    count = record.cell.execution_count if record.cell is not None else 0
    return _cells.get((session.run_id, count))


def retry_task(session: Session, shell: Any, tid: int, more: str = "") -> None:
    """Run the cell of a task that has no value again, with the notebook's variables as they are now.

    Args:
        session: whose task.
        shell: the running IPython shell.
        tid: its number.
        more: options to add to the cell's line.

    Raises:
        ShoalError: the task did not fail, was not made by a cell, or its cell cannot become a task now.
    """
    who = check_failed(session, tid)
    with reading(session) as view:
        record = view.record(tid)
    _refuse_earlier(session, tid, who)
    cell = _cell_of(session, record)
    if cell is None:
        raise CellError(f"{who} was made by a call, which is not kept", "call the app again, or give it retries=1")
    line = f"{cell.line} {more}".strip()
    cell.start(shell, line, cell.body)
    remember(session, shell, cell.start, line, cell.body)
