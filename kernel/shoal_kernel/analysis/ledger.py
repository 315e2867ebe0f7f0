"""The book that the walk over a cell keeps: scopes, what is bound where, and what happened to each name. PURE."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from dataclasses import dataclass, field

from shoal_kernel.analysis.effects import roots
from shoal_kernel.analysis.scopes import target_names

__all__ = ["Found", "Ledger", "Scope"]

_BUILTINS = frozenset(dir(builtins)) | {"display"}
_Names = set[str]


@dataclass
class Found:
    """What was met: in a cell, or in the functions that are bound to one name of the cell."""

    reads: _Names = field(default_factory=set)
    writes: _Names = field(default_factory=set)
    deletes: _Names = field(default_factory=set)
    item_writes: _Names = field(default_factory=set)
    mutators: _Names = field(default_factory=set)
    method_calls: _Names = field(default_factory=set)
    passed: _Names = field(default_factory=set)
    imports: _Names = field(default_factory=set)
    functions: _Names = field(default_factory=set)
    classes: _Names = field(default_factory=set)
    counters: _Names = field(default_factory=set)
    managed: _Names = field(default_factory=set)
    settled: _Names = field(default_factory=set)
    free: _Names = field(default_factory=set)
    builtins: _Names = field(default_factory=set)
    lines: dict[str, int] = field(default_factory=dict)
    is_async: bool = False
    notes: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take in all that another record holds."""
        for name, mine in vars(self).items():
            if isinstance(mine, set):
                mine.update(getattr(other, name))
        for name, line in other.lines.items():
            self.lines.setdefault(name, line)


@dataclass
class Scope:
    """One scope of the language.

    Args:
        kind: ``cell``, ``class``, ``function`` or ``comprehension``.
        names: what it binds itself (known beforehand for all but the cell).
        globals: what it declares ``global``.
        bound: what is certainly bound where the walk is (cell and class).
        methods: what the functions defined in a class do.
    """

    kind: str
    names: _Names = field(default_factory=set)
    globals: _Names = field(default_factory=set)
    bound: _Names = field(default_factory=set)
    methods: Found = field(default_factory=Found)


class Ledger:
    """Names as one walk meets them. ``found`` and ``cell.bound`` hold the result."""

    def __init__(self) -> None:
        self.found = Found()
        self.cell = Scope("cell")
        self.scopes = [self.cell]
        self.into: Found | None = None
        """While the walk is in the body of a function: where its doings are kept until it is used."""
        self.deferred: dict[str, Found] = {}
        self.aliases: dict[str, _Names] = {}

    def resolve(self, name: str) -> Scope:
        """The scope in which a name is looked up here; the cell's where it is a global."""
        innermost = True
        for scope in reversed(self.scopes):
            if name in scope.globals:
                return self.cell
            if scope.kind == "class":
                if innermost and name in scope.bound:
                    return scope
            elif scope.kind != "cell" and name in scope.names:
                return scope
            innermost = False
        return self.cell

    def load(self, name: str, line: int) -> None:
        """A name is loaded."""
        if self.resolve(name) is not self.cell:
            return
        if self.into is None:
            self._read(name, line)
        else:
            self.into.reads.add(name)
            self.into.lines.setdefault(name, line)

    def store(self, name: str, kind: str = "") -> None:
        """A name is bound.

        Args:
            name: the name.
            kind: ``imports``, ``functions``, ``classes``, or ``counters`` for the target of a loop,
                ``managed`` for that of a ``with``; else empty.
        """
        scope = next(scope for scope in reversed(self.scopes) if scope.kind != "comprehension")
        if scope is self.cell or name in scope.globals:
            target = self.found if self.into is None else self.into
            target.writes.add(name)
            target.deletes.discard(name)
            getattr(target, kind or "settled").add(name)
            if self.into is None:
                self.cell.bound.add(name)
                self.aliases.pop(name, None)
        elif scope.kind == "class":
            scope.bound.add(name)

    def catch(self, name: str) -> None:
        """A name is bound by ``except ... as``, whose end unbinds it again: no write that lasts."""
        lasting = name in self.found.writes
        self.store(name)
        if not lasting and self.scopes[-1] is self.cell:
            self.found.writes.discard(name)
            self.found.settled.discard(name)

    def unbind(self, name: str, *, lasting: bool) -> None:
        """A name is deleted (``lasting``: by ``del``, not by the end of an ``except`` clause)."""
        scope = self.resolve(name)
        scope.bound.discard(name)
        if scope is self.cell:
            target = self.found if self.into is None else self.into
            target.deletes.add(name)
            if lasting:
                target.writes.add(name)

    def touch(self, kind: str, node: ast.expr | None) -> None:
        """The objects that ``node`` may be are changed, or handed to code that may change them.

        Args:
            kind: ``item_writes``, ``mutators``, ``method_calls`` or ``passed``.
            node: an expression.
        """
        for root in roots(node):
            if self.resolve(root.id) is self.cell:
                if self.into is None:
                    self._changed(kind, root.id)
                else:
                    getattr(self.into, kind).add(root.id)

    def touch_aliases(self, name: str) -> None:
        """The object of a name is changed while the name itself is bound anew (``x += ...``)."""
        for other in self.aliases.get(name, ()):
            self._changed("item_writes", other)

    def alias(self, target: ast.expr, sources: Iterable[str]) -> None:
        """From here on, changing what ``target`` binds may change the objects of ``sources``."""
        if self.into is None and len(self.scopes) == 1:
            known = {name for name in sources if name not in _BUILTINS}
            for name in target_names(target):
                self.aliases[name.id] = known - {name.id}

    def define(self, name: str, kind: str, doings: Found, *, used: bool) -> None:
        """A function or class is bound; what its functions do happens when it is used.

        Args:
            name: its name.
            kind: ``functions`` or ``classes``.
            doings: what its body, or the bodies of its methods, do.
            used: it is used at once (a decorator got it).
        """
        self.store(name, kind)
        if self.into is not None:
            return
        scope = self.scopes[-1]
        if scope.kind == "class":
            scope.methods.add(doings)
            return
        for read in doings.reads:
            self._outside(read, doings.lines.get(read, 0), self.found.free)
        self.deferred.setdefault(name, Found()).add(doings)
        if used:
            self._use(name)

    def happens(self, doings: Found) -> None:
        """What a function does may happen now."""
        for name in sorted(doings.reads):
            self._read(name, doings.lines.get(name, 0))
        self.found.writes |= doings.writes
        self.found.deletes |= doings.deletes
        for kind in ("item_writes", "mutators", "method_calls", "passed"):
            for name in getattr(doings, kind):
                self._changed(kind, name)

    def _read(self, name: str, line: int) -> None:
        if name not in self.cell.bound:
            self._outside(name, line, self.found.reads)
        self._use(name)

    def _use(self, name: str) -> None:
        doings = self.deferred.get(name)
        if doings is not None and vars(doings) != vars(Found()):
            self.deferred[name] = Found()
            self.happens(doings)

    def _outside(self, name: str, line: int, into: _Names) -> None:
        if name == "get_ipython":
            self.found.notes.append(("magic", line, name))
        elif name in _BUILTINS or (name.startswith("__") and name.endswith("__")):
            self.found.builtins.add(name)
        else:
            into.add(name)
            self.found.lines.setdefault(name, line)

    def _changed(self, kind: str, name: str) -> None:
        pending, seen = [name], set[str]()
        while pending:
            name = pending.pop()
            if name not in seen and name not in _BUILTINS:
                seen.add(name)
                getattr(self.found, kind).add(name)
                pending.extend(self.aliases.get(name, ()))
