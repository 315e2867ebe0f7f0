"""Objects that functions and methods of the notebook change: ``account.deposit(5)``, ``normalise(table)``.

A worker would notice, and the task would fail; a plain notebook means the change. Found from the text of the functions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shoal_kernel.analysis.effects import MUTATING_METHODS, call_name, roots
from shoal_kernel.planning.outside import Effect

__all__ = ["changes_by_own_code"]

_ATOMS = (type(None), bool, int, float, complex, str, bytes, range)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def changes_by_own_code(
    texts: Iterable[ast.Module],
    functions: Mapping[str, _Function],
    methods: Mapping[str, _Function],
    notebook: Mapping[str, Any],
) -> Iterator[Effect]:
    """The calls that change an object of the notebook.

    Args:
        texts: the cell, and the functions that it calls.
        functions: the notebook's functions by name.
        methods: the methods of its classes by name.
        notebook: the variables that the cell uses.
    """
    changing = {name for name, method in methods.items() if not name.startswith("__") and 0 in _changed(method, set())}
    changing |= {
        name for name, method in methods.items() if not name.startswith("__") and 0 in _changed(method, changing)
    }
    given = {name: found for name, function in functions.items() if (found := _changed(function, changing))}
    cell = True
    for text in texts:
        for node in ast.walk(text):
            if isinstance(node, ast.Call) and any(_can_change(root, notebook) for root in _hit(node, changing, given)):
                yield Effect(node.lineno if cell else 0, f"calls {call_name(node)}(), which changes what it is given")
        cell = False


def _hit(call: ast.Call, changing: set[str], given: Mapping[str, set[int]]) -> Iterator[ast.Name]:
    """The names whose objects a call changes."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in changing:
        inner: ast.expr = call.func.value
        while isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            inner = inner.func.value  # x.push(1).push(2)
        yield from roots(inner)
    elif isinstance(call.func, ast.Name):
        for place in given.get(call.func.id, ()):
            if place < len(call.args):
                yield from roots(call.args[place])


def _can_change(root: ast.Name, notebook: Mapping[str, Any]) -> bool:
    return not isinstance(notebook.get(root.id, ()), _ATOMS) or root.id not in notebook


def _changed(function: _Function, changing: set[str]) -> set[int]:
    """The places of the arguments that a function changes."""
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    found: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                found.update(root.id for root in roots(node))
            case ast.AugAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Call(func=ast.Attribute(value=inner, attr=attr)) if attr in MUTATING_METHODS or attr in changing:
                found.update(root.id for root in roots(inner))
            case ast.Call(keywords=words) if any(word.arg == "inplace" for word in words):
                found.update(root.id for root in roots(node.func))
    rebound = {
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    } - {
        node.target.id
        for node in ast.walk(function)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    }
    return {place for place, name in enumerate(names) if name in found - rebound}
