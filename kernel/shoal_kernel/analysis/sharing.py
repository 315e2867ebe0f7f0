"""Which names a cell hands to code of unknown effect, also through other names and through functions. PURE.

The walk behind :mod:`shoal_kernel.analysis.names` finds what the text says is changed. This one asks more widely, and not for order: what
may be changed by code that the text only calls? It draws a graph of which name may hold what another one holds, and follows it from each
place where something is called. Too much costs a look at a value before and after the cell; too little would lose a change.
"""

# ruff: noqa: N802, N815 - ast.NodeVisitor finds its methods by the names of node classes

from __future__ import annotations

import ast
from collections.abc import Iterable

import msgspec

from shoal_kernel.analysis.effects import MUTATING_FUNCTIONS, MUTATING_METHODS, call_name
from shoal_kernel.analysis.flowgraph import HOLDS, PART, SAME, Node
from shoal_kernel.analysis.origins import UNKNOWN, Origins
from shoal_kernel.analysis.purity import (
    INSTANCE,
    LIBRARY,
    MODULE,
    MODULE_FUNCTIONS,
    OBJECT,
    PURE_METHODS,
    STORING_METHODS,
    out_place,
)
from shoal_kernel.analysis.scopes import Function, bound_names, parameters, pattern_names, target_names

__all__ = ["Touches", "touches"]

_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Touches(msgspec.Struct, frozen=True):
    """What a cell hands on.

    Args:
        lines: names of the cell that unknown code may change, each with the lines where it gets at them.
        deep: those of them of which more may be changed than the object itself: what it holds.
        direct: those of them that are named in the place where it happens.
        trusts: two names and a kind: the second may be changed too, if the object of the first is not of that kind
            (see :data:`shoal_kernel.analysis.purity.LIBRARY`).
    """

    lines: dict[str, tuple[int, ...]] = {}
    deep: frozenset[str] = frozenset()
    direct: frozenset[str] = frozenset()
    trusts: tuple[tuple[str, str, str], ...] = ()


def touches(tree: ast.Module) -> Touches:
    """Find which names of a cell may be changed by code that its text does not show."""
    walk = _Walk()
    walk.stored |= bound_names(tree.body)[0]
    for part in [*tree.body, *tree.body]:  # twice, so that all is known of a name where it is used in a loop
        walk.visit(part)
    lines: dict[str, set[int]] = {}
    below: set[str] = set()
    for (start, deep), where in walk.touched.items():
        for (number, name), further in walk.reached(start, deep).items():
            if number == 0:
                lines.setdefault(name, set()).update(where)
                if further:
                    below.add(name)
    pairs = {
        (first, name, kind)
        for first, start, kind in walk.trusted
        for number, name in walk.reached(start, True)
        if number == 0 and (name != first or kind == MODULE)
    }
    found = {name: tuple(sorted(where)) for name, where in lines.items()}
    direct = frozenset(name for (number, name), _ in walk.touched if number == 0)
    return Touches(found, frozenset(below), direct, tuple(sorted(pairs)))


