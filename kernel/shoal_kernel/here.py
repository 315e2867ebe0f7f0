"""``%retry --here``: a cell whose task failed runs in the kernel, with the inputs that the task had, so that ``%debug`` can look."""

from __future__ import annotations

import ast
import inspect
import linecache
import reprlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from shoal.containers import replace_futures
from shoal.errors import CellError
from shoal_kernel.cellrun import CellCode
from shoal_kernel.errors import saying_no

__all__ = ["Kept", "keep", "let_go", "naming_debug", "read_text", "run_here"]

_MOST = 20
_TOLD = 8
_DEFINED = (ModuleType, FunctionType, BuiltinFunctionType, type)
_kept: dict[tuple[str, int], Kept] = {}
_failed: list[tuple[str, int]] = []


class Kept(NamedTuple):
    """What a task cell had.

    Args:
        code: its text, and what is wanted of it.
        inputs: the notebook's own objects that travelled, by name.
    """

    code: CellCode
    inputs: dict[str, Any]


def keep(run_id: str, tid: int, kept: Kept) -> None:
    """A cell became a task."""
    _kept[run_id, tid] = kept


def let_go(run_id: str, tid: int, failed: bool) -> None:
    """A task is over: what it had is kept if it failed, of the last few such tasks."""
    if not failed:
        _kept.pop((run_id, tid), None)
        return
    _failed.append((run_id, tid))
    if len(_failed) > _MOST:
        _kept.pop(_failed.pop(0), None)


def read_text(run_id: str, tid: int) -> str:
    """The values that a task which failed has read, in one line; empty if they are not kept."""
    kept = _kept.get((run_id, tid))
    if kept is None:
        return ""
    values = {name: value for name, value in kept.inputs.items() if not isinstance(value, _DEFINED)}
    told = [f"{name} = {reprlib.repr(value)}" for name, value in values.items()]
    more = f", and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return ", ".join(told[:_TOLD]) + more


@contextmanager
def naming_debug() -> Iterator[None]:
    """Say, below what a cell raises, how to look at it; errors of Shoal's own are one sentence."""
    __tracebackhide__ = True
    done = False
    try:
        with saying_no():
            yield
        done = True
    finally:
        if not done and not isinstance(sys.exc_info()[1], CellError):
            print("Shoal: %debug opens the failing line here.", file=sys.stderr)  # noqa: T201


def run_here(shell: Any, run_id: str, tid: int, who: str) -> None:
    """Run a cell in the kernel, as a plain cell runs, its names holding what they held when the task was made.

    What it raises is raised, so that ``%debug`` opens the failing line.

    Args:
        shell: the running IPython shell.
        run_id: the session's.
        tid: the number of its task.
        who: the words for the task.

    Raises:
        CellError: it is not known what the task had.
    """
    __tracebackhide__ = True
    kept = _kept.get((run_id, tid))
    if kept is None:
        raise CellError(
            f"the inputs of {who} are not kept: that is done for the last {_MOST} cells with %%task that failed",
            f"write %retry {tid}, which runs it on a worker again",
        )
    code, notebook = kept.code, shell.user_ns
    body = _compiled(code)
    for name, value in kept.inputs.items():
        if name not in notebook or not isinstance(
            value, _DEFINED
        ):  # a function that was corrected since is what is wanted
            notebook[name] = replace_futures(value, lambda future: future.result())
    exec(body, notebook)  # noqa: S102 - running the user's cell is what this is for
    value = notebook.pop(_VALUE, None)
    if value is not None:
        shell.displayhook(value)


_VALUE = "<value>"


def _compiled(code: CellCode) -> Any:
    linecache.cache[code.file] = (len(code.text), None, code.text.splitlines(keepends=True), code.file)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code.text, code.file, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    last = tree.body[-1]
    if code.shows and isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(
            ast.Assign([ast.copy_location(ast.Name(_VALUE, ast.Store()), last)], last.value), last
        )
    body = compile(tree, code.file, "exec", flags, dont_inherit=True)
    if body.co_flags & inspect.CO_COROUTINE:
        fix = "write %retry without --here, or run its text as a plain cell"
        raise CellError("the cell awaits at its top level, which cannot be done within %retry --here", fix)
    return body
