"""The magics around pools and sessions: ``%pools``, ``%use``, ``%attach``, ``%scale``, ``%retry``, ``%shoal``."""

from __future__ import annotations

import shlex
import time
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class

from shoal.errors import CellError, NoSession
from shoal.pool.connection import list_connections
from shoal_kernel.cells.again import check_failed, refuse_here, retry_task
from shoal_kernel.cells.here import naming_debug, run_here
from shoal_kernel.notebook.current import current_session
from shoal_kernel.notebook.kept import told_way
from shoal_kernel.output.errors import saying_no
from shoal_kernel.reports.single import one_task
from shoal_kernel.reports.status import pools_text, scale_executor, status_text, use_pool
from shoal_kernel.restart.attach import attach

__all__ = ["COMPLETERS", "PoolMagics"]


@magics_class
class PoolMagics(Magics):  # type: ignore[misc, unused-ignore]
    """Pools, the session, and trying again."""

    shell: Any

    @line_magic
    def pools(self, line: str) -> None:
        """List the pools of this user: those of sessions, and those that last.

        ::

            %pools
        """
        with saying_no():
            _takes_nothing("%pools", line)
            print(pools_text(time.time()))  # noqa: T201

    @line_magic
    def use(self, line: str) -> None:
        """Use a pool that lasts: begin a session on it, in the place of the current one.

        ::

            %use NAME

        Tasks of the session before that have not ended get SessionReplaced. ``shoal pool start NAME`` in a terminal starts a
        pool that lasts; %pools lists them.
        """
        with saying_no():
            print(use_pool(line.strip()))  # noqa: T201

    @line_magic
    def attach(self, line: str) -> None:
        """Take over what the last kernel of this notebook left at a pool that lasts, after a restart.

        ::

            %attach [NAME] [--from NOTEBOOK]

        Tasks that were given to the pool have gone on, those that wait for one another there as well. Their futures are here again
        under their names; what they print appears under their cells. Tasks that waited for a value of the kernel that ended
        fail with SessionLost; %rerun runs their cells again. NAME is the pool; %attach uses it, as %use does, if the session does
        not yet. Variables that hold something already are left as they are. --from is for a notebook that had another name then.
        """
        with saying_no():
            print(attach(self.shell, *_attach_words(line)))  # noqa: T201

    @line_magic
    def scale(self, line: str) -> None:
        """Set the number of blocks of an executor of the session, or of a pool that lasts.

        ::

            %scale N [LABEL]

        LABEL is an executor's label, or a pool's name; it may be left out where one executor has blocks. The provider's
        min_blocks and max_blocks limit the number.
        """
        with saying_no():
            print(scale_executor(current_session(), line))  # noqa: T201

    @line_magic
    def retry(self, line: str) -> None:
        """Try a task that failed, was skipped or was cancelled again: its cell runs once more, as if you ran it now.

        ::

            %retry NUMBER | NAME [--memory SIZE] [--cores N] [--walltime SECONDS] [--retries N] ...
            %retry NUMBER | NAME --here

        Options are added to those of the cell. --here runs the cell in this kernel, as a plain cell, its names holding what they held
        when the task was made; if it fails again, %debug opens the failing line. That is there for the last 20 tasks of cells that
        failed, of a %%parallel cell for the first 5 of its elements. A script runs in bash here.

        NAME is a variable that holds the task's future. The cell takes the notebook's variables as they are now, and its
        output appears here. Of a %%parallel cell only the elements run that have no value. The calls of apps are not kept:
        call the app again, or give it retries=1.
        """
        __tracebackhide__ = True
        with saying_no():
            session = current_session()
            if session is None:
                raise NoSession("no session is loaded yet, so that no task has failed")
            which, dash, options = line.partition("--")
            if dash and not which.strip():
                raise CellError("%retry needs to know which task first", "write %retry NUMBER --memory '4 GB'")
            tid = one_task("%retry", which, session, self.shell.user_ns)
            if (dash + options).strip() != "--here":
                retry_task(session, self.shell, tid, dash + options)
                return
            who = check_failed(session, tid)
            if not told_way(session.run_id, tid):
                refuse_here(session, tid, who)
        with naming_debug():
            run_here(self.shell, session.run_id, tid)

    @line_magic
    def shoal(self, line: str) -> None:
        """Tell how Shoal is set up here: version, session, run folder, executors, results kept, settings.

        ::

            %shoal
        """
        with saying_no():
            _takes_nothing("%shoal", line)
            print(status_text(current_session()))  # noqa: T201


def _attach_words(line: str) -> tuple[str, str]:
    """The name of the pool, and that of the notebook."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise CellError(f"%attach {line.strip()}: {error}", "close the quotes") from None
    whose = ""
    if "--from" in words:
        place = words.index("--from")
        if place + 1 >= len(words):
            raise CellError("%attach --from needs the name that the notebook had", "write %attach --from old.ipynb")
        whose = words[place + 1]
        del words[place : place + 2]
    if len(words) > 1 or any(word.startswith("-") for word in words):
        raise CellError(f"%attach takes the name of one pool, and got '{' '.join(words)}'", "write %attach NAME")
    return (words[0] if words else ""), whose


def _takes_nothing(magic: str, line: str) -> None:
    if line.strip():
        raise CellError(f"{magic} takes nothing, and got '{line.strip()}'", f"write {magic}")


def _complete_pools(_shell: Any, _event: Any) -> list[str]:
    return sorted(connection.name for connection in list_connections() if connection.kind == "lasting")


def _complete_executors(shell: Any, event: Any) -> list[str]:
    session = current_session()
    own = [] if session is None else [label for label, executor in session.executors.items() if executor.kind == "pool"]
    return [*own, *_complete_pools(shell, event)]


COMPLETERS = {
    "%attach": lambda shell, event: [*_complete_pools(shell, event), "--from"],
    "%use": _complete_pools,
    "%scale": _complete_executors,
}
"""What can stand after these magics."""
