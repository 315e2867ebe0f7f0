"""``%%task``: a cell becomes a task, and the names that it writes become futures, at once."""

from __future__ import annotations

import ast
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import FunctionType
from typing import Any

import msgspec

from shoal.config import current
from shoal.errors import CellError, ConfigurationError, NotPicklable, ShoalError, UnknownExecutor
from shoal.events import CellRef
from shoal.futures import TaskFuture
from shoal.options import TaskOptions as Asked
from shoal.serialize import FunctionImage
from shoal.session import Session
from shoal_kernel.analysis.names import parse
from shoal_kernel.analysis.refusals import TOO_DEEP, refuse_keyboard, refuse_outside_function
from shoal_kernel.cells.everywhere import prelude_names, preludes
from shoal_kernel.cells.inflight import after_of, entered
from shoal_kernel.cells.results import spread
from shoal_kernel.cells.runhere import run_here
from shoal_kernel.lines.options import TaskOptions, parse_options
from shoal_kernel.notebook.current import current_session, lasts
from shoal_kernel.notebook.kept import Kept, ended, keep
from shoal_kernel.notebook.where import cell_number
from shoal_kernel.output.endings import Ending, tell_when_over
from shoal_kernel.output.place import CellOutput
from shoal_kernel.output.shown import Splitter
from shoal_kernel.output.strips import Strip
from shoal_kernel.planning.guarding import MOVING
from shoal_kernel.planning.plan import Plan, make_plan
from shoal_kernel.worker.cellrun import REPORT, CellCode, run_cell

__all__ = [
    "Draft",
    "Submit",
    "Where",
    "on_threads",
    "own_names",
    "parsed",
    "plan_of",
    "python_of",
    "refused_executor",
    "refused_needs",
    "start_task_cell",
    "submit_draft",
]

_WIDEST = 80
"""Characters of a line that an error repeats."""

_FIX = (
    "make it in the cell, or on each worker with %%everywhere; %%localtask runs the cell here, with the object itself; "
    "-i names what travels"
)


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
    text = python_of(shell, body)
    draft = Draft(text, parsed(text, magic), options, not body.rstrip().endswith(";"))
    return submit_draft(shell, draft, plan_of(shell, draft, submit is not None), submit)


class Draft(msgspec.Struct, frozen=True):
    """A cell that is to become a task.

    Args:
        text: Python, with its lines numbered as in the notebook.
        tree: its syntax tree.
        options: what its line says.
        shows: whether the value of a last expression is to be shown.
        after: futures that the task waits for without needing their values.
        learn: is told if the cell turns out to be no task: ``learn(text, why)``.
    """

    text: str
    tree: ast.Module
    options: TaskOptions
    shows: bool = True
    after: tuple[Future[Any], ...] = ()
    learn: Callable[[str, str], None] | None = None


def plan_of(shell: Any, draft: Draft, local: bool = False) -> Plan:
    """What a cell takes along and brings back.

    Args:
        shell: the running IPython shell.
        draft: the cell.
        local: it runs in this process for certain.

    Raises:
        CellError: it cannot become a task.
    """
    here = local or on_threads(draft.options.executor)
    elsewhere = frozenset() if local else prelude_names()
    try:
        return make_plan(draft.tree, shell.user_ns, own_names(shell), draft.options, here, elsewhere)
    except RecursionError:
        raise CellError(*TOO_DEEP) from None


def submit_draft(shell: Any, draft: Draft, plan: Plan, submit: Submit | None = None) -> TaskFuture[Any]:
    """Make a task of a cell that was planned; the names that it writes are futures from now on.

    Raises:
        ShoalError: the cell cannot become a task; nothing was changed.
    """
    text, tree, options, count = draft.text, draft.tree, draft.options, cell_number(shell)
    after = (*draft.after, *after_of(options.after, shell.user_ns))
    session = current(start=True)
    output = CellOutput(shell)
    run_here(shell, plan.local, text, count)
    shows = draft.shows and isinstance(tree.body[-1], ast.Expr)
    file, existing, classes = f"<Cell In[{count}]>", tuple(plan.existing), tuple(plan.classes)
    code = CellCode(text, file, tuple(plan.outputs), existing, classes, shows, plan.checks, options.env, preludes())
    where = Where(options, count, output, after)
    future = (submit or _submit)(session, shell.user_ns, plan, code, where)
    run_here(shell, plan.late, text, count)
    held = {name: shell.user_ns[name] for name in [*plan.inputs, *plan.classes]}
    keep(session.run_id, future.tid, Kept(code, held, shows))
    entered(shell.user_ns, plan, future, f"{where.label} (task {future.tid})", text)
    before = {name: shell.user_ns[name] for name in plan.outputs if name in shell.user_ns}
    for name in plan.outputs:
        shell.user_ns[name] = future.outputs[name]
    MOVING.update(future.outputs[name] for name in plan.moving)
    for name in plan.deleted:
        shell.user_ns.pop(name, None)
    strip = Strip(output, future, tuple(plan.told), options.quiet)
    output.reserve(shows)
    learn = None if draft.learn is None else partial(draft.learn, text)
    ending = Ending(shell.user_ns, (output, strip), before, plan.managed, learn, session)
    tell_when_over(future, partial(_end, session.run_id, ending))
    return future


