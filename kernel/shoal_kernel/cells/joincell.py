"""``%%join_task``: a cell that makes tasks, and ends when they do; no thread waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.futures import TaskFuture
from shoal.options import TaskOptions as Asked
from shoal.serialize import FunctionImage
from shoal.session import Session
from shoal_kernel.cells.localcell import look, outputs_of, refuse_options
from shoal_kernel.cells.taskcell import Where, start_task_cell
from shoal_kernel.planning.plan import Plan
from shoal_kernel.worker.cellrun import REPORT, CellCode, Report
from shoal_kernel.worker.element import run_text

__all__ = ["run_join", "split_join", "start_join_cell"]

_VALUE = "<value>"


def start_join_cell(shell: Any, line: str, body: str) -> TaskFuture[Any]:
    """Make a task of a cell whose apps are tasks of their own.

    Args:
        shell: the running IPython shell.
        line: the rest of the ``%%join_task`` line.
        body: the lines after it.

    Raises:
        ShoalError: the cell cannot become a task; nothing was changed.
    """
    return start_task_cell(shell, line, body, "%%join_task", _submit)


def _submit(session: Session, notebook: dict[str, Any], plan: Plan, code: CellCode, where: Where) -> TaskFuture[Any]:
    """The cell itself is one task, which ends with the tasks that it made; another one takes its names apart."""
    refuse_options("%%join_task", where.options)
    inputs = {name: notebook[name] for name in [*plan.inputs, *plan.classes]}
    asked = Asked(label=where.label, retries=where.options.retries, join=True, hold=False)
    body = session.enter(FunctionImage(run_join, where.label), (code, where.after), inputs, asked, where.ref)
    asked = Asked(label=where.label, outputs=(REPORT, *plan.outputs), join=True, hold=False)
    whole = session.enter(FunctionImage(split_join, where.label), (code, body), {}, asked, where.ref)
    whole.add_done_callback(lambda future: future.cancelled() and body.cancel())
    return whole


def run_join(code: CellCode, _after: object, /, **names: Any) -> dict[str, Any]:
    """Run a cell here.

    Args:
        code: its text.
        _after: values that were waited for, and are of no use.
        names: the notebook's names that it reads: the notebook's own objects.

    Returns:
        What its names hold, and its value; futures in it are waited for by the session, and their values stand for them.
    """
    namespace = {"__name__": "__main__", **dict.fromkeys(code.existing), **names}
    value = run_text(code, namespace)
    found = {name: namespace[name] for name in code.outputs if name in namespace}
    return {**found, _VALUE: value if code.shows else None}


def split_join(code: CellCode, found: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a cell.

    Args:
        code: the cell.
        found: what its names hold, without futures.
    """
    report = Report(shown=look(found[_VALUE]) if found[_VALUE] is not None else None)
    return outputs_of(code, found, report)
