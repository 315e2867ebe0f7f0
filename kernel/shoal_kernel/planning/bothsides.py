"""Which statements of a task cell also run in the notebook: imports and plain definitions, where that comes to the same.

A future of a module or a function would be of little use. So they run on both sides (a class only here: it travels). Where that would make a
difference, they run on the worker alone, and come back as all other names do.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from shoal.errors import CellError
from shoal_kernel.analysis.effects import PURE_BUILTINS, call_name, is_a
from shoal_kernel.analysis.names import CellNames, analyse
from shoal_kernel.planning.reaching import reach

__all__ = ["BothSides", "both_sides"]

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_SIMPLE = (
    ast.Constant, ast.Name, ast.Attribute, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.Subscript, ast.Lambda, ast.expr_context,
    ast.operator, ast.unaryop, ast.arguments, ast.arg,
)  # fmt: skip
_MUTABLE = (ast.List, ast.Dict, ast.Set)


class BothSides(NamedTuple):
    """What also runs here.

    Args:
        first: before the task is made.
        late: after it: what takes the place of something that the cell may use before.
        names: what these statements bind.
        others: what other plain definitions of the top level bind: they come back from the worker.
    """

    first: list[ast.stmt]
    late: list[ast.stmt]
    names: set[str]
    others: set[str]


def both_sides(
    tree: ast.Module, names: CellNames, notebook: Mapping[str, Any], found: Collection[str], wanted: Collection[str]
) -> BothSides:
    """The imports and plain definitions of the top level that also run in the notebook.

    Args:
        tree: the cell.
        names: what it does with its names.
        notebook: the notebook's variables.
        found: those of them that are the user's own.
        wanted: names that are to come back from the worker, in any case.

    Raises:
        CellError: it makes a class whose base or metaclass runs code of the notebook for each class that is made.
    """
    for part in ast.walk(tree):
        if isinstance(part, ast.ClassDef) and _tells_others(part, tree, notebook):
            raise CellError(
                f"line {part.lineno} makes the class '{part.name}', of which its base or metaclass is told; it would be told again "
                "wherever the class arrives",
                "make the class in a plain cell",
            )
    if not any(isinstance(part, _Definition | ast.Import | ast.ImportFrom) for part in tree.body):
        return BothSides([], [], set(), set())
    walk = _Walk(tree, names, notebook, found, wanted)
    for part in tree.body:
        walk.meet(part)
    return BothSides(walk.first, walk.late, walk.bound, walk.others)


class _Walk:
    def __init__(
        self,
        tree: ast.Module,
        names: CellNames,
        notebook: Mapping[str, Any],
        found: Collection[str],
        wanted: Collection[str],
    ) -> None:
        self._tree, self._names, self._notebook, self._found, self._wanted = tree, names, notebook, found, wanted
        self._has_classes = any(isinstance(part, ast.ClassDef) for part in tree.body)
        self._met: list[CellNames] = []
        self._elsewhere: set[str] = set()  # bound or changed by the rest of the cell, so known on the worker only
        self._used = set(names.reads)  # before they are bound in the cell
        self.first: list[ast.stmt] = []
        self.late: list[ast.stmt] = []
        self.bound: set[str] = set()
        self.others: set[str] = set()

    def meet(self, part: ast.stmt) -> None:
        own = analyse(ast.Module([part], []))
        place: list[ast.stmt] | None
        if isinstance(part, ast.Import | ast.ImportFrom):
            place = self.first if not (own.writes & self._names.reads).intersection(self._found) else self.late
        else:
            place = self._place(part, own)
        if place is None or (place is self.late and self._has_classes):
            self._elsewhere |= own.changed
            self._met.append(own)
            self.bound -= own.writes
            if isinstance(part, _Definition) and not part.decorator_list:
                self.others.add(part.name)
            return
        place.append(part)
        self.bound |= own.writes
        if place is self.first:
            self._elsewhere -= own.writes
        else:
            self._elsewhere |= own.writes

    def _place(self, part: ast.stmt, own: CellNames) -> list[ast.stmt] | None:
        if not isinstance(part, _Definition) or part.decorator_list or part.name in self._wanted:
            return None
        if part.name in self._names.item_writes | self._names.mutators or not self._is_repeatable(part):
            return None
        replaces = part.name in self._found
        if own.reads or replaces:
            self._look_back()
        if not all(self._is_known(name) for name in own.reads):
            return None
        if isinstance(part, ast.ClassDef):
            return None if replaces and part.name in self._used else self.first
        if replaces and not self._has_classes and not _defaults(part):
            return self.late
        return None if replaces and part.name in self._used else self.first

    def _is_known(self, name: str) -> bool:
        if name in self.bound and name not in self._elsewhere:
            return True
        return name in self._notebook and name not in self._elsewhere and not is_a(self._notebook[name], Future)

    def _look_back(self) -> None:
        """What the statements so far may have done and used through functions of the notebook."""
        for own in self._met:
            used = (own.reads | own.free).intersection(self._found)
            reached = reach(self._notebook, used)
            self._used |= reached.reads | reached.hands_on
            self._elsewhere |= reached.binds | reached.changes
            self._elsewhere |= (own.passed | own.method_calls).intersection(self._wanted)
        self._met.clear()

    def _is_repeatable(self, part: _Definition) -> bool:
        """Whether it comes to the same if its defaults are made twice: here, and on the worker."""
        if isinstance(part, ast.ClassDef):
            return True
        for default in _defaults(part):
            for node in ast.walk(default):
                if isinstance(node, _MUTABLE):
                    if self._is_used(part):  # it may keep something in it
                        return False
                elif isinstance(node, ast.Call):
                    if not isinstance(node.func, ast.Name) or call_name(node) not in PURE_BUILTINS:
                        return False
                elif not isinstance(node, _SIMPLE):
                    return False
        return True

    def _is_used(self, part: _Definition) -> bool:
        others: Iterable[ast.AST] = (node for other in self._tree.body if other is not part for node in ast.walk(other))
        return any(isinstance(node, ast.Name) and node.id == part.name for node in others)


def _tells_others(part: ast.ClassDef, tree: ast.Module, notebook: Mapping[str, Any]) -> bool:
    """Whether code of the user's own runs when a class is made."""
    named = [*part.bases, *(word.value for word in part.keywords if word.arg == "metaclass")]
    for name in {node.id for base in named for node in ast.walk(base) if isinstance(node, ast.Name)}:
        if any(isinstance(other, ast.ClassDef) and other.name == name and _hears(other) for other in ast.walk(tree)):
            return True
        if _has_hook(notebook.get(name)):
            return True
    return False


def _defaults(part: _Definition) -> list[ast.expr]:
    if isinstance(part, ast.ClassDef):
        return []
    return [default for default in [*part.args.defaults, *part.args.kw_defaults] if default is not None]


def _hears(part: ast.ClassDef) -> bool:
    hooks = {"__init_subclass__", "__new__", "__init__", "__prepare__"}
    own = {inner.name for inner in part.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)}
    is_meta = any(isinstance(base, ast.Name) and base.id in ("type", "EnumMeta", "ABCMeta") for base in part.bases)
    return "__init_subclass__" in own or (is_meta and bool(hooks & own))


def _has_hook(value: Any) -> bool:
    if not is_a(value, type):
        return False
    if issubclass(value, type) or type(value).__module__ == "__main__":
        return any(kind.__module__ == "__main__" for kind in (value, type(value)))
    return any("__init_subclass__" in vars(kind) for kind in value.__mro__ if kind.__module__ == "__main__")
