"""What a task cell cannot say, found in its text before anything runs."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from shoal.errors import CellError
from shoal_kernel.analysis.names import CellNames

__all__ = ["TOO_DEEP", "refuse_keyboard", "refuse_outside_function", "refuse_results"]

TOO_DEEP = (
    "the cell is nested too deep to be looked at",
    "give parts of its long expressions or chains names of their own",
)
"""What is said of a cell that is deeper than Python's recursion goes."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def refuse_outside_function(tree: ast.Module) -> None:
    """Refuse ``return`` and ``yield`` that stand in no function: Python itself only notices when it makes code of a cell.

    Args:
        tree: the cell's syntax tree.

    Raises:
        CellError: there is one.
    """
    for node in _outside_functions(tree):
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom):
            word = "return" if isinstance(node, ast.Return) else "yield"
            raise CellError(
                f"line {node.lineno} is not Python ('{word}' outside of a function)",
                "leave it away: what the cell writes comes back, and the value of its last line is shown",
            )


def refuse_keyboard(tree: ast.Module, magic: str) -> None:
    """Refuse to ask the keyboard: a worker has none, and a thread would wait for an answer for ever.

    Args:
        tree: the cell's syntax tree.
        magic: for the error.

    Raises:
        CellError: the cell calls ``input`` or ``breakpoint`` itself.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="input")):
                fix = "ask in a cell before, and use the answer here"
                raise CellError(f"line {node.lineno} asks the keyboard, which a {magic} cell does not have", fix)
            case ast.Call(func=ast.Name(id="breakpoint")):
                fix = "leave it away: when the cell has failed, %retry NUMBER --here and %debug open the failing line"
                raise CellError(f"line {node.lineno} stops in the debugger, which a {magic} cell does not have", fix)


def refuse_results(tree: ast.Module, names: CellNames, futures: Collection[str]) -> None:
    """Refuse to ask a value for its result: in a task cell, a future of the notebook is its value.

    Args:
        tree: the cell's syntax tree.
        names: what the cell does with its names.
        futures: the names that hold futures in the notebook.

    Raises:
        CellError: ``x.result()`` or ``await x`` stands in the cell, for such an ``x`` that the cell does not write.
    """
    for node in _outside_functions(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="result")):
                asked = ".result()"
            case ast.Await(value=ast.Name(id=name)):
                asked = "await"
            case _:
                continue
        if name in futures and name in names.reads and name not in names.writes:
            raise CellError(
                f"line {node.lineno} asks '{name}' for its value, but '{name}' is already its value in a task cell",
                f"leave {asked} away",
            )


def _outside_functions(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """The nodes that run with the cell itself."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr | ast.stmt):
            yield child
        if not isinstance(child, _FUNCTIONS):
            yield from _outside_functions(child)
