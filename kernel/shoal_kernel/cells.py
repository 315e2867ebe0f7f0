"""``%%task``: a cell becomes a task, and the names that it writes become futures, at once."""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Callable
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
from shoal_kernel.feed import current_session
from shoal_kernel.guarding import MOVING
from shoal_kernel.names import parse
from shoal_kernel.options import TaskOptions, parse_options
from shoal_kernel.output import CellOutput
from shoal_kernel.plan import Plan, make_plan
from shoal_kernel.refusals import refuse_outside_function
from shoal_kernel.strips import Strip
from shoal_kernel.where import cell_number

__all__ = [
    "Submit",
    "Where",
    "own_names",
    "parsed",
    "python_of",
    "refused_executor",
    "start_task_cell",
    "tell_all",
    "tell_when_over",
]

_open: dict[TaskFuture[Any], Callable[[TaskFuture[Any]], None]] = {}
"""The tasks of cells whose end was not told yet, and what tells it."""


def start_task_cell(
    shell: Any, line: str, body: str, magic: str = "%%task", submit: Submit | None = None
) -> TaskFuture[Any]:
    """Make a task of a cell.

    Args:
        shell: the running IPython shell.
        line: the rest of the ``%%task`` line.
        body: the lines after it.
        magic: the magic, for errors.
        submit: makes the task, otherwise than for a worker.

    Returns:
        The task's future; the names that the cell writes are futures in the notebook from now on.

    Raises:
        ShoalError: the cell cannot become a task; nothing was changed.
    """
    options = parse_options(line, magic)
    count = cell_number(shell)
    text = python_of(shell, body)
    tree = parsed(text, magic)
    here = submit is not None or _on_threads(options)
    plan = make_plan(tree, shell.user_ns, own_names(shell), options, here)
    session = current(start=True)
    output = CellOutput(shell)
    _run_here(shell, plan, text, count)
    shows = isinstance(tree.body[-1], ast.Expr) and not body.rstrip().endswith(";")
    file, existing, classes = f"<Cell In[{count}]>", tuple(plan.existing), tuple(plan.classes)
    code = CellCode(text, file, tuple(plan.outputs), existing, classes, shows, plan.checks)
    future = (submit or _submit)(session, shell.user_ns, plan, code, Where(options, count, output))
    before = {name: shell.user_ns[name] for name in plan.outputs if name in shell.user_ns}
    for name in plan.outputs:
        shell.user_ns[name] = future.outputs[name]
    MOVING.update(future.outputs[name] for name in plan.moving)
    for name in plan.deleted:
        shell.user_ns.pop(name, None)
    strip = Strip(output, future, tuple(plan.told), options.quiet)
    output.reserve(shows)
    tell_when_over(future, _Ending(shell.user_ns, before, plan.managed, output, strip))
    return future


def tell_when_over(future: TaskFuture[Any], ending: Callable[[TaskFuture[Any]], None]) -> None:
    """Call ``ending(future)`` on the callback thread when a cell's task is over; :func:`tell_all` waits for that."""
    _open[future] = ending
    future.add_done_callback(_tell)


def _tell(future: TaskFuture[Any]) -> None:
    try:
        _open[future](future)
    finally:
        del _open[future]


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


Submit = Callable[[Session, dict[str, Any], Plan, CellCode, "Where"], TaskFuture[Any]]
"""Makes the task of a cell: of the session, the notebook's variables, the plan, the code, and where it is."""


class Where:
    """Under which name a cell runs, and where its output goes.

    Args:
        options: the cell's line.
        count: its number.
        output: the place below it.

    Attributes:
        label, executors, ref: for the task.
    """

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


def python_of(shell: Any, body: str) -> str:
    """The cell after IPython's own transforms, with its lines numbered as people count: the magic's is line 1.

    Raises:
        CellError: it is not Python.
    """
    blank = len(body) - len(body.lstrip("\n"))
    try:
        return "\n" * (1 + blank) + str(shell.transform_cell(body))
    except SyntaxError as error:
        raise CellError(f"the cell is not Python ({error.msg})", "correct it") from None


def parsed(text: str, magic: str) -> ast.Module:
    """The syntax tree of a cell.

    Raises:
        CellError: it is not Python, is empty, or has a ``return`` that stands in no function.
    """
    try:
        tree = parse(text)
    except SyntaxError as error:
        lines = text.splitlines()
        near = lines[error.lineno - 1].strip() if error.lineno and error.lineno <= len(lines) else ""
        raise CellError(f"line {error.lineno} is not Python ({error.msg}): {near}", "correct it") from None
    if not tree.body:
        raise CellError(f"the cell has no code after its {magic} line", f"write some, or leave {magic} away")
    refuse_outside_function(tree)
    return tree


def _on_threads(options: TaskOptions) -> bool:
    """Whether a task will surely run on threads of this process."""
    session = current_session()
    if session is None:
        return False
    kinds = [each.kind for label, each in session.executors.items() if options.executor in ("", label)]
    return bool(kinds) and all(kind == "threads" for kind in kinds)


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


def _submit(session: Session, notebook: dict[str, Any], plan: Plan, code: CellCode, where: Where) -> TaskFuture[Any]:
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
        raise refused_executor("%%task", where.executors, error) from None
    except NotPicklable as error:
        what = error.what.replace(
            f"argument '{_named(error.what)}' of {where.label}", f"variable '{_named(error.what)}'"
        )
        raise NotPicklable(what, error.type_name, error.reason, error.fix) from None


def refused_executor(magic: str, executor: str, error: UnknownExecutor) -> UnknownExecutor:
    """The error of a cell that names an executor which is not there."""
    return UnknownExecutor(f"{magic} --executor", executor, error.fix)


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
        for name, reason in [*report.unchecked.items(), *report.parted.items()]:
            self._output.stream("stderr", f"Shoal: '{name}' {reason}.\n")
