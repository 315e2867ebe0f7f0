"""Functions on the worker: from code and captures back to something that runs.

A code blob is decoded once. Each task then gets namespaces, cells and functions of its own, filled with captured values
that are unpickled afresh, so that no task sees what another changed. The layout is told in
:mod:`shoal.serialize.layout`.
"""

from __future__ import annotations

import builtins
import gc
import linecache
import marshal
import pickle
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import CellType, FunctionType
from typing import Any

from shoal.errors import VersionMismatch
from shoal.serialize.layout import CodeBlob, Target
from shoal.serialize.reducers import forget_classes
from shoal.serialize.references import resolve
from shoal.serialize.shipped import ShippedModules

__all__ = ["Rebuilder", "fill", "take_function"]

_COLLECT_AFTER = 64 << 20
"""Bytes of captures after which the cycles that finished tasks leave (functions and their namespaces) are collected."""

_task: ContextVar[_Parts] = ContextVar("shoal_task")
_shipped = ShippedModules()


class _Parts:
    """The namespaces, cells and functions of one task."""

    __slots__ = ("cells", "functions", "namespaces", "program", "root")

    def __init__(self, program: _Program) -> None:
        self.program = program
        self.namespaces = [dict(basics) for basics in program.namespaces]
        self.cells = [CellType() for _ in range(program.cells)]
        self.functions = [self._make(*recipe) for recipe in program.functions]
        self.root: Any = None

    def _make(
        self,
        code: Any,
        namespace: int,
        name: str,
        cells: tuple[int, ...],
        dicts: tuple[Any, ...] | None,
        attributes: dict[str, Any] | None,
    ) -> FunctionType:
        closure = tuple([self.cells[index] for index in cells]) if cells else None
        function = FunctionType(code, self.namespaces[namespace], name, None, closure)
        if dicts is not None:
            kwdefaults, annotations, others = dicts
            if kwdefaults is not None:
                function.__kwdefaults__ = dict.fromkeys(kwdefaults)
            if annotations is not None:
                function.__annotations__ = dict.fromkeys(annotations)
            if others is not None:
                function.__dict__.update(dict.fromkeys(others))
        if attributes is not None:
            for key, value in attributes.items():
                setattr(function, key, value)
        return function

    def put(self, place: tuple[int, int, str], value: Any) -> None:
        """Fill one place."""
        target, index, key = place
        if target == _NAMESPACE:
            self.namespaces[index][key] = value
        elif target == _CELL:
            self.cells[index].cell_contents = value
        elif target == _ROOT:
            self.root = value
        else:
            function = self.functions[index]
            if target == _ATTRIBUTE:
                setattr(function, key, value)
            elif target == _KWDEFAULTS:
                function.__kwdefaults__[key] = value  # type: ignore[index]
            else:
                (function.__annotations__ if target == _ANNOTATIONS else function.__dict__)[key] = value


_NAMESPACE, _CELL, _ATTRIBUTE, _KWDEFAULTS, _ANNOTATIONS, _DICT, _ROOT = map(int, Target)


def take_function(number: int) -> FunctionType:
    """A notebook function of the task that is being made; written into captures."""
    return _task.get().functions[number]


def fill(function: FunctionType, needs: tuple[tuple[int, ...], tuple[Any, ...]]) -> None:  # noqa: ARG001 - a state setter
    """Fill the places that a function needs; written into captures."""
    parts = _task.get()
    for slot, value in zip(*needs, strict=True):
        parts.put(parts.program.values[slot], value)


