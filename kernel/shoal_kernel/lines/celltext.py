"""What a cell of any kind reads and binds, from its text alone: for the book of cells."""

from __future__ import annotations

import ast
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from shoal.errors import CellError
from shoal_kernel.analysis.names import CellNames, analyse, parse
from shoal_kernel.lines.header import read_header
from shoal_kernel.lines.options import parse_bash_options, parse_options
from shoal_kernel.lines.script import split_script

__all__ = ["CellFlow", "first_line", "flow_of"]

_PYTHON = ("task", "localtask", "join_task")
_TRANSPARENT = ("time", "capture", "prun")
_WIDEST = 40


class CellFlow(msgspec.Struct, frozen=True):
    """The names of a cell.

    Args:
        reads: whose values make a difference to it.
        later: that its functions read when they are called.
        writes: that hold something else, or something changed, after it.
        deletes: that are gone after it.
        functions: the part of ``writes`` that is bound by ``def`` and ``class``.
    """

    reads: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


NOTHING = CellFlow()


def flow_of(raw: str, transform: Callable[[str], str]) -> CellFlow:
    """The names of a cell; none where they cannot be told.

    Args:
        raw: the cell as it was typed.
        transform: makes Python of it, as IPython does.
    """
    first, _, body = raw.lstrip("\n").partition("\n")
    try:
        if not first.startswith("%%"):
            return _plain(raw, transform)
        magic, _, line = first[2:].partition(" ")
        if magic in _PYTHON:
            return _task(line, body, transform)
        if magic == "parallel":
            return _parallel(line, body, transform)
        if magic == "bash_task":
            return _script(line, body)
        if magic == "everywhere":  # it reads nothing of the notebook
            return replace(_plain(body, transform), reads=frozenset())
        return _plain(body, transform) if magic in _TRANSPARENT else NOTHING
    except (CellError, SyntaxError, RecursionError):
        return NOTHING


def _plain(text: str, transform: Callable[[str], str]) -> CellFlow:
    return _of_names(analyse(parse(transform(text))))


def _of_names(names: CellNames) -> CellFlow:
    return CellFlow(
        reads=names.reads | names.maybe,
        later=names.free,
        writes=names.changed | names.imports,
        deletes=names.deletes,
        functions=names.functions | names.classes,
    )


def _task(line: str, body: str, transform: Callable[[str], str]) -> CellFlow:
    options = parse_options(line)
    flow = _plain(body, transform)
    if options.reads is not None:
        flow = replace(flow, reads=frozenset(options.reads), later=frozenset())
    if options.writes is not None:
        flow = replace(flow, writes=frozenset(options.writes) | flow.functions)
    return replace(flow, reads=flow.reads | frozenset(options.after))


def _parallel(line: str, body: str, transform: Callable[[str], str]) -> CellFlow:
    header = read_header(line)
    flow = _plain(body, transform)
    loops = ast.Module([ast.Expr(ast.ListComp(ast.Constant(None), list(header.loops)))], [])
    for node in ast.walk(loops):
        if isinstance(node, ast.expr | ast.stmt):
            node.lineno, node.col_offset = 1, 0
    reads = flow.reads | analyse(ast.fix_missing_locations(loops)).reads
    return CellFlow(reads - set(header.names), flow.later - set(header.names), frozenset({header.results}))


def _script(line: str, body: str) -> CellFlow:
    options = parse_bash_options(line)
    named = {name for name in options.inputs if name.isidentifier()}
    return CellFlow(
        reads=frozenset(named | {name for _, name in split_script(body) if name}),
        writes=frozenset({options.bind} if options.bind else ()),
    )


def first_line(text: str) -> str:
    """What people know a cell by: its first line with something on it, after that of a magic; cut if it is long."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("%%") and len(lines) > 1:
        lines = lines[1:]
    line = lines[0].strip() if lines else ""
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
