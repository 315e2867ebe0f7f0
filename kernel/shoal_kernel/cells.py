"""``%%task``: a cell becomes a task, and the names that it writes become futures, at once."""

from __future__ import annotations

import ast
import sys
import time
from types import FunctionType
from typing import Any

from shoal.callbacks import drain
from shoal.config import current
from shoal.errors import CellError, NotPicklable, UnknownExecutor
from shoal.events import CellRef
from shoal.futures import OutputFuture, TaskFuture
from shoal.session import Session
from shoal_kernel.cellrun import REPORT, CellCode, Report, run_cell
from shoal_kernel.errors import explain
from shoal_kernel.names import parse
from shoal_kernel.options import TaskOptions, parse_options
from shoal_kernel.output import CellOutput
from shoal_kernel.plan import Plan, make_plan
from shoal_kernel.refusals import refuse_outside_function
from shoal_kernel.strips import Strip
from shoal_kernel.where import cell_number

__all__ = ["own_names", "start_task_cell", "tell_all"]

_open: dict[TaskFuture[Any], None] = {}
"""The tasks of cells whose end was not told yet."""


def start_task_cell(shell: Any, line: str, body: str) -> TaskFuture[Any]:
    """Make a task of a cell.

    Args:
        shell: the running IPython shell.
        line: the rest of the ``%%task`` line.
        body: the lines after it.

    Returns:
        The task's future; the names that the cell writes are futures in the notebook from now on.

    Raises:
        ShoalError: the cell cannot become a task; nothing was changed.
    """
    options = parse_options(line)
    count = cell_number(shell)
    text = _python(shell, body)
    tree = _parsed(text)
    plan = make_plan(tree, shell.user_ns, own_names(shell), options)
    session = current(start=True)
    output = CellOutput(shell)
    _run_here(shell, plan, text, count)
    shows = isinstance(tree.body[-1], ast.Expr) and not body.rstrip().endswith(";")
    code = CellCode(text, f"<Cell In[{count}]>", tuple(plan.outputs), tuple(plan.existing), tuple(plan.classes), shows)
    future = _submit(session, shell.user_ns, plan, code, _Where(options, count, output))
    before = {name: shell.user_ns[name] for name in plan.outputs if name in shell.user_ns}
    for name in plan.outputs:
        shell.user_ns[name] = future.outputs[name]
    for name in plan.deleted:
        shell.user_ns.pop(name, None)
    strip = Strip(output, future, tuple(plan.told), options.quiet)
    output.reserve(shows)
    _open[future] = None
    future.add_done_callback(_Ending(shell.user_ns, before, plan.managed, output, strip))
    return future


