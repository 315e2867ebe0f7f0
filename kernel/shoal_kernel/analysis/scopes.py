"""Which names a piece of Python binds in its own scope, by the language's rules. PURE."""

# ruff: noqa: N815 - ast.NodeVisitor finds its methods by the names of node classes

from __future__ import annotations

import ast
from collections.abc import Iterable

__all__ = [
    "Function",
    "annotated",
    "bound_names",
    "parameters",
    "pattern_names",
    "target_names",
    "type_parameters",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def parameters(node: Function) -> set[str]:
    """The names of a function's parameters."""
    spec = node.args
    every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
    return {arg.arg for arg in every if arg is not None}


def annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    """The annotations of a function's parameters and result, which run when it is defined."""
    spec = node.args
    every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
    found = [arg.annotation for arg in every if arg is not None] + [node.returns]
    return [annotation for annotation in found if annotation is not None]


def type_parameters(node: ast.AST) -> set[str]:
    """The type parameters of a function, class or alias (``def f[T]()``; Python 3.12 and later)."""
    return {part.name for part in getattr(node, "type_params", ())}


def target_names(node: ast.expr) -> Iterable[ast.Name]:
    """The names that an assignment target binds; ``a.b`` and ``a[0]`` bind none."""
    match node:
        case ast.Name():
            yield node
        case ast.Starred(value=inner):
            yield from target_names(inner)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from target_names(part)


def pattern_names(pattern: ast.pattern) -> set[str]:
    """The names that a ``case`` pattern captures."""
    found: set[str] = set()
    for node in ast.walk(pattern):
        match node:
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                found.add(name)
    return found


class _Binder(ast.NodeVisitor):
    """Collects what one scope binds, without entering the scopes inside it (but for walrus targets)."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.elsewhere: set[str] = set()
        self.globals: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.bound.add(node.target.id)
        self.visit(node.value)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self.bound.add(alias.asname or alias.name.partition(".")[0])

    visit_ImportFrom = visit_Import

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.bound.add(node.name)
        for part in [*node.decorator_list, *_defaults(node)]:
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef
    visit_ClassDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in _defaults(node):
            self.visit(part)

    def visit_ListComp(self, node: _Comprehension) -> None:
        inner = {name.id for part in node.generators for name in target_names(part.target)}
        collector = _Binder()
        for child in ast.iter_child_nodes(node):
            collector.visit(child)
        self.bound |= collector.bound - inner

    visit_SetComp = visit_ListComp
    visit_DictComp = visit_ListComp
    visit_GeneratorExp = visit_ListComp

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for part in [node.target, node.iter, *node.ifs]:
            self.visit(part)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        for case in node.cases:
            self.bound |= pattern_names(case.pattern)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.elsewhere.update(node.names)


def _defaults(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.ClassDef):
        return [*node.bases, *(keyword.value for keyword in node.keywords)]
    if isinstance(node, Function):
        return [part for part in [*node.args.defaults, *node.args.kw_defaults] if part is not None]
    return []


def bound_names(body: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """The names that a scope's body binds itself, and those that it declares ``global``.

    Args:
        body: the statements of a function or class (or the expression of a lambda).

    Returns:
        (names local to the scope, names declared global).
    """
    binder = _Binder()
    for node in body:
        binder.visit(node)
    return binder.bound - binder.elsewhere - binder.globals, binder.globals