class _Bindings(Origins):
    """Meets what is bound, and the scopes of the language."""

    # ------------------------------------------------------------------ bindings

    def bind(self, target: ast.expr, value: dict[Node, int], kind: int) -> None:
        """A value goes to a target."""
        match target:
            case ast.Name(id=name):
                self.stored.add(name)
                self.edge(self.node(name), value, kind)
            case ast.Starred(value=inner):
                self.bind(inner, value, HOLDS)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self.bind(part, value, PART)
            case ast.Attribute(value=inner) | ast.Subscript(value=inner):
                self.touch(inner, deep=False)
                for holder in self.flows(inner):
                    self.edge(holder, value, HOLDS)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            value = node.value
            if (
                isinstance(target, ast.Tuple)
                and isinstance(value, ast.Tuple)
                and len(target.elts) == len(value.elts)
                and not any(isinstance(part, ast.Starred) for part in [*target.elts, *value.elts])
            ):
                for part, its in zip(target.elts, value.elts, strict=True):
                    self.bind(part, self.flows(its), SAME)
                    self.comes_from(part, its)
            else:
                self.bind(target, self.flows(value), SAME)
                self.comes_from(target, value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if node.value is not None:
            self.bind(node.target, self.flows(node.value), SAME)
            self.comes_from(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name):
            self.touch(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target), deep=False)
        else:  # what the item holds may be changed in place
            self.touch(node.target, deep=False)
        self.bind(node.target, self.flows(node.value), HOLDS)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self.bind(node.target, self.flows(node.value), SAME)
        self.comes_from(node.target, node.value)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.comes_from(node.target, node.iter, True)
        self.generic_visit(node)
        self.bind(node.target, self.flows(node.iter), PART)

    visit_AsyncFor = visit_For

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self.comes_from(item.optional_vars, item.context_expr, True)
        self.generic_visit(node)
        for item in node.items:
            if not isinstance(item.context_expr, ast.Call):  # what a call makes is its own affair
                self.touch(item.context_expr, deep=True)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, self.flows(item.context_expr), PART)

    visit_AsyncWith = visit_With

    def visit_Delete(self, node: ast.Delete) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Attribute | ast.Subscript):
                self.touch(target.value, deep=False)

    def visit_Match(self, node: ast.Match) -> None:
        names = {name for case in node.cases for name in pattern_names(case.pattern)}
        for name in names:
            self.comes_from(ast.Name(name, ast.Store()), node.subject, True)
        self.generic_visit(node)
        value = self.flows(node.subject)
        for name in names:
            self.bind(ast.Name(name, ast.Store()), value, PART)

    # ------------------------------------------------------------------ scopes

    def visit_ListComp(self, node: _Comprehension) -> None:
        names = {name.id for part in node.generators for name in target_names(part.target)}
        with self.scope(node, names):
            for part in node.generators:
                self.visit(part.iter)
                self.bind(part.target, self.flows(part.iter), PART)
                self.comes_from(part.target, part.iter, True)
                for test in part.ifs:
                    self.visit(test)
            for value in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
                self.visit(value)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._decorators(node)
        for part in [*node.args.defaults, *node.args.kw_defaults]:
            if part is not None:
                self.visit(part)
        own = self.node(node.name)
        if own[0] == 0:
            self.stored.add(node.name)
        names, declared = bound_names(node.body)
        with self.scope(node, names | parameters(node), declared):
            self._defaults(node)
            for statement in node.body:
                self.visit(statement)
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return | ast.Yield | ast.YieldFrom):
                    self.edge(own, self.flows(inner.value), PART)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _decorators(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        """They are called, too."""
        for part in node.decorator_list:
            self.visit(part)
            self.touch(part.value if isinstance(part, ast.Attribute) else part, deep=True)

    def _defaults(self, node: Function) -> None:
        spec = node.args
        last = [*spec.posonlyargs, *spec.args][len(spec.posonlyargs) + len(spec.args) - len(spec.defaults) :]
        for arg, default in [
            *zip(last, spec.defaults, strict=True),
            *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
        ]:
            self.edge(self.node(arg.arg), self.flows(default), SAME)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in [*node.args.defaults, *node.args.kw_defaults]:
            if part is not None:
                self.visit(part)
        with self.scope(node, parameters(node)):
            self._defaults(node)
            self.visit(node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._decorators(node)
        for part in [*node.bases, *(keyword.value for keyword in node.keywords)]:
            self.visit(part)
        own = self.node(node.name)
        names, declared = bound_names(node.body)
        with self.scope(node, names, declared, is_class=True):
            for statement in node.body:
                self.visit(statement)
            self.edge(own, {self.node(name): PART for name in names}, PART)


class _Walk(_Bindings):
    """Meets what is called."""

    def visit_Await(self, node: ast.Await) -> None:
        self.generic_visit(node)
        self.touch(node.value, deep=True)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name, function = call_name(node), node.func
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        changed = MUTATING_FUNCTIONS.get(name, -1)
        if self.is_builtin(function):
            self._apply(node)
            self._ask(function, given, LIBRARY)
        elif 0 <= changed < len(node.args):
            self._store(node.args[changed], [arg for arg in given if arg is not node.args[changed]])
            if isinstance(function, ast.Attribute):
                self.touch(function.value, deep=True)
        elif isinstance(function, ast.Attribute):
            self._method(node, function, given)
        else:
            self.touch(function, deep=True)
            self._hand_on(given)
        for keyword in node.keywords:
            if keyword.arg == "out":
                self.touch(keyword.value, deep=False)

    def _method(self, node: ast.Call, function: ast.Attribute, given: list[ast.expr]) -> None:
        receiver, name = function.value, function.attr
        inplace = any(keyword.arg == "inplace" and not _is_false(keyword.value) for keyword in node.keywords)
        if inplace or name in STORING_METHODS:
            self._store(receiver, given)
            self._keys(node, receiver)
            if not _ends_in_text(receiver):
                self._ask(receiver, given, INSTANCE if name in MODULE_FUNCTIONS else OBJECT)
            self._out(receiver, name, node)
        elif name in MUTATING_METHODS:
            self._store(receiver, given)
            self._hand_on(given)
        elif name in PURE_METHODS:
            if not _ends_in_text(receiver):
                self._ask(receiver, given, LIBRARY)
                self._out(receiver, name, node)
        else:
            self.touch(receiver, deep=True)
            self._hand_on(given)
            self._keep(receiver, given)

    def _ask(self, receiver: ast.expr, given: Iterable[ast.expr], kind: str) -> None:
        """A method is known by its name: what it is given stays as it is, if its object is what it has to be."""
        asked = self.asked(receiver, kind)
        for value in given:
            for name, what in asked:
                if name == UNKNOWN:
                    self.touch(value, deep=True)
                else:
                    self.trusted.update((name, node, what) for node in self.flows(value))

    def _out(self, receiver: ast.expr, name: str, node: ast.Call) -> None:
        """Arguments by position that the result may be written to, or that may be given up to be worked in."""
        place = out_place(name)
        if place is not None:
            self._hand_on(node.args[place:])
            self._ask(receiver, node.args[place - 1 : place] if place > 1 else [], MODULE)
        if any((word.arg or "").startswith("overwrite") and not _is_false(word.value) for word in node.keywords):
            self._hand_on(node.args)

    def _keys(self, node: ast.Call, receiver: ast.expr) -> None:
        for keyword in node.keywords:
            if keyword.arg == "key":
                self._applied(keyword.value, [receiver])

    def _store(self, receiver: ast.expr, given: list[ast.expr]) -> None:
        self.touch(receiver, deep=False)
        self._keep(receiver, given)

    def _keep(self, receiver: ast.expr, given: list[ast.expr]) -> None:
        for value in given:
            for holder in self.flows(receiver):
                self.edge(holder, self.flows(value), HOLDS)

    def _hand_on(self, given: Iterable[ast.expr]) -> None:
        for value in given:
            self.touch(value, deep=True)

    def _apply(self, node: ast.Call) -> None:
        """Built-in functions that call what they are given: ``map``, ``filter``, ``sorted(key=)``."""
        name = call_name(node)
        if name in ("map", "filter") and node.args:
            self._applied(node.args[0], node.args[1:])
        for keyword in node.keywords:
            if keyword.arg == "key":
                self._applied(keyword.value, node.args)

    def _applied(self, function: ast.expr, given: Iterable[ast.expr]) -> None:
        if isinstance(function, ast.Lambda):
            with self.scope(function, ()):
                params = [self.node(name) for name in parameters(function)]
            for value in given:
                for param in params:
                    self.edge(param, self.flows(value), PART)
        elif not (self.is_builtin(function) or (isinstance(function, ast.Constant) and function.value is None)):
            self.touch(function, deep=True)
            self._hand_on(given)


def _ends_in_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
