"""Which name of a cell may hold what another one holds: the graph behind :mod:`shoal_kernel.analysis.sharing`. PURE."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from shoal_kernel.analysis.effects import PURE_BUILTINS, call_name
from shoal_kernel.analysis.purity import FRESH_METHODS, HOLDING, SCALAR_BUILTINS

__all__ = ["HOLDS", "PART", "SAME", "Graph", "Node"]

HOLDS, SAME, PART = 0, 1, 2
"""A name may hold a new object that holds the other's, or parts of it; the other's object; a part of it, or anything."""

Node = tuple[int, str]
"""A scope's number (0 for the cell) and a name."""


class _Scope(NamedTuple):
    number: int
    names: frozenset[str]
    globals: frozenset[str] = frozenset()
    is_class: bool = False


class Graph(ast.NodeVisitor):
    """Scopes, which name may hold what, and which objects unknown code gets at.

    Attributes:
        edges: for each name those whose objects it may hold, and how.
        touched: what may be changed (True: with all that it holds), and in which lines.
        trusted: what may be changed if the object of a name is not what it has to be (see :mod:`shoal_kernel.analysis.origins`).
        stored: names that the cell binds itself.
    """

    def __init__(self) -> None:
        self.edges: dict[Node, dict[Node, int]] = {}
        self.touched: dict[tuple[Node, bool], set[int]] = {}
        self.trusted: set[tuple[str, Node, str]] = set()
        self.stored: set[str] = set()
        self._scopes = [_Scope(0, frozenset())]
        self._inner: dict[int, _Scope] = {}

    def visit_Constant(self, node: ast.Constant) -> None:
        """Nothing to be found in it; that of the base class is slow."""

    @contextmanager
    def scope(
        self, node: ast.AST, names: Iterable[str], declared: Iterable[str] = (), is_class: bool = False
    ) -> Iterator[None]:
        """Within a scope of the language; the same one each time for one node."""
        known = self._inner.get(id(node))
        if known is None:
            known = _Scope(len(self._inner) + 1, frozenset(names), frozenset(declared), is_class)
            self._inner[id(node)] = known
        self._scopes.append(known)
        yield
        self._scopes.pop()

    def node(self, name: str) -> Node:
        """Whose name it is, here."""
        innermost = True
        for scope in reversed(self._scopes):
            if name in scope.globals:
                break
            if name in scope.names and (innermost or not scope.is_class):
                return scope.number, name
            innermost = False
        return 0, name

    def edge(self, target: Node, sources: dict[Node, int], kind: int) -> None:
        """``target`` may hold what ``sources`` hold."""
        known = self.edges.setdefault(target, {})
        for source, how in sources.items():
            if source != target:
                known[source] = max(known.get(source, 0), how if kind == SAME else kind)

    def touch(self, expression: ast.expr | None, deep: bool) -> None:
        """The object of an expression is changed (``deep``: it, or anything that it holds)."""
        if expression is None:
            return
        for node, how in self.flows(expression).items():
            if how != HOLDS or deep:
                self.touched.setdefault((node, deep or how == PART), set()).add(expression.lineno)

    def reached(self, start: Node, deep: bool) -> dict[Node, bool]:
        """The names whose objects change if that of ``start`` does, and whether what they hold does."""
        seen: dict[Node, bool] = {}
        pending = [(start, deep)]
        while pending:
            node, deep = pending.pop()
            if seen.get(node, False) or (node in seen and not deep):
                continue
            seen[node] = deep
            for source, how in self.edges.get(node, {}).items():
                if deep or how != HOLDS:
                    pending.append((source, deep or how == PART))
        return seen

    def flows(self, node: ast.expr | None) -> dict[Node, int]:
        """The names whose objects the value of an expression may be, hold parts of, or be a part of."""
        match node:
            case None | ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.UnaryOp():
                return {}
            case ast.Name(id=name):
                return {self.node(name): SAME}
            case ast.NamedExpr(value=inner) | ast.Starred(value=inner):
                return self.flows(inner)
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Await(value=inner):
                return dict.fromkeys(self.flows(inner), PART)
            case ast.IfExp(body=one, orelse=other):
                return self._all([one, other], SAME)
            case ast.BoolOp(values=parts):
                return self._all(parts, SAME)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.Dict(values=parts):
                return self._all(parts, HOLDS)
            case ast.BinOp(left=one, right=other):
                return self._all([one, other], HOLDS)
            case ast.Lambda():
                with self.scope(node, ()):
                    return dict.fromkeys(self.flows(node.body), PART)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                with self.scope(node, ()):
                    value = node.value if isinstance(node, ast.DictComp) else node.elt
                    return dict.fromkeys(self.flows(value), HOLDS)
            case ast.Call():
                return self._result(node)
        return {self.node(part.id): PART for part in ast.walk(node) if isinstance(part, ast.Name)}

    def _all(self, parts: Iterable[ast.expr | None], kind: int) -> dict[Node, int]:
        found: dict[Node, int] = {}
        for part in parts:
            for node, how in self.flows(part).items():
                found[node] = max(found.get(node, 0), HOLDS if kind == HOLDS else how)
        return found

    def _result(self, call: ast.Call) -> dict[Node, int]:
        name = call_name(call)
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(call.func, ast.Attribute):
            if name in FRESH_METHODS:
                return {}
            given.append(call.func.value)
        elif self.is_builtin(call.func):
            if name in SCALAR_BUILTINS or (name == "sum" and len(given) == 1):
                return {}
        else:
            given.append(call.func)
        return dict.fromkeys(self._all(given, SAME), HOLDS if name in HOLDING else PART)

    def is_builtin(self, function: ast.expr) -> bool:
        """Whether it is the name of a known built-in function that the cell has not bound."""
        return (
            isinstance(function, ast.Name)
            and function.id in PURE_BUILTINS
            and self.node(function.id)[0] == 0
            and function.id not in self.stored
        )
