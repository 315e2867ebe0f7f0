"""``%retry --here``: a cell whose task failed runs in the kernel, with the inputs that the task had, so that ``%debug`` can look."""

from __future__ import annotations

import ast
import asyncio
import contextvars
import inspect
import linecache
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import CoroutineType
from typing import Any

from shoal.containers import replace_futures
from shoal.errors import CellError
from shoal_kernel.lines.script import command
from shoal_kernel.notebook.kept import DEFINED, Kept, Script, kept_of
from shoal_kernel.output.errors import saying_no

__all__ = ["naming_debug", "run_here"]


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
    kept = kept_of(run_id, tid)
    inputs = {name: replace_futures(value, lambda future: future.result()) for name, value in kept.inputs.items()}
    if isinstance(kept, Script):
        _run_script(command(kept.pieces, inputs, kept.folder))
        return
    notebook = shell.user_ns
    body = _compiled(kept)
    for name, value in inputs.items():
        # a function that was corrected since is what is wanted
        if name not in notebook or not isinstance(value, DEFINED):
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