class _Program:
    """A decoded code blob, with all that tasks may share: code, modules, importable objects.

    Raises:
        VersionMismatch: it was made by another version of Python.
        ModuleNotFoundError: it needs a module that is not installed here.
    """

    def __init__(self, blob: CodeBlob) -> None:
        python, self.namespaces, self.cells, self.functions, self.values, references, links, root, extras = blob
        if python != sys.implementation.cache_tag:
            raise VersionMismatch("Python", str(sys.implementation.cache_tag), python)
        imports, self._sources, self.modules = extras
        self._first = [self.values[slot] for slot in root]
        self.use()
        for name in imports:
            __import__(name)
        for namespace in self.namespaces:
            namespace["__builtins__"] = builtins
        self._fixed: list[tuple[tuple[int, int, str], Any]] = []
        for target, index, key, module, name in references:
            value = resolve(module, name)
            if target == _NAMESPACE:
                self.namespaces[index][key] = value
            else:
                self._fixed.append(((target, index, key), value))
        self._links = [((target, index, key), function) for target, index, key, function, app in links if not app]
        self._apps = [((target, index, key), function) for target, index, key, function, app in links if app]

    def use(self) -> None:
        """Put in place what belongs to the process: local modules, source lines."""
        if self.modules:
            _shipped.use(self.modules)
        for file, first, text in self._sources:
            _show_source(file, first, text)

    def build(self, captures: bytes) -> Any:
        """The function of one task."""
        parts = _Parts(self)
        functions = parts.functions
        for place, number in self._links:
            parts.put(place, functions[number])
        for place, value in self._fixed:
            parts.put(place, value)
        if self._apps:
            from shoal.serialize.inline import InlineApp

            for place, number in self._apps:
                parts.put(place, InlineApp(parts.functions[number]))
        if captures:
            before = _task.set(parts)
            try:
                values = pickle.loads(captures)
            finally:
                _task.reset(before)
            namespaces = parts.namespaces
            for place, value in zip(self._first, values, strict=True):
                if place[0] == _NAMESPACE:  # most are, and this is the quick way
                    namespaces[place[1]][place[2]] = value
                else:
                    parts.put(place, value)
        return parts.root


def _show_source(file: str, first: int, text: str) -> None:
    """Let tracebacks show lines of a file that is not here (a notebook's cell), or not as it was."""
    lines = list(linecache.getlines(file))
    piece = text.splitlines(keepends=True)
    if lines[first - 1 : first - 1 + len(piece)] == piece:
        return
    lines.extend(["\n"] * (first - 1 + len(piece) - len(lines)))
    lines[first - 1 : first - 1 + len(piece)] = piece
    linecache.cache[file] = (sum(map(len, lines)), None, lines, file)


class Rebuilder:
    """Makes functions of code blobs and captures; one for each worker.

    Args:
        limit: how many code blobs are kept; those that were used last stay.
    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._blobs: dict[bytes, bytes] = {}
        self._programs: dict[bytes, _Program] = {}
        self._last: _Program | None = None
        self._unpickled = 0

    def add(self, digest: bytes, blob: Any) -> None:
        """Keep a code blob.

        Args:
            digest: its digest.
            blob: anything bytes-like.
        """
        if not self.has(digest):
            self._blobs[digest] = bytes(blob)
            if len(self._blobs) > self._limit:
                del self._blobs[next(iter(self._blobs))]

    def has(self, digest: bytes) -> bool:
        """Whether the code blob of this digest is kept."""
        return digest in self._programs or digest in self._blobs

    def function(self, code: bytes, captures: bytes) -> Callable[..., Any]:
        """The function of a task, with captured values of its own. This begins the task: unpack its inputs after it.

        Args:
            code: the digest of its code blob.
            captures: the captures blob itself; empty if there is none.

        Raises:
            KeyError: there is no code blob of this digest (any more).
            Exception: whatever importing and unpickling raise, for instance ModuleNotFoundError.
        """
        forget_classes()
        self._unpickled += len(captures)
        if self._unpickled > _COLLECT_AFTER:
            self._unpickled = 0
            gc.collect()
        program = self._programs.get(code)
        if program is None:
            program = self._decode(code)
        elif program is not self._last:
            program.use()
            self._programs[code] = self._programs.pop(code)
        self._last = program
        return program.build(captures)  # type: ignore[no-any-return]

    def _decode(self, code: bytes) -> _Program:
        program = _Program(marshal.loads(self._blobs[code]))  # noqa: S302 - code of the user's own client
        del self._blobs[code]
        self._programs[code] = program
        if len(self._programs) > self._limit:
            del self._programs[next(iter(self._programs))]
        return program
