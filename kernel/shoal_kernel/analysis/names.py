"""What a cell reads, writes, may change and deletes, found from its text alone. PURE.

:func:`analyse` walks the syntax tree in the order in which Python runs it and keeps, at each place, the set of names
that are certainly bound by the cell itself. A name that is loaded while it is not in that set may hold a value from
before, and counts as read. A wrong guess is on the safe side: where it cannot tell, the cell reads more, and writes more.

Caller's part: IPython's input transforms come first, so that what arrives here is Python.
"""

from __future__ import annotations

import ast

import msgspec

from shoal_kernel.analysis.nameflow import Flow

__all__ = ["CellNames", "Note", "analyse", "parse"]


class Note(msgspec.Struct, frozen=True):
    """Something in a cell that hides names from the analysis.

    Args:
        kind: ``magic``, ``star import`` or ``reflection`` (exec, eval, globals, locals, vars).
        line: its 1-based line in the text that was analysed.
        text: the name of the function, module or magic.
    """

    kind: str
    line: int
    text: str


class CellNames(msgspec.Struct, frozen=True):
    """The names of one cell, by what happens to them. Names of builtins are in none of the sets but ``builtins``.

    Args:
        reads: their value from before the cell may be used.
        writes: bound at the top level, or by a function of the cell through ``global``; deletions included.
        maybe: the part of ``writes`` that need not happen (in a branch, in a loop).
        deletes: may be unbound when the cell ends.
        item_writes: ``x[k] = ...``, ``x.a = ...``, ``x[k] += ...``, ``del x[k]``, also through an alias of the cell.
        mutators: a call that is known to change them (``x.append(1)``, ``x.drop(..., inplace=True)``, ``out=x``).
        method_calls: other methods are called on them.
        passed: given to a call of unknown effect.
        imports: the part of ``writes`` that is bound by import statements.
        functions: the part of ``writes`` that is bound by ``def``.
        classes: the part of ``writes`` that is bound by ``class``.
        counters: the part of ``writes`` that is only bound as the target of a ``for``.
        managed: the part of ``writes`` that is only bound by ``with ... as``.
        if_loop_is_empty: the part of ``reads`` and ``maybe`` that is there only because a loop may run not at all.
        free: names that functions and classes defined in the cell look up in the notebook when they are called.
        builtins: names of builtins that are loaded (the notebook may have bound them to something else).
        lines: the first line that loads each name of ``reads`` and ``free``.
        is_async: whether the cell awaits at its top level.
        notes: what hides names from the analysis.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    maybe: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()
    item_writes: frozenset[str] = frozenset()
    mutators: frozenset[str] = frozenset()
    method_calls: frozenset[str] = frozenset()
    passed: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    counters: frozenset[str] = frozenset()
    managed: frozenset[str] = frozenset()
    if_loop_is_empty: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
    builtins: frozenset[str] = frozenset()
    lines: dict[str, int] = {}
    is_async: bool = False
    notes: tuple[Note, ...] = ()

    @property
    def may_mutate(self) -> frozenset[str]:
        """Every name whose object the cell may change in place."""
        return self.item_writes | self.mutators | self.method_calls | self.passed

    @property
    def changed(self) -> frozenset[str]:
        """Every name that holds something else, or something changed, when the cell has run."""
        return self.writes | self.item_writes | self.mutators


def analyse(source: str | ast.Module) -> CellNames:
    """Find the names of one cell.

    Args:
        source: the text of the cell after IPython's input transforms, or its syntax tree.

    Returns:
        Its names, by what happens to them.

    Raises:
        SyntaxError: the text is not Python.
    """
    tree = parse(source) if isinstance(source, str) else source
    flow, hopeful = Flow(), Flow(loops_run=True)
    for walk in (flow, hopeful):
        walk.block(tree.body)
    found, bound = flow.book.found, flow.book.cell.bound
    reads_or_maybe = found.reads | (found.writes - bound)
    likely = hopeful.book.found.reads | (hopeful.book.found.writes - hopeful.book.cell.bound)
    return CellNames(
        reads=frozenset(found.reads),
        writes=frozenset(found.writes),
        maybe=frozenset(found.writes - bound - found.deletes),
        deletes=frozenset(found.deletes - bound),
        item_writes=frozenset(found.item_writes),
        mutators=frozenset(found.mutators),
        method_calls=frozenset(found.method_calls),
        passed=frozenset(found.passed),
        imports=frozenset(found.imports),
        functions=frozenset(found.functions),
        classes=frozenset(found.classes),
        counters=frozenset((found.counters & found.writes) - found.settled - found.managed),
        managed=frozenset((found.managed & found.writes) - found.settled - found.counters),
        if_loop_is_empty=frozenset(reads_or_maybe - likely),
        free=frozenset(found.free - bound),
        builtins=frozenset(found.builtins),
        lines=dict(found.lines),
        is_async=found.is_async,
        notes=tuple(Note(*note) for note in dict.fromkeys(found.notes)),
    )


def parse(source: str) -> ast.Module:
    """The syntax tree of a cell, top-level ``await`` allowed.

    Raises:
        SyntaxError: the text is not Python.
    """
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, "<cell>", "exec", flags, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree
