"""Which names that hold futures a plain cell needs the values of: decided by how its text uses them. PURE."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping, Set
from concurrent.futures import Future
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from shoal.apps import App
from shoal.futures import DataFuture, TaskFuture
from shoal_kernel.analysis.effects import is_a
from shoal_kernel.analysis.names import analyse
from shoal_kernel.analysis.scopes import bound_names, parameters
from shoal_kernel.planning.reaching import reach

__all__ = ["FUTURE_WORDS", "calls_apps", "needed", "takes_futures"]

FUTURE_WORDS = frozenset(word for kind in (TaskFuture, DataFuture) for word in dir(kind) if not word.startswith("__"))
"""Attributes that are asked of a future itself."""

_ANYTHING = "isinstance issubclass type id repr hasattr getattr callable display vars dir help hash locals globals"
_TAKE_ANYTHING = frozenset(_ANYTHING.split())
"""Built-in functions that make sense of a future."""

_OURS = ("shoal", "shoal_kernel", "concurrent", "asyncio")
_COLLECT = frozenset({"append", "add", "insert", "appendleft", "put", "put_nowait", "setdefault", "update", "extend"})
_MOST = 500
_HIGHEST = 12
"""Subscripts of subscripts: more are taken for a use of the value."""
_Value = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.AugAssign, ast.For, ast.AsyncFor, ast.comprehension, ast.FormattedValue,
    ast.withitem, ast.Match, ast.If, ast.While, ast.Assert, ast.Starred, ast.Raise, ast.YieldFrom, ast.Slice,
)  # fmt: skip


def needed(tree: ast.Module, notebook: Mapping[str, Any], futures: Set[str], always: bool) -> dict[str, int]:
    """The names whose values a plain cell cannot do without, each with the first line that needs it.

    Args:
        tree: the cell.
        notebook: the notebook's variables.
        futures: the names among them that hold futures.
        always: also where a future would do as well: the cell is text that knows nothing of futures.
    """
    found: dict[str, int] = {}
    as_futures: set[str] = set()
    called: set[str] = set()
    for node, above in _loads(tree, ()):
        called.add(node.id)
        if node.id not in futures:
            continue
        if _asks_future(above[0]):
            as_futures.add(node.id)
        elif _is_value(node, above, notebook, always):
            found.setdefault(node.id, node.lineno)
    for node, above in _in_functions(tree):
        if node.id in futures and not _asks_future(above[0]) and _is_value(node, above, notebook, always):
            found.setdefault(node.id, node.lineno)
    if found:
        names = analyse(tree)
        # the cell binds them before it uses them; a loop is taken to run, for its variable is everybody's
        as_futures |= names.writes - ((names.reads | names.maybe) - names.if_loop_is_empty)
    found = {name: line for name, line in found.items() if name not in as_futures}
    own = {name for name in called if type(notebook.get(name)) is FunctionType and not calls_apps(notebook[name])}
    reached = reach(notebook, own)
    for name in (reached.reads | reached.hands_on | reached.changes) & futures:
        found.setdefault(name, 0)
    return dict(sorted(found.items()))


def _loads(node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[tuple[ast.Name, tuple[Any, ...]]]:
    """The names that are loaded while the cell itself runs, each with what it stands in, the nearest first."""
    if isinstance(node, ast.Name) and (isinstance(node.ctx, ast.Load) or isinstance(above[0], ast.AugAssign)):
        yield node, above
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        inner: list[ast.AST] = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
    else:
        inner = list(ast.iter_child_nodes(node))
    for child in inner:
        yield from _loads(child, (node, *above[:_HIGHEST]))


def _in_functions(tree: ast.Module) -> Iterator[tuple[ast.Name, tuple[Any, ...]]]:
    """The names of the notebook that functions of the cell load, which the cell also uses; methods count as used."""
    called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    methods = {part for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for part in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.name in called or node in methods):
            own = bound_names(node.body)[0] | parameters(node)
            for part in node.body:
                yield from ((name, above) for name, above in _loads(part, (node,)) if name.id not in own)


def _asks_future(parent: ast.AST) -> bool:
    return isinstance(parent, ast.Await) or (isinstance(parent, ast.Attribute) and parent.attr in FUTURE_WORDS)


def _is_value(node: ast.expr, above: tuple[Any, ...], notebook: Mapping[str, Any], always: bool) -> bool:
    if len(above) < 2:
        return True
    parent, grand = above[0], above[1]
    match parent:
        case ast.Compare(ops=ops):
            return not all(isinstance(op, ast.Is | ast.IsNot) for op in ops)
        case ast.IfExp(test=test):
            return test is node or always
        case ast.Subscript(value=value, ctx=ctx) if value is node and isinstance(ctx, ast.Load) and not always:
            # x[0] is a future of the item, which is used in its turn
            return not _asks_future(grand) and _is_value(parent, above[1:], notebook, always)
        case ast.Assign(targets=targets):
            return always or any(isinstance(target, ast.Tuple | ast.List) for target in targets)
        case ast.Dict(keys=keys, values=values):
            return always or any(key is None and value is node for key, value in zip(keys, values, strict=True))
        case ast.Call(func=func) if func is not node:
            return not takes_futures(func, notebook, not always)
        case ast.keyword():
            return not takes_futures(grand.func, notebook, not always) if isinstance(grand, ast.Call) else always
        case ast.Attribute() | ast.Call() | ast.Subscript():
            return True
    return isinstance(parent, _Value) or always


def takes_futures(func: ast.expr, notebook: Mapping[str, Any], unknown: bool) -> bool:
    """Whether what a call calls can be given a future.

    Args:
        func: what is called.
        notebook: the notebook's variables.
        unknown: the answer where nobody knows.
    """
    if isinstance(func, ast.Name) and func.id not in notebook:
        return func.id in _TAKE_ANYTHING if hasattr(builtins, func.id) else unknown
    holder, name = _resolved(func, notebook)
    if holder is None:
        return unknown
    if name:  # a method of an object
        if name in _COLLECT and type(holder).__module__ in ("builtins", "collections"):
            return unknown
        return _is_ours(type(holder)) or type(holder).__module__ == "__main__"
    if isinstance(holder, FunctionType) and holder.__globals__ is notebook:
        return calls_apps(holder)
    return isinstance(holder, App) or _is_ours(holder) or _is_ours(type(holder))


def _resolved(func: ast.expr, notebook: Mapping[str, Any]) -> tuple[Any, str]:
    """What is called, as far as it can be told without running code: an object, and the name of a method of it."""
    match func:
        case ast.Name(id=name):
            return notebook.get(name), ""
        case ast.Attribute(value=inner, attr=name):
            holder, method = _resolved(inner, notebook)
            if holder is None or method or isinstance(holder, Future):
                return None, ""  # of a value that is not there yet nobody knows the methods
            if isinstance(holder, ModuleType | type):
                return vars(holder).get(name, holder), ""
            return holder, name
    return None, ""


def _is_ours(thing: Any) -> bool:
    module = getattr(thing, "__module__", "") if isinstance(thing, type | FunctionType | BuiltinFunctionType) else ""
    if isinstance(thing, ModuleType):
        module = thing.__name__
    return str(module).partition(".")[0] in _OURS


def calls_apps(function: FunctionType) -> bool:
    """Whether a function, or one that it calls, may call an app, or hand something to an executor."""
    pending: list[Any] = [function]
    seen: set[int] = set()
    while pending and len(seen) < _MOST:
        value = pending.pop()
        if is_a(value, MethodType):
            value = value.__func__
        if id(value) in seen or is_a(value, Future):
            continue
        seen.add(id(value))
        if is_a(value, App) or _is_ours(value) or _is_ours(type(value)):
            return True
        if type(value) is FunctionType:
            codes = [value.__code__]
            for code in codes:
                codes += [part for part in code.co_consts if isinstance(part, type(code))]
                pending += [value.__globals__[name] for name in code.co_names if name in value.__globals__]
            pending += [cell.cell_contents for cell in value.__closure__ or () if cell != type(cell)()]
    return False
