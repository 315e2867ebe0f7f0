"""What happens around each plain cell: it becomes a task, or waits for what it needs, and runs with the values.

IPython gives each cell's syntax tree to transformers before it runs. Ours looks at the tree of the cell, and no other: that of
``%time`` and of cells that leave no trace pass by.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from shoal.errors import ShoalError
from shoal_kernel.analysis.magictext import with_magics
from shoal_kernel.cells.autotask import Stays, autotask, say, start_auto_cell
from shoal_kernel.cells.inflight import in_flight
from shoal_kernel.cells.undoing import all_or_nothing
from shoal_kernel.flow.settle import Lent, held_futures, settle
from shoal_kernel.notebook.where import cell_number
from shoal_kernel.output.errors import saying_no
from shoal_kernel.planning.needed import needed

__all__ = ["Around", "run_first"]

_WORD = re.compile(r"[A-Za-z_]\w*")
_next: list[Callable[[], None]] = []


def run_first() -> None:
    """What a cell runs before its own first line. Called by the cell itself."""
    while _next:
        with saying_no():
            _next.pop(0)()


class Around:
    """Meets each cell.

    Args:
        shell: the running IPython shell.
        begins: called with the number and the text of each cell that leaves a trace, before it runs.
        ran: likewise, after it has.
    """

    def __init__(self, shell: Any, begins: Callable[[int, str], None], ran: Callable[[int, str], None]) -> None:
        self._shell, self._begins, self._ran = shell, begins, ran
        self._lent = Lent(shell.user_ns)
        self._expected = False
        self._raw: str | None = None

    def before(self, info: Any) -> None:
        """A cell is about to be read."""
        _next.clear()
        self._lent.take_back()
        self._expected = bool(info.store_history)
        self._raw = info.raw_cell if self._expected else None

    def after(self, error: BaseException | None = None) -> None:
        """A cell has run.

        Args:
            error: what it has raised.
        """
        self._expected = False
        self._lent.take_back()
        if self._raw is not None:
            raw, self._raw = self._raw, None
            if isinstance(error, ShoalError) and raw.lstrip().startswith("%%"):
                return  # it was refused, and has not run
            self._ran(cell_number(self._shell), raw)

    def visit(self, tree: ast.AST) -> ast.AST:
        """Called by IPython with a syntax tree.

        Returns:
            The tree, or what is to run in its place.
        """
        if not self._expected or not isinstance(tree, ast.Module):
            return tree
        self._expected = False
        if self._raw is not None:
            self._begins(cell_number(self._shell), self._raw)
        if not tree.body:
            return tree
        mode = autotask()
        futures = held_futures(self._shell.user_ns)
        if _is_cell_magic(tree):
            return self._waiting(tree, set(futures), mode != "off") if futures else tree
        count = cell_number(self._shell)
        text = self._shell.history_manager.input_hist_parsed[count]
        if mode == "off":
            return self._waiting(tree, set(futures), False) if futures else tree
        return self._as_task(tree, text, set(futures))

    def _as_task(self, tree: ast.Module, text: str, futures: set[str]) -> ast.AST:
        try:
            with all_or_nothing(self._shell):
                start_auto_cell(self._shell, text, tree)
        except Stays as reason:
            say(reason)
            return self._waiting(tree, futures, True, reason.waits)
        except ShoalError as error:
            self._raw = None  # it did not run
            return _instead(tree, _raiser(error))
        return _instead(tree, None)

    def _waiting(self, tree: ast.Module, futures: set[str], always: bool, all_: bool = False) -> ast.AST:
        text = self._shell.history_manager.input_hist_parsed[cell_number(self._shell)]
        if not all_ and not _may_need(text, futures, self._shell.user_ns):
            return tree
        cell = with_magics(tree, self._shell.transform_cell)
        needs = needed(cell, self._shell.user_ns, futures, always)
        before = in_flight() if all_ else []
        if not needs and not before:
            return tree
        cell = ast.Module([*cell.body], [])
        _next.append(lambda: settle(self._shell, self._lent, cell, needs, list(before)))
        tree.body.insert(0, _hook())
        return tree


def _may_need(text: str, futures: set[str], notebook: Mapping[str, Any]) -> bool:
    """Whether it is worthwhile to look closely: the cell has the name of a future, or of a function that may use one."""
    if not text.isascii():  # names may be written in several ways
        return True
    words = set(_WORD.findall(text))
    return not words.isdisjoint(futures) or any(type(notebook.get(word)) is FunctionType for word in words)


def _raiser(error: ShoalError) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse


def _instead(tree: ast.Module, step: Callable[[], None] | None) -> ast.Module:
    tree.body = []
    if step is not None:
        _next.append(step)
        tree.body.append(_hook())
    return tree


def _hook() -> ast.stmt:
    """``__import__("shoal_kernel.flow.around", fromlist=["x"]).run_first()``, which needs no name of the notebook."""
    text = f"__import__({__name__!r}, fromlist=['x']).run_first()"
    # an expression would be shown where IPython is set to show each
    return ast.fix_missing_locations(ast.parse(f"if {text}: pass").body[0])


def _is_cell_magic(tree: ast.Module) -> bool:
    match tree.body:
        case [ast.Expr(value=ast.Call(func=ast.Attribute(attr="run_cell_magic")))]:
            return True
    return False
