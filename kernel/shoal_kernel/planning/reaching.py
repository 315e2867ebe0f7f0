"""What the functions of the notebook do that a cell calls, read from their own text."""

from __future__ import annotations

import ast
import functools
import textwrap
from collections.abc import Iterable, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

import msgspec

from shoal.serialize.codes import facts_of, source_of
from shoal_kernel.analysis.effects import is_a
from shoal_kernel.analysis.names import analyse, parse
from shoal_kernel.analysis.sharing import touches

__all__ = ["Reached", "definitions", "reach"]

_MOST = 2_000


class Reached(msgspec.Struct, frozen=True):
    """What functions do to the notebook's names.

    Args:
        binds: bound by ``global``, in functions that the cell names, or that these name.
        changes: changed in place, as the text of those functions shows.
        hands_on: given to code of unknown effect, or changed by functions that may be called, such as methods.
        reads: only read, or not at all.
        trusts: as those of :class:`~shoal_kernel.analysis.sharing.Touches`.
    """

    binds: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    hands_on: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    trusts: frozenset[tuple[str, str, str]] = frozenset()


def reach(notebook: Mapping[str, Any], names: Iterable[str]) -> Reached:
    """What the functions do that are reached from some names: through classes, containers, closures and other functions.

    Args:
        notebook: the notebook's variables.
        names: the names that a cell reads.
    """
    sums: list[Reached] = []
    pending: list[tuple[Any, bool]] = [(notebook[name], True) for name in names]
    seen: set[tuple[int, bool]] = set()
    while pending and len(seen) < _MOST:
        value, named = pending.pop()
        if (id(value), named) in seen:
            continue
        seen.add((id(value), named))
        if type(value) is FunctionType:
            if value.__globals__ is notebook:
                found = _of_code(value.__code__)
                sums.append(
                    found
                    if named
                    else Reached(hands_on=found.hands_on | found.changes, reads=found.reads, trusts=found.trusts)
                )
                pending.extend((notebook[name], named) for name in found.reads | found.hands_on if name in notebook)
            pending.extend((part, False) for part in _contents(value))
        else:
            pending.extend((part, False) for part in _parts(value))
    return Reached(
        frozenset().union(*(one.binds for one in sums)),
        frozenset().union(*(one.changes for one in sums)),
        frozenset().union(*(one.hands_on for one in sums)),
        frozenset().union(*(one.reads for one in sums)),
        frozenset().union(*(one.trusts for one in sums)),
    )


def definitions(notebook: Mapping[str, Any], names: Iterable[str]) -> list[ast.Module]:
    """The texts of the notebook's functions that are reached from some names by the names that they use.

    Args:
        notebook: the notebook's variables.
        names: the names that a cell reads.
    """
    found: dict[CodeType, ast.Module] = {}
    pending = [notebook[name] for name in names if name in notebook]
    while pending and len(found) < _MOST:
        value = pending.pop()
        value = getattr(value, "__func__", value)
        if is_a(value, type):
            pending += [part for part in _parts(value) if type(part) is FunctionType]
        if type(value) is not FunctionType or value.__globals__ is not notebook or value.__code__ in found:
            continue
        tree = _parsed(value.__code__)
        if tree is not None:
            found[value.__code__] = tree
            pending += [notebook[name] for name in facts_of(value.__code__).globals if name in notebook]
    return list(found.values())


def _contents(function: FunctionType) -> list[Any]:
    filled = [cell.cell_contents for cell in function.__closure__ or () if cell != type(cell)()]
    return [*filled, *(function.__defaults__ or ()), *vars(function).values()]


def _parts(value: Any) -> Iterable[Any]:
    kind = type(value)
    if is_a(value, type):
        if value.__module__ != "__main__":
            return ()
        members = [getattr(part, "__func__", part) for part in vars(value).values()]
        for part in list(members):
            if isinstance(part, property):
                members += [part.fget, part.fset, part.fdel]
        return [part for part in members if type(part) is FunctionType] + [*value.__bases__]
    if is_a(value, (list, tuple, dict)):
        items = list(value.values() if is_a(value, dict) else value)[:_MOST]
        return [item for item in items if callable(item) or type(item).__module__ == "__main__"]
    if is_a(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if is_a(value, MethodType):
        return [value.__func__, value.__self__]
    if hasattr(kind, "__shoal_function__"):
        return [value.__wrapped__]
    return [kind] if kind.__module__ == "__main__" else ()


@functools.lru_cache(2048)
def _of_code(code: CodeType) -> Reached:
    facts = facts_of(code)
    globals_ = frozenset(facts.globals)
    tree = _parsed(code)
    if tree is None:  # no text: a lambda within a line, or made by exec
        return Reached(_bound_globally(code), frozenset(), globals_)
    names, handed = analyse(tree), touches(tree)
    binds = names.writes & globals_
    changes = (names.item_writes | names.mutators) & globals_
    hands_on = globals_ & handed.lines.keys()
    trusts = frozenset(asked for asked in handed.trusts if asked[1] in globals_)
    return Reached(binds, changes, hands_on, globals_ - hands_on, trusts)


def _parsed(code: CodeType) -> ast.Module | None:
    """A function's definition, and a use of it."""
    try:
        tree = parse(textwrap.dedent(source_of(code, {})))
    except SyntaxError:
        return None
    match tree.body:
        case [ast.FunctionDef(name=name) as definition] | [ast.AsyncFunctionDef(name=name) as definition]:
            if name != code.co_name:
                return None
            definition.decorator_list = []
            definition.args.defaults = []
            definition.args.kw_defaults = [None] * len(definition.args.kwonlyargs)
            use = ast.parse(f"{name}()").body
            return ast.Module([definition, *use], [])
    return None


def _bound_globally(code: CodeType) -> frozenset[str]:
    import dis

    found = {
        str(step.argval) for step in dis.get_instructions(code) if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
    }
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= _bound_globally(inner)
    return frozenset(found)
