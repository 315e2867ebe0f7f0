"""``%retry --here``: a cell whose task failed runs in the kernel, with the inputs that the task had, so that ``%debug`` can look."""

from __future__ import annotations

import ast
import asyncio
import contextvars
import inspect
import linecache
import reprlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import BuiltinFunctionType, CoroutineType, FunctionType, ModuleType
from typing import Any, NamedTuple, Protocol

from shoal.containers import replace_futures
from shoal.errors import CellError
from shoal.futures import TaskFuture
from shoal.outcome import Failure, Raised
from shoal_kernel.errors import saying_no
from shoal_kernel.script import command

__all__ = [
    "Kept",
    "Script",
    "ended",
    "is_kept",
    "keep",
    "keep_failed",
    "let_go",
    "naming_debug",
    "read_text",
    "run_here",
    "told_way",
]

_MOST = 20
_TOLD = 8
_DEFINED = (ModuleType, FunctionType, BuiltinFunctionType, type)
_kept: dict[tuple[str, int], Kept | Script] = {}
_failed: list[tuple[str, int]] = []


class _Code(Protocol):
    """The text of a cell, and what tracebacks call it."""

    @property
    def text(self) -> str:
        """Python."""
        ...

    @property
    def file(self) -> str:
        """For example ``<Cell In[4]>``."""
        ...


class Kept(NamedTuple):
    """What a task of a cell had.

    Args:
        code: the cell's text.
        inputs: the notebook's own objects that travelled, by name.
        shows: whether the value of a last expression is to be shown.
    """

    code: _Code
    inputs: dict[str, Any]
    shows: bool = True


class Script(NamedTuple):
    """What a task of a ``%%bash_task`` cell had.

    Args:
        pieces: the script, from :func:`~shoal_kernel.script.split_script`.
        inputs: the variables that stand in it, by name.
        folder: the notebook's.
    """

    pieces: list[tuple[str, str]]
    inputs: dict[str, Any]
    folder: str


def keep(run_id: str, tid: int, kept: Kept | Script) -> None:
    """A cell became a task."""
    _kept[run_id, tid] = kept


def keep_failed(run_id: str, tid: int, kept: Kept | Script) -> None:
    """A task has failed; of several things that it had, the first that failed counts."""
    if (run_id, tid) not in _kept:
        keep(run_id, tid, kept)
        let_go(run_id, tid, True)


def ended(run_id: str, future: TaskFuture[Any]) -> None:
    """The task of a cell is over."""
    let_go(run_id, future.tid, not future.cancelled() and isinstance(future.outcome, Failure | Raised))


def let_go(run_id: str, tid: int, failed: bool) -> None:
    """A task is over: what it had is kept if it failed, of the last few such tasks."""
    if not failed:
        _kept.pop((run_id, tid), None)
        return
    _failed.append((run_id, tid))
    if len(_failed) > _MOST:
        _kept.pop(_failed.pop(0), None)


def is_kept(run_id: str, tid: int) -> bool:
    """Whether it is known what the cell of a task had, so that ``%debug`` can look at it here."""
    return isinstance(_kept.get((run_id, tid)), Kept)


def told_way(run_id: str, tid: int) -> str:
    """What can be done here about a task that failed; empty if it is not kept what it had."""
    kept = _kept.get((run_id, tid))
    if kept is None:
        return ""
    return f"%retry {tid} --here runs it in the kernel" + ("" if isinstance(kept, Script) else ", for %debug")


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


def run_here(shell: Any, run_id: str, tid: int) -> None:
    """Run a cell in the kernel, as a plain cell runs, its names holding what they held when the task was made.

    What it raises is raised, so that ``%debug`` opens the failing line.

    Args:
        shell: the running IPython shell.
        run_id: the session's.
        tid: the number of its task, of which it is kept what it had.
    """
    __tracebackhide__ = True
    kept = _kept[run_id, tid]
    inputs = {name: replace_futures(value, lambda future: future.result()) for name, value in kept.inputs.items()}
    if isinstance(kept, Script):
        _run_script(command(kept.pieces, inputs, kept.folder))
        return
    notebook = shell.user_ns
    body = _compiled(kept)
    for name, value in inputs.items():
        # a function that was corrected since is what is wanted
        if name not in notebook or not isinstance(value, _DEFINED):
            notebook[name] = value
    if body.co_flags & inspect.CO_COROUTINE:
        _wait_for(eval(body, notebook), kept.code.file)  # noqa: S307 - running the user's cell is what this is for
    else:
        exec(body, notebook)  # noqa: S102 - as above
    value = notebook.pop(_VALUE, None)
    if value is not None:
        shell.displayhook(value)


_VALUE = "<value>"


def _compiled(kept: Kept) -> Any:
    code = kept.code
    linecache.cache[code.file] = (len(code.text), None, code.text.splitlines(keepends=True), code.file)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code.text, code.file, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    last = tree.body[-1]
    if kept.shows and isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(
            ast.Assign([ast.copy_location(ast.Name(_VALUE, ast.Store()), last)], last.value), last
        )
    return compile(tree, code.file, "exec", flags, dont_inherit=True)


def _wait_for(coroutine: CoroutineType[Any, Any, Any], file: str) -> None:
    """Run a cell that awaits, to its end: on a thread, since this one's event loop is that of the kernel."""
    __tracebackhide__ = True
    began: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def watched() -> None:
        task = asyncio.current_task()
        assert task is not None, "it runs in one"
        began.append((asyncio.get_running_loop(), task))
        await coroutine

    thread = ThreadPoolExecutor(1)
    done = thread.submit(contextvars.copy_context().run, asyncio.run, watched())
    thread.shutdown(wait=False)
    try:
        error = done.exception()
    except KeyboardInterrupt:
        for loop, task in began:
            loop.call_soon_threadsafe(task.cancel)
        raise
    if error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != file:
            trace = trace.tb_next
        raise error.with_traceback(trace)


def _run_script(text: str) -> None:
    with subprocess.Popen(
        ["bash", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            print(line, end="")  # noqa: T201
    print(f"Shoal: the script ended with exit code {process.returncode}.", file=sys.stderr)  # noqa: T201
