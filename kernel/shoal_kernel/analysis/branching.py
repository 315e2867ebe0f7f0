"""Control flow in the walk behind :mod:`shoal_kernel.analysis.names`: what may be left out, and what is bound after it. PURE."""

# ruff: noqa: D102, N815 - ast.NodeVisitor finds its methods by the names of node classes

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from shoal_kernel.analysis.effects import roots
from shoal_kernel.analysis.ledger import Ledger
from shoal_kernel.analysis.scopes import pattern_names

__all__ = ["Branching"]

_DEEPEST_TWICE = 3


class Branching(ast.NodeVisitor):
    """Control flow: which statements may be left out, and what is bound after them.

    Args:
        loops_run: suppose that each ``for`` and ``while`` runs its body at least once.
    """

    def __init__(self, loops_run: bool = False) -> None:
        self.book = Ledger()
        self.dead = False
        self.loops = 0
        self.loops_run = loops_run

    def block(self, body: Iterable[ast.AST | None]) -> None:
        """Parts that run one after another."""
        for part in body:
            if part is not None:
                self.visit(part)

    def branches(self, *ways: Callable[[], object]) -> None:
        """One of several ways is taken: afterwards that is bound which all ways bind that come to their end."""
        book = self.book
        flows = [scope for scope in book.scopes if scope.kind in ("cell", "class")]
        before = [set(scope.bound) for scope in flows]
        aliases_before, aliases = book.aliases, dict[str, set[str]]()
        ends: list[list[set[str]]] = []
        dead_before = self.dead
        for way in ways:
            self.dead, book.aliases = False, dict(aliases_before)
            for scope, bound in zip(flows, before, strict=True):
                scope.bound = set(bound)
            way()
            if not self.dead:
                ends.append([scope.bound for scope in flows])
            for name, sources in book.aliases.items():
                aliases[name] = aliases.get(name, set()) | sources
        self.dead, book.aliases = dead_before or not ends, aliases
        for position, scope in enumerate(flows):
            scope.bound = set.intersection(*(end[position] for end in ends)) if ends else before[position]

    def perhaps(self, *parts: ast.AST | None) -> None:
        """Parts that may not run at all."""
        self.branches(lambda: self.block(parts), lambda: None)

    def repeat(self, *steps: Callable[[], object]) -> None:
        """The body of a loop: no time, once or often."""

        def run() -> None:
            self.loops += 1
            # twice, so that a name bound late in the body is known early in it; not in deep nests, to stay linear
            for _ in range(2 if self.loops <= _DEEPEST_TWICE else 1):
                for step in steps:
                    step()
            self.loops -= 1

        self.branches(run, *([] if self.loops_run else [lambda: None]))
        self.dead = False

    def visit_Constant(self, node: ast.Constant) -> None:
        """Nothing to be found in it; that of the base class is slow."""

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.branches(lambda: self.block(node.body), lambda: self.block(node.orelse))

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.branches(lambda: self.visit(node.body), lambda: self.visit(node.orelse))

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self.repeat(lambda: self.block(node.body))
        self.perhaps(*node.orelse)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.book.scopes[-1].bound)

        def handle(handler: ast.ExceptHandler) -> Callable[[], object]:
            return lambda: self.visit(handler)

        self.branches(lambda: self.block([*node.body, *node.orelse]), *map(handle, node.handlers))
        if node.finalbody:  # once as after a stop anywhere in the body, once as after its end
            dead, after = self.dead, self.book.scopes[-1].bound
            self.dead, self.book.scopes[-1].bound = False, before
            self.block(node.finalbody)
            self.book.scopes[-1].bound = after
            self.block(node.finalbody)
            self.dead = self.dead or dead

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.block([node.type])
        if node.name:
            self.book.catch(node.name)
        self.block(node.body)
        if node.name:
            self.book.unbind(node.name, lasting=False)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        subject = [root.id for root in roots(node.subject)]

        def way(case: ast.match_case) -> Callable[[], object]:
            def run() -> None:
                self.visit(case.pattern)
                for name in sorted(pattern_names(case.pattern)):
                    self.book.store(name)
                    self.book.alias(ast.Name(name, ast.Store()), subject)
                self.block([case.guard, *case.body])

            return run

        last = node.cases[-1]
        total = last.guard is None and isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
        self.branches(*map(way, node.cases), *([] if total else [lambda: None]))

    def stop(self, node: ast.AST) -> None:
        """Nothing after this statement runs in this branch."""
        self.generic_visit(node)
        self.dead = True

    visit_Raise = visit_Return = visit_Break = visit_Continue = stop

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self.perhaps(node.msg)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self.perhaps(*node.values[1:])

    def visit_Compare(self, node: ast.Compare) -> None:
        self.block([node.left, node.comparators[0]])
        self.perhaps(*node.comparators[1:])
