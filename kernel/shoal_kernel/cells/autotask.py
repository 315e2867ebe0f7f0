"""``%autotask``: plain cells become tasks where they safely can, so that "Run All" runs a notebook as its own graph."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import msgspec

from shoal.apps import App
from shoal.config import current
from shoal.errors import CellError, NotPicklable, ShoalError
from shoal.futures import TaskFuture, ValueFuture
from shoal.session import Session
from shoal_kernel.analysis.names import CellNames, analyse, parse
from shoal_kernel.analysis.refusals import refuse_outside_function
from shoal_kernel.cells.again import remember
from shoal_kernel.cells.everywhere import carry
from shoal_kernel.cells.inflight import clashes, refuse_clash
from shoal_kernel.cells.taskcell import Draft, own_names, plan_of, submit_draft
from shoal_kernel.lines.options import TaskOptions, parse_options
from shoal_kernel.planning.needed import calls_apps
from shoal_kernel.planning.outside import outside
from shoal_kernel.planning.plan import Plan
from shoal_kernel.planning.reaching import definitions
from shoal_kernel.planning.staying import stays

__all__ = ["MODES", "PLAIN", "Stays", "autotask", "is_trivial", "learn", "say", "start_auto_cell"]

MODES = ("on", "off", "ordered")
PLAIN = "# shoal: plain"
"""The first line of a cell that always runs in the kernel."""

_LITERALS = (
    ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop,
    ast.expr_context,
)  # fmt: skip
_DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass)
_LAST = {"_", "__", "___"}
_seeds: set[str] = set()
"""What has seeded the random numbers of a module, if anything has."""

_mode = "off"
_learned: dict[str, str] = {}


class Stays(Exception):
    """A cell is not made a task.

    Args:
        why: what to say; empty for nothing.
        waits: it also has to come after all cells in flight.
        where: where it runs, in words.
    """

    def __init__(self, why: str = "", waits: bool = False, where: str = "in the kernel") -> None:
        super().__init__(why)
        self.why, self.waits, self.where = why, waits, where


def autotask(mode: str | None = None) -> str:
    """The mode, after setting it if one is given.

    Raises:
        CellError: there is no such mode.
    """
    global _mode
    if mode is not None:
        if mode not in MODES:
            raise CellError(f"%autotask {mode}: there is no such mode", f"write %autotask {' or '.join(MODES)}")
        _mode = mode
    return _mode


def learn(text: str, why: str) -> None:
    """A cell turned out to be no task: from now on it runs in the kernel.

    Args:
        text: the cell.
        why: what to say then.
    """
    _learned[text] = why


def start_auto_cell(shell: Any, text: str, tree: ast.Module) -> TaskFuture[Any]:
    """Make a task of a plain cell.

    Args:
        shell: the running IPython shell.
        text: the cell after IPython's transforms.
        tree: its syntax tree.

    Raises:
        Stays: it is better run in the kernel.
        CellError: it must not run now: what it changes is changed by a cell in flight.
    """
    _check_text(text, tree)
    names = analyse(tree)
    _check_names(shell, text, tree, names)
    options = TaskOptions(executor=_executor(current(start=True)))
    draft = Draft(text, tree, options, not text.rstrip().endswith(";"), learn=learn)
    plan = _planned(shell, draft)
    found = clashes(shell.user_ns, plan)
    if _mode == "ordered":
        before = {clash.future: None for clash in found if clash.writes != "reads" or not clash.certain}
        # the report of a cell is small, and is there if the cell went well
        draft = msgspec.structs.replace(
            draft, after=tuple(next(reversed(future.outputs.values())) for future in before)
        )
    else:
        refuse_clash(found, text)
    try:
        future = submit_draft(shell, draft, plan)
    except NotPicklable as error:
        raise Stays(f"{error.what} ({error.type_name}) cannot travel") from None
    remember(current(), shell, _again, "", text)
    return future


def _again(shell: Any, line: str, text: str) -> None:
    """The cell once more, for ``%retry``: as it was, a task."""
    tree = parse(text)
    options = parse_options(line, "%retry")
    if not options.executor:
        options = msgspec.structs.replace(options, executor=_executor(current()))
    draft = Draft(text, tree, options, not text.rstrip().endswith(";"), learn=learn)
    submit_draft(shell, draft, plan_of(shell, draft))


def _executor(session: Session) -> str:
    """The label of an executor that does not run tasks in this process; empty where none does."""
    kinds = {label: executor.kind for label, executor in session.executors.items()}
    others = [label for label, kind in kinds.items() if kind != "threads"]
    if not others:
        raise Stays("the session has threads only, on which cells would share the notebook's objects")
    return "" if len(others) == len(kinds) else others[0]


def _planned(shell: Any, draft: Draft) -> Plan:
    try:
        plan = plan_of(shell, draft)
    except CellError as error:
        raise Stays(error.reason) from None
    for name, others in plan.checks.watched.items():
        if others:
            raise Stays(f"it may change '{name}', which shares an object with '{others[0]}'")
    return plan


def _check_text(text: str, tree: ast.Module) -> None:
    if text.lstrip().startswith(PLAIN) or not tree.body:
        raise Stays
    if text in _learned:
        raise Stays(_learned[text])
    if all(_is_magic(part) for part in tree.body):
        raise Stays
    if is_trivial(tree):
        raise Stays
    try:
        refuse_outside_function(tree)
    except ShoalError:
        raise Stays from None  # Python says so itself


def is_trivial(tree: ast.Module) -> bool:
    """Whether a cell only imports, defines, and names constants: there is nothing for a worker to do."""
    return all(_defines(part) or _names_constant(part) or _is_text(part) for part in tree.body)


def _defines(part: ast.stmt) -> bool:
    return isinstance(part, _DEFINES)


def _is_text(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)


def _names_constant(part: ast.stmt) -> bool:
    if not isinstance(part, ast.Assign) or not all(isinstance(target, ast.Name) for target in part.targets):
        return False
    return all(isinstance(node, _LITERALS) for node in ast.walk(part.value))


def _is_magic(part: ast.stmt) -> bool:
    return "get_ipython" in {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}


def _check_names(shell: Any, text: str, tree: ast.Module, names: CellNames) -> None:
    notebook, found = shell.user_ns, own_names(shell)
    used = (names.reads | names.free) & found
    for name in sorted(used):
        if _makes_tasks(notebook[name], notebook):
            raise Stays(f"'{name}' makes tasks itself")
    if last := sorted(names.reads & _LAST):
        raise Stays(f"'{last[0]}' is the value that a plain cell has shown last; tasks leave it alone")
    functions = definitions(notebook, used)
    effect = outside(tree, functions, {name: notebook[name] for name in found}, bool(_seeds))
    if effect is None:
        classes = [name for name in found if getattr(notebook[name], "__module__", "") == "__main__"]
        methods = definitions(notebook, [name for name in classes if isinstance(notebook[name], type)])
        effect = stays(tree, functions, {name: notebook[name] for name in used}, set(names.writes), methods)
    if effect is not None:
        why = (f"line {effect.line} " if effect.line else "it ") + effect.what
        if effect.sets and "seed()" in effect.what:
            _seeds.add(why)
        raise Stays(why, effect.waits, _carried(shell, text, tree) if effect.sets else "in the kernel")


def _carried(shell: Any, text: str, tree: ast.Module) -> str:
    """Let each worker set up its modules likewise, if the cell can run there; returns where it runs."""
    notebook = {name: shell.user_ns[name] for name in own_names(shell)}
    for part in (_setting_up(text, tree, notebook), text):
        try:
            carry(shell, part, parse(part))
        except (CellError, SyntaxError):
            continue
        return "in the kernel, and once on each worker"
    return "in the kernel, and workers do not know of it (see %%everywhere)"


def _setting_up(text: str, tree: ast.Module, notebook: Mapping[str, Any]) -> str:
    """The lines of a cell that import and set up modules, at their places: the rest is no business of the workers."""
    kept: set[int] = set()
    for part in tree.body:
        effect = outside(ast.Module([part], []), (), notebook)
        if isinstance(part, ast.Import | ast.ImportFrom) or (effect is not None and effect.sets):
            kept.update(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    return "\n".join(line if number in kept else "" for number, line in enumerate(text.splitlines(), 1)) + "\n"


def _makes_tasks(value: Any, notebook: Mapping[str, Any]) -> bool:
    if isinstance(value, App | Session) or str(getattr(value, "__module__", "")).partition(".")[0] == "shoal":
        return not isinstance(value, ValueFuture)
    return isinstance(value, FunctionType) and value.__globals__ is notebook and calls_apps(value)


def say(stays: Stays) -> None:
    """Say, in one quiet line, why a cell is no task."""
    if stays.why:
        print(f"Shoal: this cell runs {stays.where}: {stays.why}.", file=sys.stderr)  # noqa: T201
