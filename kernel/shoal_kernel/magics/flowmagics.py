"""The magics of the notebook as a whole: ``%autotask``, ``%rerun``, ``%%everywhere``."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from shoal.errors import CellError
from shoal.record.runs import STATE_NAMES
from shoal_kernel.book.stale import cells_of
from shoal_kernel.cells.autotask import MODES, PLAIN, autotask
from shoal_kernel.cells.everywhere import add_prelude, forget_preludes
from shoal_kernel.cells.taskcell import own_names
from shoal_kernel.output.errors import saying_no

__all__ = ["FLOW_COMPLETERS", "FlowMagics"]

_TOLD = {
    "on": f"plain cells become tasks where they safely can; '{PLAIN}' as a cell's first line keeps it in the kernel",
    "ordered": "plain cells become tasks where they safely can; those that may change one object run in their order",
    "off": "plain cells run in the kernel",
}


@magics_class
class FlowMagics(Magics):  # type: ignore[misc, unused-ignore]
    """Plain cells as tasks, and what is around tasks."""

    shell: Any

    @line_magic
    def autotask(self, line: str) -> None:
        """Make each plain cell a task where it safely can be one, so that "Run All" runs the notebook as its own graph.

        ::

            %autotask [on | ordered | off]

        A cell that cannot says why in one line, and runs in the kernel: cells with magics, cells that write files, set up modules, draw
        with pyplot, ask for input or call apps, and those of which no task can be made. It waits for just the names that it uses.
        Begin a cell with the line ``# shoal: plain`` to keep it in the kernel.

        on        a cell that changes an object which a cell that is not over may change, too, is refused, with both lines
        ordered   it runs after that one
        off       the default

        Without a word it says how it is set.
        """
        with saying_no():
            mode = autotask(line.strip() or None)
            print(f"%autotask {mode}: {_TOLD[mode]}")  # noqa: T201

    @line_magic
    def rerun(self, line: str) -> None:
        """Run cells again that are stale: those that read what was made anew since they ran, and those below them.

        ::

            %rerun [NAMES | NUMBERS | --all]

        They run in the order in which they ran first, and their output appears here. A cell whose inputs have the values that they had
        does not run. Where a name was deleted, or another cell has written it since, the cell that makes it runs as well.

        NAMES      the cells that make these names, and what is stale above them
        NUMBERS    cells by number
        --all      every cell that ran here

        %tasks stale lists the stale cells. (IPython's own %rerun ran lines of the history: %recall still shows them.)
        """
        with saying_no():
            count = cells_of(self.shell).rerun(line.replace(",", " ").split(), print)
            print(f"{count} {'cell' if count == 1 else 'cells'} ran again" if count else "nothing had to run")  # noqa: T201

    @line_cell_magic
    @no_var_expand
    def everywhere(self, line: str, cell: str | None = None) -> None:
        """Run this cell once on each worker, before the next task cell that it gets; also on workers that come later.

        ::

            %%everywhere
            import numpy as np
            table = np.load("/data/table.npy")

        Its names are there in task cells (%%task, %autotask), and nothing of them travels; a variable of the notebook with the same name
        comes first. Imports also run here. It can use modules of the notebook, but no other variables. If it fails, the task that
        needed it fails, and it is tried again with the next. %%parallel cells see it, too; apps do not.

        %everywhere --clear forgets all such cells; workers keep what they have.
        """
        with saying_no():
            word = line.strip()
            if cell is not None:
                if word:
                    raise CellError(f"%%everywhere takes nothing, and got '{word}'", "write %%everywhere alone")
                print(add_prelude(self.shell, cell))  # noqa: T201
            elif word == "--clear":
                count = forget_preludes()
                print(f"forgot {count} {'cell' if count == 1 else 'cells'}")  # noqa: T201
            else:
                raise CellError("%everywhere alone does nothing", "write a cell %%everywhere, or %everywhere --clear")


def _complete_rerun(shell: Any, _event: Any) -> list[str]:
    return [*sorted(name for name in own_names(shell) if not name.startswith("_")), "--all"]


FLOW_COMPLETERS = {
    "%autotask": lambda _shell, _event: list(MODES),
    "%everywhere": lambda _shell, _event: ["--clear"],
    "%rerun": _complete_rerun,
    "%tasks": lambda _shell, _event: ["stale", *STATE_NAMES],
}
"""What can stand after these magics."""