def tell_all(timeout: float) -> bool:
    """Wait until the end of each task cell that is over was told below it.

    Args:
        timeout: seconds at most.

    Returns:
        Whether it was.
    """
    deadline = time.monotonic() + timeout
    # a future is done a moment before its callbacks are given to their thread
    while any(future.done() for future in list(_open)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return drain(max(0.0, deadline - time.monotonic()))


class _Where:
    """Under which name a cell runs, and where its output goes."""

    def __init__(self, options: TaskOptions, count: int, output: CellOutput) -> None:
        self.options = options
        self.label = options.name or f"cell {count}"
        self.executors = options.executor or "all"
        self.ref = CellRef(output.cell_id, count, 1)
        self.output = output


def own_names(shell: Any) -> set[str]:
    """The user's variables: those of the notebook that IPython did not put there itself."""
    hidden = shell.user_ns_hidden
    return {
        name
        for name, value in shell.user_ns.items()
        if not (name.startswith("__") and name.endswith("__")) and hidden.get(name, hidden) is not value
    }


def _python(shell: Any, body: str) -> str:
    """The cell after IPython's own transforms, with its lines numbered as people count: ``%%task`` is line 1."""
    blank = len(body) - len(body.lstrip("\n"))
    try:
        return "\n" * (1 + blank) + str(shell.transform_cell(body))
    except SyntaxError as error:
        raise CellError(f"the cell is not Python ({error.msg})", "correct it") from None


def _parsed(text: str) -> ast.Module:
    try:
        tree = parse(text)
    except SyntaxError as error:
        lines = text.splitlines()
        near = lines[error.lineno - 1].strip() if error.lineno and error.lineno <= len(lines) else ""
        raise CellError(f"line {error.lineno} is not Python ({error.msg}): {near}", "correct it") from None
    if not tree.body:
        raise CellError("the cell has no code after its %%task line", "write some, or leave %%task away")
    refuse_outside_function(tree)
    return tree


def _run_here(shell: Any, plan: Plan, text: str, count: int) -> None:
    """Imports and plain definitions of the cell, in the notebook."""
    if not plan.local:
        return
    name = shell.compile.cache(text, count)
    for part in plan.local:
        try:
            body = compile(ast.Module([part], []), name, "exec", dont_inherit=True)
            exec(body, shell.user_ns)  # noqa: S102 - the user's own statements, as in a plain cell
        except ImportError as error:
            print(f"Shoal: {error}; the name is known on the workers only.", file=sys.stderr)  # noqa: T201


def _submit(session: Session, notebook: dict[str, Any], plan: Plan, code: CellCode, where: _Where) -> TaskFuture[Any]:
    inputs = {name: notebook[name] for name in [*plan.inputs, *plan.classes]}
    anchor = FunctionType(_anchor.__code__, notebook, "anchor")
    try:
        return session.submit(
            run_cell,
            (code, anchor),
            inputs,
            label=where.label,
            executors=where.executors,
            resources=where.options.resources,
            retries=where.options.retries,
            walltime=where.options.walltime,
            outputs=(*plan.outputs, REPORT),
            cell=where.ref,
            on_output=where.output.stream,
            hold=False,
        )
    except UnknownExecutor as error:
        raise UnknownExecutor("%%task --executor", where.executors, error.fix) from None
    except NotPicklable as error:
        what = error.what.replace(
            f"argument '{_named(error.what)}' of {where.label}", f"variable '{_named(error.what)}'"
        )
        raise NotPicklable(what, error.type_name, error.reason, error.fix) from None


def _named(what: str) -> str:
    return what.split("'")[1] if what.count("'") >= 2 else ""


def _anchor() -> None:
    """Its copy has the notebook's variables as globals, and so brings those of all functions along."""


class _Ending:
    """Shows how a task cell ended. Called on the callback thread, after all that the task printed.

    Args:
        notebook: the notebook's variables.
        before: what the names that the cell writes held before.
        managed: names that ``with ... as`` binds: that they cannot travel is no news.
        output: the place below the cell.
        strip: the line there.
    """

    def __init__(
        self,
        notebook: dict[str, Any],
        before: dict[str, Any],
        managed: frozenset[str],
        output: CellOutput,
        strip: Strip,
    ) -> None:
        self._notebook, self._before, self._managed = notebook, before, managed
        self._output, self._strip = output, strip

    def __call__(self, future: TaskFuture[Any]) -> None:
        """Show the value, or the error, and the line's last state."""
        try:
            self._end(future)
        finally:
            _open.pop(future, None)

    def _end(self, future: TaskFuture[Any]) -> None:
        self._strip.end()
        if future.cancelled():
            return
        outcome = future.outcome
        failed = None if outcome is None else explain(outcome, future.describe())
        if failed is not None:
            self._output.error(*failed)
        else:
            self._tell(future.outputs, future.outputs[REPORT].result())

    def _tell(self, outputs: Any, report: Report) -> None:
        if report.shown is not None:
            self._output.value(*report.shown)
        for name, reason in [*report.missing.items(), *report.stayed.items()]:
            silent = name in report.stayed and name in self._managed
            future: OutputFuture[Any] = outputs[name]
            kept = name in self._before and name in report.missing
            if self._notebook.get(name) is future:
                del self._notebook[name]
                if kept:
                    self._notebook[name] = self._before[name]
            end = " It holds what it held before." if kept else ""
            if not silent:
                self._output.stream("stderr", f"Shoal: '{name}' {reason}.{end}\n")
