"""Notebooks in miniature, as IPython executes them: the source of each cell is in linecache."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable
from typing import Any

import pytest

from shoal.memo.key import finish_key, start_key

_cells = itertools.count(1)


class Notebook(dict[str, Any]):
    """A ``__main__`` of its own: ``run`` executes a cell, names are items and attributes."""

    def __init__(self) -> None:
        super().__init__(__name__="__main__", __builtins__=__builtins__)

    def run(self, source: str, known: bool = True) -> None:
        """Execute a cell; its source is known, unless it was made by ``exec``."""
        file = f"<memo cell {next(_cells)}>"
        if known:
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


@pytest.fixture
def notebooks() -> Callable[[], Notebook]:
    """Makes empty notebooks."""
    return Notebook


@pytest.fixture
def key() -> Callable[..., bytes]:
    """``key(function, *args, **kwargs)``: the key of a call without futures; as nothing was known, and as all was."""
    records: Any = {}

    def key_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bytes:
        label = getattr(function, "__name__", "it")
        fresh = start_key(function, args, kwargs, label)
        for _ in range(2):
            assert start_key(function, args, kwargs, label, records=records) == fresh
        assert fresh.futures == ()
        return finish_key(fresh, ())

    return key_of
