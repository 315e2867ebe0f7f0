"""The magics: ``%%task``, ``%tasks``, ``%task``, ``%output``, ``%whence``, ``%cancel``, ``%blocks``, ``%wait``, ``%graph``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from shoal.containers import find_futures
from shoal.errors import CellError, NoSession, ShoalError
from shoal.session import Session
from shoal_kernel.cells import own_names, start_task_cell
from shoal_kernel.errors import short
from shoal_kernel.feed import current_session
from shoal_kernel.hub import hub
from shoal_kernel.report import blocks_text, tasks_text
from shoal_kernel.single import cancel_tasks, one_task, task_text, whence_text
from shoal_kernel.waiting import futures_named, wait_for

__all__ = ["TAKES_FUTURES", "ShoalMagics", "complete_futures"]

TAKES_FUTURES = {"%wait": ["--timeout"], "%task": [], "%output": [], "%whence": [], "%cancel": ["--all"]}
"""Line magics that take names of futures, and their options."""


@contextmanager
def _saying_no() -> Iterator[None]:
    """Shoal's own errors are shown as their one sentence, without the stack of internals."""
    try:
        yield
    except ShoalError as error:
        raise short(error) from None


@magics_class
class ShoalMagics(Magics):  # type: ignore[misc, unused-ignore]
    """Task cells, and looking at tasks."""

    shell: Any

    @cell_magic
    def task(self, line: str, cell: str) -> None:
        """Make this cell a task: it runs on a worker, and the notebook goes on at once.

        ::

            %%task [-i NAMES] [-o NAMES] [--name NAME] [--executor LABEL] [--cores N] [--memory SIZE] [--gpus N]
                   [--priority N] [--retries N] [--walltime SECONDS] [--quiet]

        The names that the cell reads travel to the worker; futures among them are waited for there, and the cell gets their
        values. The names that it writes, or whose objects it changes, are futures from now on: give them to apps and other
        task cells as they are, or write ``x.result()``. What the cell prints, and the value of its last expression, appear
        under this cell.

        -i, --in NAMES       take along these names (a,b) instead of those that the cell is found to read
        -o, --out NAMES      bring back these names instead of those that the cell is found to write
        --name NAME          the task's name in views and messages
        --executor LABEL     where to run it
        --cores, --memory, --gpus, --priority
                             what it needs: --cores 2 --memory "4 GB"; a higher priority runs first
        --retries N          further attempts after failures
        --walltime SECONDS   end it if it runs longer
        --quiet              no line that says how the task is
        """
        with _saying_no():
            start_task_cell(self.shell, line, cell)

    @line_magic
    def tasks(self, line: str) -> None:
        """List the tasks of the current session.

        ::

            %tasks [STATE | NUMBER | PART OF A NAME OR ERROR]
        """
        with _saying_no():
            print(tasks_text(_session(), line.strip(), time.time()))  # noqa: T201

    @line_magic("task")
    def about_task(self, line: str) -> None:
        """Tell all about one task: where it ran, each of its attempts, and what it printed last.

        ::

            %task NUMBER | NAME

        NAME is a variable that holds a future.
        """
        with _saying_no():
            session = _session()
            print(task_text(session, one_task("%task", line, session, self.shell.user_ns)))  # noqa: T201

    @line_magic
    def output(self, line: str) -> None:
        """Print what a task has printed so far.

        ::

            %output NUMBER | NAME
        """
        with _saying_no():
            session = _session()
            printed = session.printed(one_task("%output", line, session, self.shell.user_ns))
            sys.stdout.write(printed["stdout"])
            sys.stderr.write(printed["stderr"])

    @line_magic
    def whence(self, line: str) -> None:
        """Tell where a value comes from: the task that made it, its cell, and the same of that task's inputs.

        ::

            %whence NUMBER | NAME
        """
        with _saying_no():
            session = _session()
            print(whence_text(session, one_task("%whence", line, session, self.shell.user_ns)))  # noqa: T201

    @line_magic
    def cancel(self, line: str) -> None:
        """Cancel tasks. What runs on a pool is interrupted; what runs on threads cannot be stopped, and goes on.

        ::

            %cancel NUMBERS | NAMES | --all

        NAMES are variables that hold futures, also in lists or dicts.
        """
        with _saying_no():
            session = _session()
            print(cancel_tasks(session, line, self.shell.user_ns))  # noqa: T201

    @line_magic
    def blocks(self, line: str) -> None:
        """Show the executors of the current session: their blocks, managers, workers and queues.

        ::

            %blocks
        """
        with _saying_no():
            if line.strip():
                raise CellError(f"%blocks takes nothing, and got '{line.strip()}'", "write %blocks")
            print(blocks_text(_session()))  # noqa: T201

    @line_magic
    def wait(self, line: str) -> None:
        """Wait until tasks are over, and say how far they are. Interrupt the kernel to stop waiting; the tasks go on.

        ::

            %wait [NAMES] [--timeout SECONDS]

        NAMES are variables that hold futures (a,b or a b), also in lists or dicts; without names all tasks of the session
        are waited for. A program that runs a notebook (jupyter execute, papermill) needs a ``%wait`` in the last cell: what
        task cells print later is not saved.
        """
        with _saying_no():
            names, timeout = _wait_options(line)
            futures = futures_named(names, self.shell.user_ns) if names else None
            try:
                over = wait_for(self.shell, current_session(), futures, timeout)
            except KeyboardInterrupt as error:
                lines = ["KeyboardInterrupt: stopped waiting; the tasks go on"]
                setattr(error, "_render_traceback_", lambda: lines)  # noqa: B010 - as in errors.short
                raise
            failed = [future for future in futures or () if over and (future.cancelled() or future.exception())]
            if failed:
                print(f"Shoal: {len(failed)} of {len(futures or ())} have no value.", file=sys.stderr)  # noqa: T201

    @line_magic
    def graph(self, line: str) -> None:
        """Show the live graph of the current session's tasks here.

        ::

            %graph
        """
        with _saying_no():
            if line.strip():
                raise CellError(f"%graph takes nothing, and got '{line.strip()}'", "write %graph")
            hub(self.shell).show()


def _session() -> Session:
    session = current_session()
    if session is None:
        raise NoSession("no session is loaded yet; call shoal.load(), an app, or begin a cell with %%task")
    return session


def _wait_options(line: str) -> tuple[list[str], float | None]:
    words = line.replace(",", " ").replace("--timeout=", "--timeout ").split()
    timeout: float | None = None
    if "--timeout" in words:
        place = words.index("--timeout")
        given = words[place + 1 : place + 2]
        try:
            timeout = float(given[0])
            if not timeout >= 0:  # neither negative nor nan
                raise ValueError(given[0])
        except (IndexError, ValueError):
            raise CellError(
                f"%wait --timeout {' '.join(given)}: that is no number of seconds", "write --timeout 30"
            ) from None
        del words[place : place + 2]
    for word in words:
        if not word.isidentifier():
            raise CellError(f"%wait has no option '{word}'", "it has: names of futures, --timeout SECONDS")
    return words, timeout


def complete_futures(shell: Any, event: Any) -> list[str]:
    """What can stand after a magic that takes futures: the names of variables that hold some, and its options."""
    names = own_names(shell)
    holds: Callable[[str], bool] = lambda name: bool(find_futures(shell.user_ns[name]))  # noqa: E731
    return [*sorted(name for name in names if holds(name)), *TAKES_FUTURES.get(event.command, ())]
