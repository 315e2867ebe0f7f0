"""What a cell makes or uses that is only itself in the kernel: second names of objects, what cannot travel, what keeps state.

As a task such a cell would get, or leave, a copy. Under ``%autotask``, where the notebook knows nothing of copies, it is no task.
"""

from __future__ import annotations

import ast
import dis
import inspect
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from shoal_kernel.analysis.effects import MUTATING_METHODS, PURE_BUILTINS, call_name, roots
from shoal_kernel.planning.outside import Effect
from shoal_kernel.planning.ownchanges import changes_by_own_code

__all__ = ["stays"]

_ATOMS = (type(None), bool, int, float, complex, str, bytes, range)
_SHARED_BY_ALL = (*_ATOMS, ModuleType, FunctionType, BuiltinFunctionType, type)
_LOOKS = PURE_BUILTINS | {"iter", "next", "get", "keys", "values", "items", "copy", "append", "pop", "update"}
"""Calls that take no time to speak of."""

_WORKS = (
    ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Await, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip
_NEW = (ast.List, ast.Dict, ast.Set, ast.Call)
_MANY = 1_000
_BOUND_TO_HERE = {
    ("re", "match"), ("re", "search"), ("re", "fullmatch"), ("re", "finditer"), ("csv", "reader"), ("csv", "DictReader"),
    ("csv", "writer"), ("csv", "DictWriter"), ("sqlite3", "connect"), ("socket", "socket"), ("io", "open"), ("gzip", "open"),
    ("zipfile", "ZipFile"), ("logging", "getLogger"), ("os", "scandir"),
}  # fmt: skip
_MATCHES = frozenset({"match", "search", "fullmatch", "finditer"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_Notebook = Mapping[str, Any]


def stays(
    tree: ast.Module,
    functions: Iterable[ast.Module],
    notebook: _Notebook,
    bound: set[str],
    methods: Iterable[ast.Module] = (),
) -> Effect | None:
    """Why a cell would not do as a task what it does in the kernel, as far as its text and the variables tell.

    Args:
        tree: the cell.
        functions: the texts of the notebook's functions that it calls.
        notebook: the notebook's variables that it uses.
        bound: the names that it binds.
        methods: the texts of the methods of the notebook's classes.
    """
    functions = list(functions)
    known = _definitions([tree, *functions])
    found = [*_made(tree, notebook, known), *_used(tree, notebook, known), *_second_names(tree, notebook, bound)]
    for node in [node for text in functions for node in ast.walk(text)]:
        match node:
            case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store()) if isinstance(notebook.get(name), type):
                found.append(Effect(0, f"calls a function that sets an attribute of the class '{name}'"))
    if not found:
        own = {name: function for name, function in known.items() if isinstance(notebook.get(name), FunctionType)}
        found = list(changes_by_own_code([tree, *functions], own, _definitions(methods), notebook))
    return found[0] if found else None


def _definitions(trees: Iterable[ast.Module]) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    return {part.name: part for tree in trees for part in ast.walk(tree) if isinstance(part, _FUNCTIONS)}


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The names that statements of the top level bind, each with what it gets."""
    for part in tree.body:
        if isinstance(part, ast.AnnAssign) and part.value is not None and isinstance(part.target, ast.Name):
            yield part.target.id, part.value
        elif isinstance(part, ast.Assign):
            for target in part.targets:
                if isinstance(target, ast.Name):
                    yield target.id, part.value
                elif isinstance(target, ast.Tuple | ast.List) and isinstance(part.value, ast.Name | ast.Subscript):
                    inner = [one.value if isinstance(one, ast.Starred) else one for one in target.elts]
                    item = ast.copy_location(ast.Subscript(part.value, ast.Constant(0), ast.Load()), part.value)
                    yield from ((one.id, item) for one in inner if isinstance(one, ast.Name))
                elif isinstance(target, ast.Tuple) and isinstance(part.value, ast.Tuple):
                    pairs = zip(target.elts, part.value.elts, strict=False)
                    yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))


# --------------------------------------------------------------------------- what cannot travel, what keeps state


def _made(tree: ast.Module, notebook: _Notebook, known: Mapping[str, ast.AST]) -> Iterator[Effect]:
    modules = {name: value.__name__ for name, value in notebook.items() if isinstance(value, ModuleType)}
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in part.names}
    for name, value in _assigned(tree):
        kind = ""
        if isinstance(value, ast.GeneratorExp):
            kind = "a generator, which cannot travel"
        elif isinstance(value, ast.Call):
            kind = _kind(value, modules, notebook, known)
        if kind:
            yield Effect(value.lineno, f"makes '{name}', {kind}")
    for part in ast.walk(tree):
        match part:
            case ast.ExceptHandler(name=str(caught)):
                for node in ast.walk(part):
                    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == caught:
                        yield Effect(node.lineno, "keeps an exception, which does not travel as a whole")


def _kind(call: ast.Call, modules: Mapping[str, str], notebook: _Notebook, known: Mapping[str, ast.AST]) -> str:
    match call.func:
        case ast.Name(id="open"):
            return "an open file, which cannot travel"
        case ast.Attribute(value=ast.Name(id=module), attr=attr) if (modules.get(module), attr) in _BOUND_TO_HERE:
            return "which cannot travel"
        case ast.Attribute(value=inner, attr=attr) if attr in _MATCHES:
            return (
                "" if isinstance(inner, ast.Attribute) and inner.attr == "str" else "which cannot travel"
            )  # as in pandas
        case ast.Name(id=name):
            text = known.get(name)
            if inspect.isgeneratorfunction(notebook.get(name)) or (text is not None and _yields(text)):
                return "a generator, which cannot travel"
            if text is not None and any(isinstance(node, ast.Nonlocal) for node in ast.walk(text)):
                return "which keeps state of its own"
    return ""


def _yields(function: ast.AST) -> bool:
    pending = list(ast.iter_child_nodes(function))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, (*_FUNCTIONS, ast.Lambda, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)
    return False


def _used(tree: ast.Module, notebook: _Notebook, known: Mapping[str, ast.AST]) -> Iterator[Effect]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
            continue
        value = notebook.get(node.id)
        if callable(getattr(value, "cache_info", None)) and callable(value):
            yield Effect(node.lineno, f"uses '{node.id}', which keeps its results")
        elif isinstance(value, FunctionType) and _sets_its_closure(value):
            yield Effect(node.lineno, f"uses '{node.id}', which keeps state of its own")
        elif node.id in known and _keeps_in_default(known[node.id], value):
            yield Effect(node.lineno, f"uses '{node.id}', which keeps things in the default of an argument")


def _sets_its_closure(function: FunctionType) -> bool:
    own = function.__code__.co_freevars
    return bool(own) and any(
        step.opname == "STORE_DEREF" and step.argval in own for step in dis.get_instructions(function.__code__)
    )


def _keeps_in_default(function: ast.AST, held: Any) -> bool:
    """Whether a function changes the default of an argument; the text of one that the notebook holds is without its defaults."""
    assert isinstance(function, _FUNCTIONS)
    args = function.args
    pairs = list(zip(reversed([*args.posonlyargs, *args.args]), reversed(args.defaults), strict=False))
    pairs += [(arg, value) for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value is not None]
    kept = {arg.arg for arg, value in pairs if isinstance(value, _NEW)}
    if isinstance(held, FunctionType):
        code, values = held.__code__, held.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
        kept |= {name for name, value in zip(names, values, strict=True) if not isinstance(value, _SHARED_BY_ALL)}
        kept |= {name for name, value in (held.__kwdefaults__ or {}).items() if not isinstance(value, _SHARED_BY_ALL)}
    for node in ast.walk(function) if kept else ():
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in MUTATING_METHODS:
                if name in kept:
                    return True
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in kept:
                return True
    return False


# --------------------------------------------------------------------------- second names


def _second_names(tree: ast.Module, notebook: _Notebook, bound: set[str]) -> Iterator[Effect]:
    """Names for objects, or parts of objects, that have a name already: a change under one is seen under the other."""
    cheap = _is_cheap(tree)
    new = {name for name, value in _assigned(tree) if isinstance(value, _NEW)}
    for part in tree.body:
        if (
            isinstance(part, ast.Assign)
            and len(part.targets) > 1
            and isinstance(part.value, ast.List | ast.Dict | ast.Set)
        ):
            yield Effect(part.lineno, "gives one object two names")
    for name, value in _assigned(tree):
        whole = isinstance(value, ast.Name)
        if not whole and not cheap:
            continue  # to look something up is no work, but the rest of the cell may be
        for root in _looked_up(value):
            own = root.id in bound
            if root.id == name or (root.id not in notebook and not own) or (own and not (cheap and root.id in new)):
                continue
            if own or _may_share(
                notebook[root.id], whole, isinstance(value, ast.List | ast.Tuple | ast.Dict | ast.Set)
            ):
                what = f"'{root.id}'" if whole else f"a part of '{root.id}'"
                yield Effect(value.lineno, f"makes '{name}' a second name of {what}")


def _looked_up(value: ast.expr) -> Iterator[ast.Name]:
    match value:
        case ast.Call(func=ast.Attribute(value=inner, attr="get")):
            yield from roots(inner)
        case _:
            yield from roots(value)


def _is_cheap(tree: ast.Module) -> bool:
    for part in tree.body:
        if isinstance(part, (*_FUNCTIONS, ast.ClassDef)):
            continue
        for node in ast.walk(part):
            if isinstance(node, _WORKS) or (isinstance(node, ast.Call) and call_name(node) not in _LOOKS):
                return False
    return True


def _may_share(held: Any, whole: bool, inside: bool) -> bool:
    """Whether a second name of what a variable holds, or of a part of it, is worth a thought.

    Args:
        held: what the variable holds.
        whole: it is the object itself.
        inside: it becomes a part of a new object.
    """
    if isinstance(held, Future):
        return not inside
    if isinstance(held, _SHARED_BY_ALL):
        return False
    if not whole and not inside and type(held) in (list, tuple, dict, set, frozenset) and len(held) <= _MANY:
        parts = held.values() if isinstance(held, dict) else held
        return not all(isinstance(part, _SHARED_BY_ALL) for part in parts)
    return True
