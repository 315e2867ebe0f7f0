"""``%%everywhere``: a cell that each worker runs once, before the next task cell that it gets.

The cells are kept here, each with a version of its own, and travel with the code of every task cell. A worker runs what it has
not run yet; so do workers that come later, and what nobody needs costs nothing.
"""

from __future__ import annotations

import ast
import uuid
from types import ModuleType
from typing import Any

from shoal.errors import CellError
from shoal_kernel.analysis.names import analyse, parse
from shoal_kernel.notebook.where import cell_number
from shoal_kernel.worker.prelude import Prelude

__all__ = ["add_prelude", "carry", "forget_preludes", "prelude_names", "preludes"]

_notebook = uuid.uuid4().hex
_cells: dict[str, Prelude] = {}
_names: dict[str, frozenset[str]] = {}


def add_prelude(shell: Any, body: str) -> str:
    """Take in a cell; its imports also run here. A cell of the same text takes the place of the one before.

    Args:
        shell: the running IPython shell.
        body: the text of the cell.

    Returns:
        What to tell.

    Raises:
        CellError: it is no Python that can run by itself.
    """
    text = "\n" + str(shell.transform_cell(body))
    try:
        tree = parse(text)
    except SyntaxError as error:
        raise CellError(f"line {error.lineno} is not Python ({error.msg})", "correct it") from None
    if not tree.body:
        raise CellError(
            "the cell has no code after its %%everywhere line", "write some; %everywhere --clear forgets all"
        )
    for part in tree.body:
        if isinstance(part, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([part], []), "<everywhere>", "exec"), shell.user_ns)  # noqa: S102 - the user's own
    bound = sorted(carry(shell, text, tree))
    told = f"; it binds {', '.join(bound)}" if bound else ""
    return f"each worker runs this once, before its next task cell{told}"


def carry(shell: Any, text: str, tree: ast.Module) -> frozenset[str]:
    """Let each worker run a cell once.

    Args:
        shell: the running IPython shell.
        text: the cell, with its lines numbered as in the notebook.
        tree: its syntax tree.

    Returns:
        The names that it binds there.

    Raises:
        CellError: it cannot run by itself.
    """
    names = analyse(tree)
    if names.is_async:
        raise CellError("an %%everywhere cell cannot await at its top level", "write asyncio.run(...)")
    for note in names.notes:
        if note.kind == "magic":
            raise CellError(
                f"line {note.line} has a magic or a shell command, which workers do not have", "write it in Python"
            )
    notebook = shell.user_ns
    modules = {name: notebook[name].__name__ for name in names.reads if isinstance(notebook.get(name), ModuleType)}
    known = {*prelude_names(), *names.writes, *names.imports, *modules}
    for name in sorted(names.reads - known):
        raise CellError(
            f"'{name}', which line {names.lines.get(name, 0)} reads, is a variable of the notebook, which does not travel",
            "make it in the cell itself, from a file or a constant",
        )
    key = ast.dump(tree)
    _cells.pop(key, None)
    file = f"<Cell In[{cell_number(shell)}]>"
    _cells[key] = Prelude(_notebook, uuid.uuid4().hex, text, file, tuple(sorted(modules.items())))
    _names[key] = frozenset(names.writes | names.imports)
    return _names[key]


def forget_preludes() -> int:
    """Forget all; returns how many there were. Workers that ran them keep what they have."""
    count = len(_cells)
    _cells.clear()
    _names.clear()
    return count


def preludes() -> tuple[Prelude, ...]:
    """All that each worker is to run, in order."""
    return tuple(_cells.values())


def prelude_names() -> frozenset[str]:
    """The names that the workers have by themselves."""
    return frozenset().union(*_names.values())
