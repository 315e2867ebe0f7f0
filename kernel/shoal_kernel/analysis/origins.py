"""What the object of an expression was made by: who has a method known by its name may be known, too. PURE.

``out.append(x)`` only keeps ``x`` if ``out`` is a list; a class of the user's own may have an ``append`` that does anything. So the
walk asks where an object comes from: a display, a built-in function, a module of a known library, or a name of the notebook, whose
object is looked at when the cell meets it.
"""

# ruff: noqa: N802 - ast.NodeVisitor finds its methods by the names of node classes

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator

from shoal_kernel.analysis.flowgraph import Graph, Node
from shoal_kernel.analysis.purity import LIBRARIES, LIBRARY, MODULE, OBJECT
from shoal_kernel.analysis.scopes import target_names

__all__ = ["UNKNOWN", "Origins"]

UNKNOWN = ""
"""Stands for an object of which nobody knows what it is."""

_BUILTINS = frozenset(dir(builtins))
_Asked = tuple[Node, str, bool]


class Origins(Graph):
    """Keeps what each name is bound to.

    Attributes:
        origins: for each name the expressions that it is bound to (False), or to parts of which it is bound (True).
        modules, imported: names of modules of known libraries that the cell imports, and of what it imports from these.
    """

    def __init__(self) -> None:
        super().__init__()
        self.origins: dict[Node, dict[int, tuple[ast.expr, bool]]] = {}
        self.modules: set[str] = set()
        self.imported: set[str] = set()

    def comes_from(self, target: ast.expr, value: ast.expr, part: bool = False) -> None:
        """The names of a target are bound to a value, or to parts of it."""
        for node in target_names(target):
            self.origins.setdefault(self.node(node.id), {})[id(value)] = value, part or node is not target

    def visit_Import(self, node: ast.Import) -> None:
        """Modules of known libraries are known."""
        for alias in node.names:
            if alias.name.partition(".")[0] in LIBRARIES:
                self.modules.add(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """So is what comes from them."""
        if not node.level and (node.module or "").partition(".")[0] in LIBRARIES:
            self.imported.update(alias.asname or alias.name for alias in node.names)

    def asked(self, node: ast.expr, kind: str) -> set[tuple[str, str]]:
        """What has to be so that the methods of an object do what their names say.

        Args:
            node: the expression whose object it is.
            kind: what the object has to be.

        Returns:
            Names of the notebook, each with what its object has to be; with :data:`UNKNOWN` if nobody knows.
        """
        return set(self._asked(node, kind, False, set()))

    def _asked(self, node: ast.expr, kind: str, deep: bool, seen: set[_Asked]) -> Iterator[tuple[str, str]]:
        """``deep``: not just the object, but what it holds, too."""
        match node:
            case ast.Name(id=name):
                yield from self._of_name(name, kind, deep, seen)
            case ast.NamedExpr(value=inner) | ast.Starred(value=inner):
                yield from self._asked(inner, kind, deep, seen)
            case ast.IfExp(body=one, orelse=other):
                yield from self._each([one, other], kind, deep, seen)
            case ast.BoolOp(values=parts):
                yield from self._each(parts, kind, deep, seen)
            case ast.BinOp(left=one, right=other):
                yield from self._each([one, other], LIBRARY, deep, seen)
            case ast.Attribute(value=inner):  # of a module it may be a class
                yield from self._asked(inner, LIBRARY if kind in (LIBRARY, MODULE) else OBJECT, True, seen)
            case ast.UnaryOp(operand=inner) | ast.Subscript(value=inner):
                yield from self._asked(inner, LIBRARY, True, seen)
            case ast.Call():
                yield from self._of_call(node, deep, seen)
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.Dict(values=parts):
                yield from self._each(parts if deep else [], LIBRARY, True, seen)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                with self.scope(node, ()):
                    made = node.value if isinstance(node, ast.DictComp) else node.elt
                    yield from self._each([made] if deep else [], LIBRARY, True, seen)
            case ast.Constant() | ast.JoinedStr() | ast.Compare():
                pass
            case _:
                yield UNKNOWN, kind

    def _each(
        self, parts: Iterable[ast.expr | None], kind: str, deep: bool, seen: set[_Asked]
    ) -> Iterator[tuple[str, str]]:
        for part in parts:
            if part is not None:
                yield from self._asked(part, kind, deep, seen)

    def _of_name(self, name: str, kind: str, deep: bool, seen: set[_Asked]) -> Iterator[tuple[str, str]]:
        node = self.node(name)
        if (node, kind, deep) in seen:
            return
        seen.add((node, kind, deep))
        if node[0] == 0 and name in self.modules:
            if kind == OBJECT:
                yield UNKNOWN, kind
        elif node[0] == 0 and name in self.imported:
            if kind != LIBRARY:
                yield UNKNOWN, kind
        elif node in self.origins:
            if node[0] == 0:
                yield name, kind  # it may still hold what it held before
            for origin, part in self.origins[node].values():
                yield from self._asked(origin, LIBRARY if part else kind, deep or part, seen)
        elif node[0] or name in self.stored:
            yield UNKNOWN, kind
        elif name in _BUILTINS:
            if kind != LIBRARY:  # list.append(x, 1)
                yield UNKNOWN, kind
            yield name, LIBRARY  # the notebook may have bound it
        else:
            yield name, kind

    def _of_call(self, node: ast.Call, deep: bool, seen: set[_Asked]) -> Iterator[tuple[str, str]]:
        given = [*node.args, *(word.value for word in node.keywords)]
        if any((word.arg or "").startswith("copy") and _is_false(word.value) for word in node.keywords):
            yield UNKNOWN, LIBRARY  # its methods work in place
        if isinstance(node.func, ast.Attribute):
            yield from self._asked(node.func.value, LIBRARY, True, seen)
        elif isinstance(node.func, ast.Name):
            yield from self._of_name(node.func.id, LIBRARY, False, seen)
        else:
            yield UNKNOWN, LIBRARY
        yield from self._each(given, LIBRARY, deep, seen)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
