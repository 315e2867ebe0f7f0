"""The walk behind :mod:`shoal_kernel.analysis.names`: one pass over a cell's syntax tree, in the order of execution. PURE."""

# ruff: noqa: N802, N815 - ast.NodeVisitor finds its methods by the names of node classes

from __future__ import annotations

import ast
from collections.abc import Iterable

from shoal_kernel.analysis.branching import Branching
from shoal_kernel.analysis.effects import (
    MUTATING_FUNCTIONS,
    MUTATING_METHODS,
    PURE_BUILTINS,
    REFLECTION,
    call_name,
    namespace_of,
    roots,
)
from shoal_kernel.analysis.ledger import Found, Scope
from shoal_kernel.analysis.scopes import (
    Function,
    annotated,
    bound_names,
    parameters,
    target_names,
    type_parameters,
)

__all__ = ["Flow"]

_SUPPRESSORS = frozenset({"suppress", "raises", "assertRaises"})


class _Binding(Branching):
    """What is bound, changed and loaded."""

    lazy_annotations = False

    def bind(self, target: ast.expr, sources: Iterable[str] = (), kind: str = "") -> None:
        """An assignment target: names are bound, items and attributes change their object.

        Args:
            target: the target.
            sources: names whose objects the assigned value may be, or be a part of.
            kind: as for :meth:`Ledger.store`.
        """
        match target:
            case ast.Name(id=name):
                self.book.store(name, kind)
                self.book.alias(target, sources)
            case ast.Starred(value=inner):
                self.bind(inner, sources, kind)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self.bind(part, sources, kind)
            case _:
                self.generic_visit(target)
                self.book.touch("item_writes", target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.bind(target, [root.id for root in roots(node.value)])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.block([node.value])
        if self.book.scopes[-1].kind != "function" and not self.lazy_annotations:
            self.visit(node.annotation)
        if node.value is not None:
            self.bind(node.target, [root.id for root in roots(node.value)])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.book.load(node.target.id, node.lineno)
            self.book.touch_aliases(node.target.id)
        self.visit(node.value)
        self.bind(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind(node.target, [root.id for root in roots(node.value)])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        if isinstance(node, ast.AsyncFor):
            self.awaits()
        self.visit(node.iter)
        counts = isinstance(node.iter, ast.Call) and call_name(node.iter) == "range"
        made_from = [] if counts else [part.id for part in ast.walk(node.iter) if isinstance(part, ast.Name)]
        self.repeat(lambda: self.bind(node.target, made_from, "counters"), lambda: self.block(node.body))
        self.perhaps(*node.orelse)

    visit_AsyncFor = visit_For

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        if isinstance(node, ast.AsyncWith):
            self.awaits()
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, [root.id for root in roots(item.context_expr)], "managed")
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        if any(call_name(call) in _SUPPRESSORS for call in calls):
            self.perhaps(*node.body)
        else:
            self.block(node.body)

    visit_AsyncWith = visit_With

    def visit_Delete(self, node: ast.Delete) -> None:
        pending = list(reversed(node.targets))
        while pending:
            part = pending.pop()
            if isinstance(part, ast.Tuple | ast.List):
                pending += reversed(part.elts)
            elif isinstance(part, ast.Name):
                self.book.unbind(part.id, lasting=True)
            else:
                self.generic_visit(part)
                self.book.touch("item_writes", part)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name == "__main__":
                self.book.found.notes.append(("reflection", node.lineno, "import __main__"))
            self.book.store(alias.asname or alias.name.partition(".")[0], "imports")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "__future__":
            self.lazy_annotations |= any(alias.name == "annotations" for alias in node.names)
            return
        for alias in node.names:
            if alias.name == "*":
                self.book.found.notes.append(("star import", node.lineno, node.module or "."))
            else:
                self.book.store(alias.asname or alias.name, "imports")

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.book.load(node.id, node.lineno)
        else:
            self.book.store(node.id)

    def path(self, node: ast.Attribute | ast.Subscript) -> None:
        """An attribute or item, which may hold the variables of the notebook."""
        if what := namespace_of(node):
            self.book.found.notes.append(("reflection", node.lineno, what))
        self.generic_visit(node)

    visit_Attribute = visit_Subscript = path

    def visit_Await(self, node: ast.Await) -> None:
        self.awaits()
        self.visit(node.value)

    def awaits(self) -> None:
        """An ``await`` (``async for``, ``async with``) of the top level is met."""
        if all(scope.kind in ("cell", "comprehension") for scope in self.book.scopes):
            self.book.found.is_async = True

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name, args = call_name(node), node.args
        plain = isinstance(node.func, ast.Name)
        if plain and name in REFLECTION and (name in ("exec", "eval") or not args):
            self.book.found.notes.append(("reflection", node.lineno, f"{name}()"))
        if isinstance(node.func, ast.Attribute):
            self.book.touch("mutators" if name in MUTATING_METHODS else "method_calls", node.func.value)
        changes = MUTATING_FUNCTIONS.get(name, -1)
        if 0 <= changes < len(args):
            self.book.touch("mutators", args[changes])
        elif not (plain and name in PURE_BUILTINS):
            for arg in args:
                self.book.touch("passed", arg)
            for keyword in node.keywords:
                self._keyword(node, keyword)

    def _keyword(self, call: ast.Call, keyword: ast.keyword) -> None:
        given = keyword.value
        if keyword.arg == "inplace" and isinstance(call.func, ast.Attribute):
            if not (isinstance(given, ast.Constant) and given.value is False):
                self.book.touch("mutators", call.func.value)
        else:
            self.book.touch("mutators" if keyword.arg == "out" else "passed", given)


class Flow(_Binding):
    """Walks one cell: ``Flow().block(tree.body)``. ``book`` holds the result."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        """A comprehension: its own scope, but for the first iterable."""
        first = node.generators[0]
        if any(part.is_async for part in node.generators):
            self.awaits()
        self.visit(first.iter)
        names = {name.id for part in node.generators for name in target_names(part.target)}

        def run() -> None:
            self.book.scopes.append(Scope("comprehension", names))
            self.block(first.ifs)
            for part in node.generators[1:]:
                self.block([part.iter, *part.ifs])
            self.block([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
            self.book.scopes.pop()

        self.branches(run, lambda: None)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def function(self, node: Function, body: list[ast.stmt] | list[ast.expr], types: set[str]) -> Found:
        """What the body of a function does when it is called."""
        book = self.book
        names, declared = bound_names(body)
        outer, dead, loops = book.into, self.dead, self.loops
        doings = book.into = Found() if outer is None else outer
        book.scopes += [Scope("function", types), Scope("function", names | parameters(node), declared)]
        self.block(body)
        del book.scopes[-2:]
        book.into, self.dead, self.loops = outer, dead, loops
        return doings

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """A lambda: what it does may happen from now on."""
        self.block([*node.args.defaults, *node.args.kw_defaults])
        doings = self.function(node, [node.body], set())
        if self.book.into is None:
            self.book.happens(doings)

    def decorate(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        """Decorators are called with what they stand above."""
        self.block(node.decorator_list)
        for part in node.decorator_list:
            if isinstance(part, ast.Attribute):
                self.book.touch("mutators" if part.attr in MUTATING_METHODS else "method_calls", part.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A function: what its body does happens when the function is used."""
        self.decorate(node)
        self.block([*node.args.defaults, *node.args.kw_defaults])
        types = type_parameters(node)
        if not self.lazy_annotations:
            self.book.scopes.append(Scope("function", types))
            self.block(annotated(node))
            self.book.scopes.pop()
        doings = self.function(node, node.body, types)
        self.book.define(node.name, "functions", doings, used=bool(node.decorator_list))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class: its body runs now, its methods later."""
        self.decorate(node)
        names, declared = bound_names(node.body)
        inner = Scope("class", names, declared)
        self.book.scopes.append(Scope("function", type_parameters(node)))
        self.block([*node.bases, *(keyword.value for keyword in node.keywords)])
        self.book.scopes.append(inner)
        self.block(node.body)
        del self.book.scopes[-2:]
        self.book.define(node.name, "classes", inner.methods, used=bool(node.decorator_list))

    def visit_TypeAlias(self, node: ast.AST) -> None:
        """``type X = ...``: the value is looked up later, if ever."""
        name = getattr(node, "name", None)
        if isinstance(name, ast.Name):
            self.book.store(name.id)
