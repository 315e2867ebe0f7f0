"""Notebooks in miniature: namespaces in which code is executed as cells are."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable
from typing import Any

import pytest

from shoal.serialize import FunctionImage, Rebuilder, Snapshot, modules

_cells = itertools.count(1)


class Notebook(dict[str, Any]):
    """A ``__main__`` of its own: ``run`` executes a cell, names are items and attributes."""

    def __init__(self) -> None:
        super().__init__(__name__="__main__", __builtins__=__builtins__)

    def run(self, source: str) -> None:
        """Execute a cell; its source is known to tracebacks, as IPython sees to it."""
        file = f"<cell {next(_cells)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        exec(compile(source, file, "exec"), self)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@pytest.fixture
def nb() -> Notebook:
    """An empty notebook."""
    return Notebook()


@pytest.fixture(autouse=True)
def _nothing_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the tests themselves do not count as local; tests of local modules name a directory."""
    monkeypatch.setattr(modules, "roots", list)


def remake(snapshot: Snapshot, rebuilder: Rebuilder | None = None) -> Callable[..., Any]:
    """The function of a snapshot, as a worker makes it."""
    rebuilder = rebuilder or Rebuilder()
    rebuilder.add(snapshot.code, snapshot.code_blob)
    return rebuilder.function(snapshot.code, snapshot.captures_blob)


@pytest.fixture
def rebuild() -> Callable[..., Any]:
    """Makes the function of a snapshot: ``rebuild(snapshot)``, or with a worker's own rebuilder."""
    return remake


@pytest.fixture
def run() -> Callable[..., Any]:
    """Calls a function as a fresh worker would: ``run(image, *args)``."""

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        image = function if isinstance(function, FunctionImage) else FunctionImage(function)
        return remake(image.snapshot())(*args, **kwargs)

    return call
