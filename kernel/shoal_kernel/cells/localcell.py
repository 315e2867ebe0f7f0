"""``%%localtask``: a cell that runs on a thread of the kernel, for what cannot travel; nothing is copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.containers import replace_futures
from shoal.errors import CellError
from shoal.futures import TaskFuture
from shoal.options import TaskOptions as Asked
from shoal.serialize import FunctionImage
from shoal.session import Session
from shoal_kernel.cells.taskcell import Where, start_task_cell
from shoal_kernel.lines.options import TaskOptions
from shoal_kernel.planning.plan import Plan
from shoal_kernel.worker.cellrun import REPORT, Absent, CellCode, Report
from shoal_kernel.worker.element import run_text

__all__ = ["look", "outputs_of", "refuse_options", "run_local", "start_local_cell"]


def start_local_cell(shell: Any, line: str, body: str) -> TaskFuture[Any]:
    """Make a task of a cell that runs on a thread of this kernel.

    Args:
        shell: the running IPython shell.
        line: the rest of the ``%%localtask`` line.
        body: the lines after it.

    Raises:
        ShoalError: the cell cannot become a task; nothing was changed.
    """
    return start_task_cell(shell, line, body, "%%localtask", _submit)


def _submit(session: Session, notebook: dict[str, Any], plan: Plan, code: CellCode, where: Where) -> TaskFuture[Any]:
    refuse_options("%%localtask", where.options)
    options = where.options
    inputs = {name: notebook[name] for name in [*plan.inputs, *plan.classes]}
    # the threads of the session, which also run the bodies of join apps: an app that the cell calls becomes a task
    asked = Asked(label=where.label, outputs=(REPORT, *plan.outputs), retries=options.retries, join=True, hold=False)
    return session.enter(FunctionImage(run_local, where.label), (code, where.after), inputs, asked, where.ref)


def refuse_options(magic: str, options: TaskOptions) -> None:
    """Refuse what threads of the kernel neither have nor keep.

    Args:
        magic: for the error.
        options: what the cell's line says.

    Raises:
        CellError: there is such an option.
    """
    given: dict[str, Any] = {"--executor": options.executor, "--walltime": options.walltime}
    given |= {"--cache": options.cache, "--env": options.env}
    needs = options.resources
    if needs is not None:
        given |= {f"--{name}": getattr(needs, name) for name in ("memory", "gpus", "priority")}
        given["--cores"] = needs.cores if needs.cores != 1.0 else None
    for name, value in given.items():
        if value:
            raise CellError(
                f"{magic} {name}: the threads of the kernel neither have nor keep that",
                "leave it away, or use %%task",
            )


def run_local(code: CellCode, _after: object = (), /, **names: Any) -> dict[str, Any]:
    """Run a cell here.

    Args:
        code: its text.
        _after: values that were waited for, and are of no use.
        names: the notebook's names that it reads: the notebook's own objects.

    Returns:
        The value of each output, and under ``REPORT`` what is said of the run. Where tasks were made in the cell, their values
        stand for them.
    """
    namespace = {"__name__": "__main__", **dict.fromkeys(code.existing), **names}
    value = run_text(code, namespace)
    report = Report()
    if code.shows and value is not None:
        report.shown = look(value)
    found = {name: namespace[name] for name in code.outputs if name in namespace}
    return outputs_of(code, replace_futures(found, lambda future: future.result()), report)


def outputs_of(code: CellCode, found: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The outputs of a cell that ran here, and what is said of the run.

    Args:
        code: the cell.
        found: what those of its names hold that it has set.
        report: gets those that it has not.
    """
    results: dict[str, Any] = {REPORT: report}
    for name in code.outputs:
        if name not in found:
            report.missing[name] = "was not set: the statement that sets it did not run, or it was deleted"
        results[name] = found[name] if name in found else Absent(name, report.missing[name])
    return results


def look(value: object) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """How a value looks in this notebook: its representations and their metadata; None if it shows nothing."""
    from IPython.core.interactiveshell import InteractiveShell

    if not InteractiveShell.initialized():
        return {"text/plain": repr(value)}, {}
    formatter = InteractiveShell.instance().display_formatter
    assert formatter is not None, "every shell has one"
    data, metadata = formatter.format(value)  # type: ignore[no-untyped-call, unused-ignore]
    return (data, metadata) if data else None
