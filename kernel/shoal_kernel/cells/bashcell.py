"""``%%bash_task``: a cell that is a script, run by bash on a worker."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from shoal.config import current
from shoal.containers import find_futures
from shoal.errors import CellError, ConfigurationError, NotPicklable, UnknownExecutor
from shoal.events import CellRef
from shoal.files import File
from shoal.futures import DataFuture, TaskFuture
from shoal.node.bash import bash_function
from shoal.node.special import PLAN, Plan
from shoal.serialize import FunctionImage
from shoal.session import Session
from shoal_kernel.cells.parallel import asked_of
from shoal_kernel.cells.taskcell import own_names, refused_executor, refused_needs
from shoal_kernel.lines.options import BashOptions, parse_bash_options
from shoal_kernel.lines.script import check_value, command, split_script
from shoal_kernel.notebook.kept import Script, ended, keep
from shoal_kernel.notebook.where import cell_number
from shoal_kernel.output.endings import Ending, tell_when_over
from shoal_kernel.output.place import CellOutput
from shoal_kernel.output.strips import Strip

__all__ = ["start_bash_cell"]

_promised: dict[str, DataFuture] = {}
"""The files that scripts of this kernel make, by their paths: who names one as an input waits for it."""


def start_bash_cell(shell: Any, line: str, body: str) -> TaskFuture[int]:
    """Run a cell as a script.

    Args:
        shell: the running IPython shell.
        line: the rest of the ``%%bash_task`` line.
        body: the lines after it.

    Returns:
        The future of the exit code, which is 0, or the task has failed.

    Raises:
        ShoalError: the cell cannot become a task; nothing was changed.
    """
    options = parse_bash_options(line)
    if not body.strip():
        raise CellError("the cell has no script after its %%bash_task line", "write some")
    options = msgspec.structs.replace(
        options,
        inputs=tuple(_filled(path, "--in", shell.user_ns) for path in options.inputs),
        outputs=tuple(_filled(path, "--out", shell.user_ns) for path in options.outputs),
    )
    pieces = split_script(body)
    values = _values([name for _, name in pieces if name], shell.user_ns, own_names(shell))
    after = [_awaited(what, shell.user_ns) for what in options.inputs]
    count = cell_number(shell)
    label = options.name or f"cell {count}"
    session = current(start=True)
    output = CellOutput(shell)
    future = _submit(session, options, label, (pieces, values, str(Path.cwd())), after, (count, output))
    for made in future.outputs:
        _promised[made.filepath] = made
    if options.bind:
        shell.user_ns[options.bind] = future
    names = (options.bind,) if options.bind else ()
    strip = Strip(output, future, (*names, *(made.filename for made in future.outputs)), options.quiet)
    output.reserve(shows=False)
    keep(session.run_id, future.tid, Script(pieces, values, str(Path.cwd())))
    tell_when_over(future, partial(_end, session.run_id, Ending(shell.user_ns, (output, strip), session=session)))
    return future


def _end(run_id: str, ending: Ending, future: TaskFuture[Any]) -> None:
    ended(run_id, future)
    ending(future)


def _filled(path: str, option: str, notebook: Mapping[str, Any]) -> str:
    """The name of a file, with variables in the places of ``{x}``: they have to be there by now."""

    def value(match: re.Match[str]) -> str:
        held = notebook.get(match[1], None)
        if not isinstance(held, str | int | float | os.PathLike):
            fix = "use a variable that holds text, a number or a path"
            raise CellError(f"{option} {path}: '{match[1]}' is no part of a file's name now", fix)
        return str(held)

    return re.sub(r"\{(\w+)\}", value, path)


def _values(names: list[str], notebook: Mapping[str, Any], found: set[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        if name not in found:
            raise CellError(
                f"'{{{name}}}': there is no variable '{name}' here",
                "run the cell that defines it; write {{ and }} where the shell is to get a brace",
            )
        value = notebook[name]
        if not find_futures(value):
            check_value(name, value)
        values[name] = value
    return values


def _awaited(what: str, notebook: Mapping[str, Any]) -> Future[Any] | list[Future[Any]] | None:
    """The future behind an input: that of a name, or of a file that another script makes; None if it is there."""
    if what.isidentifier() and what in notebook:
        return find_futures(notebook[what])
    path = File(what).filepath
    made = _promised.get(path)
    if made is not None and not made.done():
        return made
    if not Path(path).exists():
        raise CellError(
            f"--in {what}: there is no such file, nor a variable or a script that makes it", "run what makes it first"
        )
    return None


def _submit(
    session: Session,
    options: BashOptions,
    label: str,
    args: tuple[Any, ...],
    after: list[Any],
    where: tuple[int, CellOutput],
) -> TaskFuture[int]:
    count, output = where
    files = tuple(File(path) for path in options.outputs)
    # the command, not the worker, keeps the walltime: it ends the whole group of processes
    made = tuple(file.filepath for file in files)
    plan = Plan(name=label, walltime=options.walltime or 0.0, outputs=made, after=after)
    asked = msgspec.structs.replace(asked_of(label, options), files=files, walltime=0.0)
    image = FunctionImage(bash_function(command), label)
    ref = CellRef(output.cell_id, count, 1)
    try:
        return session.enter(image, args, {PLAN: plan}, asked, ref, output.stream)
    except UnknownExecutor as error:
        raise refused_executor("%%bash_task", options.executor, error) from None
    except ConfigurationError as error:
        raise refused_needs("%%bash_task", error) from None
    except NotPicklable as error:
        raise NotPicklable(f"a value of {label}", error.type_name, error.reason, error.fix) from None