def _end(run_id: str, ending: Ending, future: TaskFuture[Any]) -> None:
    ended(run_id, future)
    ending(future)


Submit = Callable[[Session, dict[str, Any], Plan, CellCode, "Where"], TaskFuture[Any]]
"""Makes the task of a cell: of the session, the notebook's variables, the plan, the code, and where it is."""


class Where:
    """Under which name a cell runs, and where its output goes.

    Args:
        options: the cell's line.
        count: its number.
        output: the place below it.
        after: futures that it waits for without needing their values.

    Attributes:
        label, ref: for the task.
    """

    def __init__(
        self, options: TaskOptions, count: int, output: CellOutput, after: tuple[Future[Any], ...] = ()
    ) -> None:
        self.options, self.after = options, after
        self.label = options.name or f"cell {count}"
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
    tree: ast.Module | None = None
    try:
        tree = parse(text)
        compile(
            tree, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )  # finds a break outside of a loop
    except SyntaxError as error:
        if tree is not None:
            refuse_outside_function(tree)  # which has better words
        lines = text.splitlines()
        near = lines[error.lineno - 1].strip() if error.lineno and error.lineno <= len(lines) else ""
        where = f"line {error.lineno}" if error.lineno else "the cell"
        told = f": {near[:_WIDEST]}" if near else ""
        raise CellError(f"{where} is not Python ({error.msg}){told}", "correct it") from None
    except (RecursionError, MemoryError):
        raise CellError(*TOO_DEEP) from None
    if not tree.body:
        raise CellError(f"the cell has no code after its {magic} line", f"write some, or leave {magic} away")
    try:
        refuse_keyboard(tree, magic)
    except RecursionError:
        raise CellError(*TOO_DEEP) from None
    return tree


def on_threads(executor: str) -> bool:
    """Whether a task will surely run on threads of this process.

    Args:
        executor: the label that is asked for; empty for any.
    """
    session = current_session()
    if session is None:
        return False
    kinds = [each.kind for label, each in session.executors.items() if executor in ("", label)]
    return bool(kinds) and all(kind == "threads" for kind in kinds)


def _submit(session: Session, notebook: dict[str, Any], plan: Plan, code: CellCode, where: Where) -> TaskFuture[Any]:
    inputs = {name: notebook[name] for name in [*plan.inputs, *plan.classes]}
    if lasts(session):
        inputs = {name: spread(value) for name, value in inputs.items()}
    anchor = FunctionType(_anchor.__code__, notebook, "anchor")
    # a result that is kept is the same whatever number the cell has
    file, kept = (code.file, msgspec.structs.replace(code, file="")) if where.options.cache else ("", code)
    asked = Asked(
        label=where.label,
        executors=(where.options.executor,) if where.options.executor else "all",
        outputs=(*plan.outputs, REPORT),
        resources=where.options.resources,
        retries=where.options.retries,
        walltime=where.options.walltime or 0.0,
        cache=where.options.cache,
        ignore_for_cache=("_of_cell",),
        hold=False,
    )
    image, shows = FunctionImage(run_cell, where.label), Splitter(where.output.stream, where.output.show)
    try:
        return session.enter(image, (kept, anchor, where.after, file), inputs, asked, where.ref, shows)
    except UnknownExecutor as error:
        raise refused_executor("%%task", where.options.executor, error) from None
    except ConfigurationError as error:
        raise refused_needs("%%task", error) from None
    except NotPicklable as error:
        what = error.what.replace(
            f"argument '{_named(error.what)}' of {where.label}", f"variable '{_named(error.what)}'"
        )
        raise NotPicklable(what, error.type_name, error.reason, _FIX) from None


def refused_needs(magic: str, error: ConfigurationError) -> ShoalError:
    """The error of a cell that asks for more than any executor has.

    Args:
        magic: the magic.
        error: what the session said.
    """
    if error.field != "resources":
        return error
    return CellError(f"{magic} asks for more than there is: {error.fix}", "ask for less, or load a session that has it")


def refused_executor(magic: str, executor: str, error: UnknownExecutor) -> UnknownExecutor:
    """The error of a cell that names an executor which is not there."""
    return UnknownExecutor(f"{magic} --executor", executor, error.fix)


def _named(what: str) -> str:
    return what.split("'")[1] if what.count("'") >= 2 else ""


def _anchor() -> None:
    """Its copy has the notebook's variables as globals, and so brings those of all functions along."""
