"""Which names a cell hands to code of unknown effect, also through other names and through functions. PURE.

The walk behind :mod:`shoal_kernel.names` finds what the text says is changed. This one asks more widely, and not for order: what
may be changed by code that the text only calls? It draws a graph of which name may hold what another one holds, and follows it from each
place where something is called. Too much costs a look at a value before and after the cell; too little would lose a change.
"""

# ruff: noqa: N802, N815 - ast.NodeVisitor finds its methods by the names of node classes

from __future__ import annotations

import ast
from collections.abc import Iterable

import msgspec

from shoal_kernel.effects import MUTATING_FUNCTIONS, MUTATING_METHODS, call_name
from shoal_kernel.flowgraph import HOLDS, PART, SAME, Graph, Node
from shoal_kernel.purity import LIBRARIES, PURE_METHODS, STORING_METHODS
from shoal_kernel.scopes import Function, bound_names, parameters, pattern_names, target_names

__all__ = ["Touches", "touches"]

_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Touches(msgspec.Struct, frozen=True):
    """What a cell hands on.

    Args:
        lines: names of the cell that unknown code may change, each with the lines where it gets at them.
        deep: those of them of which more may be changed than the object itself: what it holds.
        direct: those of them that are named in the place where it happens.
        trusts: pairs of names: the second may be changed too, if the first is no object of a known library.
    """

    lines: dict[str, tuple[int, ...]] = {}
    deep: frozenset[str] = frozenset()
    direct: frozenset[str] = frozenset()
    trusts: tuple[tuple[str, str], ...] = ()


def touches(tree: ast.Module) -> Touches:
    """Find which names of a cell may be changed by code that its text does not show."""
    walk = _Walk()
    walk.stored |= bound_names(tree.body)[0]
    for part in tree.body:
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
        (first, name)
        for first, start in walk.trusted
        for number, name in walk.reached(start, True)
        if number == 0 and name != first
    }
    found = {name: tuple(sorted(where)) for name, where in lines.items()}
    direct = frozenset(name for (number, name), _ in walk.touched if number == 0)
    return Touches(found, frozenset(below), direct, tuple(sorted(pairs)))


class _Bindings(Graph):
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
            else:
                self.bind(target, self.flows(value), SAME)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if node.value is not None:
            self.bind(node.target, self.flows(node.value), SAME)

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

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.generic_visit(node)
        self.bind(node.target, self.flows(node.iter), PART)

    visit_AsyncFor = visit_For

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
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
        self.generic_visit(node)
        value = self.flows(node.subject)
        for case in node.cases:
            for name in pattern_names(case.pattern):
                self.bind(ast.Name(name, ast.Store()), value, PART)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.partition(".")[0] in LIBRARIES:
                self.libraries.add(alias.asname or alias.name.partition(".")[0])

    # ------------------------------------------------------------------ scopes

    def visit_ListComp(self, node: _Comprehension) -> None:
        names = {name.id for part in node.generators for name in target_names(part.target)}
        with self.scope(node, names):
            for part in node.generators:
                self.visit(part.iter)
                self.bind(part.target, self.flows(part.iter), PART)
                for test in part.ifs:
                    self.visit(test)
            for value in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
                self.visit(value)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
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
        for part in [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]:
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
            self._trust(name, given)
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
        receiver = function.value
        inplace = any(keyword.arg == "inplace" and not _is_false(keyword.value) for keyword in node.keywords)
        if inplace or function.attr in STORING_METHODS:
            self._store(receiver, given)
            self._keys(node, receiver)
        elif function.attr in MUTATING_METHODS:
            self._store(receiver, given)
            self._hand_on(given)
        elif function.attr in PURE_METHODS:
            if isinstance(receiver, ast.Constant | ast.JoinedStr):
                return
            if isinstance(receiver, ast.Name) and self.node(receiver.id)[0] == 0:
                if receiver.id not in self.libraries:
                    self._trust(receiver.id, given, receiver)
            elif isinstance(receiver, ast.Name):
                self._hand_on(given)
            else:
                self._chain(receiver, given)
        else:
            self.touch(receiver, deep=True)
            self._hand_on(given)
            self._keep(receiver, given)

    def _chain(self, receiver: ast.expr, given: list[ast.expr]) -> None:
        """A known method of a part or a result of something: known as far as that is."""
        roots = [node for node in self.flows(receiver) if node[0] == 0]
        first = receiver
        while isinstance(first, ast.Attribute | ast.Subscript | ast.Call):
            first = first.func if isinstance(first, ast.Call) else first.value
        if isinstance(first, ast.Name) and self.node(first.id)[0] == 0:
            roots.append((0, first.id))
        if not roots:
            self._hand_on(given)
        for _, name in roots:
            if name not in self.libraries:
                self._trust(name, given, first if isinstance(first, ast.Name) else None)

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

    def _trust(self, name: str, given: Iterable[ast.expr], receiver: ast.expr | None = None) -> None:
        """Known by its name: what it is given stays as it is, if it is what it is called."""
        if name in self.stored and receiver is not None:  # made in this cell: nobody knows yet what it is
            self._hand_on(given)
            return
        for value in given:
            self.trusted.update((name, node) for node in self.flows(value))

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


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
