"""The line of a ``%%parallel`` cell: ``for x in xs [for y in ys] [if condition] -> results [options]``."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from itertools import islice
from typing import Any, NamedTuple

from shoal.errors import CellError
from shoal_kernel.analysis.names import analyse
from shoal_kernel.analysis.scopes import target_names

__all__ = ["Header", "elements_of", "read_header"]

_MOST = 2_000_000
"""Elements of one cell; each has a future of its own, and a few kilobytes."""

_FORM = "write %%parallel for x in xs -> results"
_EACH, _TEST = "__shoal_each__", "__shoal_test__"
_FILE = "<the line of the cell>"


class Header(NamedTuple):
    """The line of a cell.

    Args:
        loops: what goes through the elements.
        names: the names that an element binds, in the order of the line.
        results: the name that gets the results.
        options: the rest of the line.
    """

    loops: tuple[ast.comprehension, ...]
    names: tuple[str, ...]
    results: str
    options: str


def read_header(line: str) -> Header:
    """Take the line of a cell apart.

    Args:
        line: what stands after ``%%parallel``.

    Raises:
        CellError: it is not of that form.
    """
    arrows = [found.start() for found in re.finditer("->", line)]
    if not arrows:
        raise CellError("%%parallel has no '-> NAME' that says what gets the results", _FORM)
    if not line.strip().startswith("for "):
        raise CellError(f"%%parallel goes through elements, and '{line[: arrows[0]].strip()}' does not", _FORM)
    found = _loops(line, arrows)
    if found is None:
        try:
            ast.parse(f"[0 {line[: arrows[0]].strip()}]", mode="eval")
        except SyntaxError as error:
            raise CellError(
                f"'{line[: arrows[0]].strip()}' is not how Python goes through something ({error.msg})", _FORM
            ) from None
        raise CellError(f"'{line[: arrows[0]].strip()}' is not how Python goes through something", _FORM)
    loops, rest = found
    if any(loop.is_async for loop in loops):
        raise CellError("%%parallel cannot go through elements with 'async for'", "make a list of them first")
    results, _, options = rest.strip().partition(" ")
    if not results.isidentifier() or keyword.iskeyword(results):
        raise CellError(f"'-> {results}' names no variable that could get the results", _FORM)
    names = tuple(dict.fromkeys(name.id for loop in loops for name in target_names(loop.target)))
    if not names:
        raise CellError("%%parallel binds no name to the elements", _FORM)
    return Header(loops, names, results, options)


def _loops(line: str, arrows: list[int]) -> tuple[tuple[ast.comprehension, ...], str] | None:
    """The loops, and what stands after the arrow; the arrow is the first before which Python's own loops stand."""
    for arrow in arrows:
        try:
            tree = ast.parse(f"[0 {line[:arrow].strip()}]", mode="eval").body
        except SyntaxError:
            continue
        if isinstance(tree, ast.ListComp):
            return tuple(tree.generators), line[arrow + 2 :]
    return None


def elements_of(header: Header, notebook: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The elements: for each the values of ``header.names``.

    Args:
        header: the line.
        notebook: the notebook's variables.

    Raises:
        CellError: a name is not there, something cannot be gone through, or the line fails.
    """
    loops = [_guarded(loop) for loop in header.loops]
    values = ast.Tuple([ast.Name(name, ast.Load()) for name in header.names], ast.Load())
    whole = ast.ListComp(values, list(header.loops))
    _check_names(ast.Module([ast.Expr(ast.copy_location(whole, header.loops[0].iter))], []), notebook)
    tree = ast.fix_missing_locations(ast.Expression(ast.GeneratorExp(values, loops)))
    try:
        body = compile(tree, _FILE, "eval", dont_inherit=True)
    except SyntaxError as error:
        raise CellError(f"the line of the cell is not Python ({error.msg})", _FORM) from None
    return _evaluated(body, {**notebook, _EACH: _each, _TEST: _test})


def _check_names(tree: ast.Module, notebook: Mapping[str, Any]) -> None:
    for node in ast.walk(tree):
        ast.copy_location(node, node if hasattr(node, "lineno") else tree.body[0])
    for name in sorted(analyse(ast.fix_missing_locations(tree)).reads):
        if name not in notebook:
            raise CellError(
                f"'{name}' in the line of the cell is not defined here", "run the cell that defines it first"
            )


def _guarded(loop: ast.comprehension) -> ast.comprehension:
    """The same loop with a look at what it goes through, and at what its conditions give."""
    return ast.comprehension(loop.target, _call(_EACH, loop.iter), [_call(_TEST, part) for part in loop.ifs], 0)


def _call(name: str, given: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), [given, ast.Constant(ast.unparse(given))], [])


def _each(given: Any, text: str) -> Iterable[Any]:
    if isinstance(given, Future):
        raise CellError(
            f"'{text}' is a future, so that its elements are not known yet",
            f"write {text}.result(), which waits for it",
        )
    if not isinstance(given, Iterable) and not hasattr(given, "__getitem__"):
        raise CellError(
            f"'{text}' is {_a(type(given).__name__)}, which has no elements", "give a list, a range or the like"
        )
    found: Iterable[Any] = given
    return found


def _test(given: Any, text: str) -> Any:
    if isinstance(given, Future):
        raise CellError(f"the condition '{text}' is a future, which is not known yet", f"write {text}.result()")
    return given


def _evaluated(body: Any, namespace: dict[str, Any]) -> list[tuple[Any, ...]]:
    try:
        found: list[tuple[Any, ...]] = list(islice(eval(body, namespace), _MOST + 1))  # noqa: S307 - the user's own line
    except CellError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's own line: whatever it raises is told in one sentence
        reason = f"the line of the cell fails with {type(error).__name__}: {error}"
        raise CellError(reason, "correct it, or make a list in a cell before") from None
    if len(found) > _MOST:
        raise CellError(
            f"the line of the cell has more than {_MOST:,} elements", "let each element be a part of the work"
        )
    return found


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"
