"""The magics that make tasks of cells, and those that look at tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from shoal.containers import find_futures
from shoal.errors import CellError, NoSession
from shoal.session import Session
from shoal_kernel.book.stale import cells_of
from shoal_kernel.cells.again import remember
from shoal_kernel.cells.bashcell import start_bash_cell
from shoal_kernel.cells.joincell import start_join_cell
from shoal_kernel.cells.localcell import start_local_cell
from shoal_kernel.cells.parallel import start_parallel_cell
from shoal_kernel.cells.taskcell import own_names, start_task_cell
from shoal_kernel.cells.undoing import all_or_nothing
from shoal_kernel.flow.interrupts import interrupted
from shoal_kernel.flow.waiting import futures_named, wait_for
from shoal_kernel.notebook.current import current_session
from shoal_kernel.notebook.kept import read_text
from shoal_kernel.output.errors import saying_no
from shoal_kernel.output.shown import plain_text
from shoal_kernel.reports.report import blocks_text, tasks_text
from shoal_kernel.reports.single import cancel_all, cancel_tasks, one_task, task_text, whence_text
from shoal_kernel.views.hub import hub

__all__ = ["TAKES_FUTURES", "ShoalMagics", "complete_futures"]

TAKES_FUTURES = {
    "%wait": ["--timeout"],
    "%task": [],
    "%output": [],
    "%whence": [],
    "%retry": ["--here", "--memory"],
    "%cancel": ["--all", "--cell"],
}
"""Line magics that take names of futures, and their options."""


@magics_class
class ShoalMagics(Magics):  # type: ignore[misc, unused-ignore]
    """Task cells, and looking at tasks."""

    shell: Any

    @cell_magic
    def task(self, line: str, cell: str) -> None:
        """Make this cell a task: it runs on a worker, and the notebook goes on at once.

        ::

            %%task [-i NAMES] [-o NAMES] [--name NAME] [--executor LABEL] [--cores N] [--memory SIZE] [--gpus N]
                   [--priority N] [--retries N] [--walltime SECONDS] [--cache] [--after NAMES] [--env NAME=VALUE] [--quiet]

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
        --cache              take the result from the store of results, if the same cell ran with the same inputs before
        --after NAMES        wait for these futures, too, without taking their values along as variables
        --env NAME=VALUE     an environment variable for the cell; more than once for several
        --quiet              no line that says how the task is
        """
        with saying_no():
            _start(self.shell, start_task_cell, line, cell)

    @cell_magic
    @no_var_expand  # braces are Python's here
    def parallel(self, line: str, cell: str) -> None:
        """Run this cell once for each element, side by side on the workers; the notebook goes on at once.

        ::

            %%parallel for x in xs [for y in ys] [if CONDITION] -> RESULTS [--chunksize N] [--fresh] [--name NAME]
                   [--executor LABEL] [--cores N] [--memory SIZE] [--gpus N] [--priority N] [--retries N]
                   [--walltime SECONDS] [--quiet]

        RESULTS is the future of the list of the values of the cell's last line, in the order of the elements. Names that
        the cell reads travel as in a task cell; names that it writes stay within each element. Lines that elements
        print appear below this cell, with the element before them.

        If elements fail, the others go on; RESULTS then fails with one error that names them. Run the cell again, and
        only elements run that failed, or whose code, data or element has changed.

        --chunksize N        so many elements share a task; auto (the default) is 1, but for more than 10,000 elements, and for
                             many that read much data
        --fresh              run all elements, also those whose values are known from the last run
        --name, --executor, --cores, --memory, --gpus, --priority, --retries, --walltime, --quiet
                             as for %%task, for each element
        """
        with saying_no():
            _start(self.shell, start_parallel_cell, line, cell)

    @cell_magic
    @no_var_expand  # braces are read by the script's own rule
    def bash_task(self, line: str, cell: str) -> None:
        """Make this cell a task that bash runs on a worker; the notebook goes on at once.

        ::

            %%bash_task [-o NAME] [--in FILES OR NAMES] [--out FILES] [--name NAME] [--executor LABEL] [--cores N]
                    [--memory SIZE] [--gpus N] [--priority N] [--retries N] [--walltime SECONDS] [--quiet]

        ``{x}`` is the variable x, quoted so that the shell takes it as it is: text, a number, a path, or a list of them, which
        becomes as many words. The task waits for x if it is a future. ``{{`` and ``}}`` are braces, ``${...}`` is the
        shell's own. The script runs in the notebook's folder, if the worker has it. What it prints appears below.
        With an exit code other than 0 the task has failed.

        -o NAME              NAME becomes the future of the exit code
        --in FILES OR NAMES  wait for these: variables that hold futures, files that another script makes, or that are there
        --out FILES          the script makes these files; if one is not there at the end, the task has failed
        --name, --executor, --cores, --memory, --gpus, --priority, --retries, --walltime, --quiet
                             as for %%task
        """
        with saying_no():
            _start(self.shell, start_bash_cell, line, cell)

    @cell_magic
    def localtask(self, line: str, cell: str) -> None:
        """Make this cell a task that runs on a thread of this kernel; the notebook goes on at once.

        ::

            %%localtask [-i NAMES] [-o NAMES] [--name NAME] [--after NAMES] [--retries N] [--quiet]

        As %%task, for what cannot travel: connections, open files, things that wait. Nothing is copied: the cell gets the
        notebook's own objects, and what it changes in place is changed at once. The names that it writes are futures of the
        very objects. Threads share one interpreter: Python code in them is not faster than in a plain cell. Once
        it runs, it cannot be cancelled. Apps that the cell calls become tasks; their values stand for them in the end.

        -i, --in, -o, --out, --name, --after, --retries, --quiet
                             as for %%task
        """
        with saying_no():
            _start(self.shell, start_local_cell, line, cell)

    @cell_magic
    def join_task(self, line: str, cell: str) -> None:
        """Make this cell a task that makes tasks; it ends when they do. The notebook goes on at once.

        ::

            %%join_task [-i NAMES] [-o NAMES] [--name NAME] [--after NAMES] [--retries N] [--quiet]

        The cell runs on a thread of this kernel and calls apps; what it does with their futures decides how the work goes on: loops
        of a length that only a result tells, a tree of tasks. Its names are futures from now on; where they hold futures of
        the apps, also in lists and dicts, the values stand for them in the end. No thread waits for these. Nothing is copied.

        -i, --in, -o, --out, --name, --after, --retries, --quiet
                             as for %%task
        """
        with saying_no():
            _start(self.shell, start_join_cell, line, cell)

    @line_magic
    def tasks(self, line: str) -> None:
        """List the tasks of the current session.

        ::

            %tasks [STATE | NUMBER | PART OF A NAME OR ERROR]
            %tasks stale

        ``stale`` lists the cells whose inputs were made anew since they ran; %rerun runs them.
        """
        with saying_no():
            if line.strip() == "stale":
                print(cells_of(self.shell).text())  # noqa: T201
                return
            print(tasks_text(_session(), line.strip(), time.time()))  # noqa: T201

    @line_magic("task")  # type: ignore[arg-type, unused-ignore]
    def about_task(self, line: str) -> None:
        """Tell all about one task: where it ran, each of its attempts, and what it printed last.

        ::

            %task NUMBER | NAME

        NAME is a variable that holds a future.
        """
        with saying_no():
            session = _session()
            tid = one_task("%task", line, session, self.shell.user_ns)
            read = read_text(session.run_id, tid)
            print(task_text(session, tid) + (f"\nread       {read}" if read else ""))  # noqa: T201

    @line_magic
    def output(self, line: str) -> None:
        """Print what a task has printed so far.

        ::

            %output NUMBER | NAME
        """
        with saying_no():
            session = _session()
            printed = session.printed(one_task("%output", line, session, self.shell.user_ns))
            sys.stdout.write(plain_text(printed["stdout"]))
            sys.stderr.write(plain_text(printed["stderr"]))

    @line_magic
    def whence(self, line: str) -> None:
        """Tell where a value comes from: the task that made it, its cell, and the same of that task's inputs.

        ::

            %whence NUMBER | NAME
        """
        with saying_no():
            session = _session()
            print(whence_text(session, one_task("%whence", line, session, self.shell.user_ns)))  # noqa: T201

    @line_magic
    def cancel(self, line: str) -> None:
        """Cancel tasks. What runs on a pool is interrupted; what runs on threads cannot be stopped, and goes on.

        ::

            %cancel NUMBERS | NAMES | --cell NUMBER | --all

        NAMES are variables that hold futures, also in lists or dicts. --cell 4 cancels all tasks that cell [4] has made.
        """
        with saying_no():
            session = _session()
            print(cancel_tasks(session, line, self.shell.user_ns))  # noqa: T201

    @line_magic
    def blocks(self, line: str) -> None:
        """Show the executors of the current session: their blocks, managers, workers and queues.

        ::

            %blocks
        """
        with saying_no():
            if line.strip():
                raise CellError(f"%blocks takes nothing, and got '{line.strip()}'", "write %blocks")
            print(blocks_text(_session()))  # noqa: T201

    @line_magic
    def wait(self, line: str) -> None:
        """Wait until tasks are over, and say how far they are.

        ::

            %wait [NAMES] [--timeout SECONDS]

        NAMES are variables that hold futures (a,b or a b), also in lists or dicts; without names all tasks of the session
        are waited for. Interrupt the kernel to stop waiting; the tasks go on. Interrupt again within two seconds, and those
        that were waited for are cancelled.
        """
        with saying_no():
            names, timeout = _wait_options(line)
            futures = futures_named(names, self.shell.user_ns) if names else None
            try:
                over = wait_for(self.shell, current_session(), futures, timeout)
            except KeyboardInterrupt as error:
                open_ = [future for future in futures or () if not future.done()]
                what = ", ".join(names) or "all tasks"
                interrupted(self.shell, error, partial(_cancel, None if names else current_session(), open_), what)
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
        with saying_no():
            if line.strip():
                raise CellError(f"%graph takes nothing, and got '{line.strip()}'", "write %graph")
            hub(self.shell).show()


def _start(shell: Any, start: Callable[[Any, str, str], object], line: str, cell: str) -> None:
    with all_or_nothing(shell):
        start(shell, line, cell)
        remember(_session(), shell, start, line, cell)


def _cancel(session: Session | None, futures: Sequence[Future[Any]]) -> int:
    if session is None:
        return sum(future.cancel() for future in futures)
    return cancel_all(session)


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
