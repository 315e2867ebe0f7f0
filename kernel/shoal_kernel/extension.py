"""Loading and unloading the IPython extension."""

from __future__ import annotations

from functools import partial
from typing import Any

from shoal.futures.stopping import Interrupts, use_interrupts
from shoal.serialize import name_files
from shoal.session import locate_cells
from shoal_kernel.book.stale import cells_of
from shoal_kernel.flow.around import Around
from shoal_kernel.flow.interrupts import KernelInterrupts
from shoal_kernel.magics.completing import CELL_COMPLETERS, only_own
from shoal_kernel.magics.flowmagics import FLOW_COMPLETERS, FlowMagics
from shoal_kernel.magics.poolmagics import COMPLETERS, PoolMagics
from shoal_kernel.magics.taskmagics import TAKES_FUTURES, ShoalMagics, complete_futures
from shoal_kernel.notebook.where import CellFinder
from shoal_kernel.output.errors import cell_name
from shoal_kernel.output.outlet import outlet
from shoal_kernel.output.place import resend
from shoal_kernel.output.stacks import show_own_lines, show_whole_stacks
from shoal_kernel.programs.lastcell import LastCell
from shoal_kernel.restart.cellnotes import CellNotes
from shoal_kernel.views import hub
from shoal_kernel.views.pages import TARGET

__all__ = ["load", "unload"]

_hooks: dict[int, Any] = {}


def load(shell: Any) -> None:
    """Add the magics, and what happens around each cell."""
    if id(shell) in _hooks:
        return
    shell.register_magics(ShoalMagics, PoolMagics, FlowMagics)
    completers = {
        **dict.fromkeys(TAKES_FUTURES, complete_futures),
        **COMPLETERS,
        **FLOW_COMPLETERS,
        **CELL_COMPLETERS,
    }
    for magic, completer in completers.items():
        shell.set_hook("complete_command", completer, str_key=magic)
    matcher = only_own(shell, completers)
    shell.Completer.custom_matchers.append(matcher)

    cells, notes = cells_of(shell), CellNotes(shell)
    around = Around(shell, lambda count, text: notes.began(cells.ref(count, text), text), cells.ran)

    last = LastCell(shell)

    def after_cell(result: Any) -> None:
        around.after(getattr(result, "error_in_exec", None))
        notes.ended()
        last.after(result)
        resend(shell)
        hub.after_cell()

    def before_cell(info: object) -> None:
        around.before(info)
        outlet.ran(shell)

    shell.events.register("pre_run_cell", before_cell)
    shell.events.register("post_run_cell", after_cell)
    shell.ast_transformers.append(around)
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        kernel.comm_manager.register_target(TARGET, partial(hub.page_opened, shell))
        outlet.shown_in_page = partial(hub.page_shows, shell)
        if shell.get_parent():  # in a kernel that began without Shoal
            outlet.announce(kernel)
    use_interrupts(KernelInterrupts(shell))
    locate_cells(CellFinder(shell))
    name_files(lambda file: cell_name(shell, file))
    show_own_lines()
    _hooks[id(shell)] = (around, before_cell, after_cell, matcher)


def unload(shell: Any) -> None:
    """Take back what :func:`load` added, but for the magics, which IPython keeps."""
    hooked = _hooks.pop(id(shell), None)
    if hooked is not None:
        around, before_cell, after_cell, matcher = hooked
        shell.Completer.custom_matchers.remove(matcher)
        shell.events.unregister("pre_run_cell", before_cell)
        shell.events.unregister("post_run_cell", after_cell)
        shell.ast_transformers.remove(around)
        use_interrupts(Interrupts())
        locate_cells(_nowhere)
        name_files(str)
        show_whole_stacks()


def _nowhere() -> None:
    """No notebook is here."""
