"""The worker's half of ``%%everywhere`` and ``--env``: what is there before a cell runs.

Workers import this module; it needs neither IPython nor a session.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import msgspec

__all__ = ["Prelude", "environment", "prepare"]

__shoal_inside__ = True
"""Tells who packs failures that frames of this module are no news to people."""

_ran: dict[str, dict[str, Any]] = {}
"""What the preludes that ran in this process have bound, by their keys; those of one notebook share one namespace."""


class Prelude(msgspec.Struct, frozen=True):
    """A cell that each worker runs once.

    Args:
        notebook: whose: the names that its preludes bind are together.
        version: tells apart what was run before: another for each ``%%everywhere``.
        text: Python.
        file: what tracebacks call it.
        modules: what it reads of the notebook: names, and the modules that they stand for.
    """

    notebook: str
    version: str
    text: str
    file: str
    modules: tuple[tuple[str, str], ...] = ()


def prepare(preludes: Sequence[Prelude]) -> dict[str, Any]:
    """Run those that did not run in this process yet.

    Args:
        preludes: all of a notebook, in the order in which they were given.

    Returns:
        The names that they bind. One that fails raises, and runs again before the next cell.
    """
    namespace: dict[str, Any] = {}
    for prelude in preludes:
        namespace = _ran.setdefault(prelude.notebook, {"__name__": "__main__"})
        if prelude.version not in _ran:
            linecache.cache[prelude.file] = (
                len(prelude.text), None, prelude.text.splitlines(keepends=True), prelude.file,
            )  # fmt: skip
            namespace.update({name: import_module(module) for name, module in prelude.modules})
            exec(compile(prelude.text, prelude.file, "exec", dont_inherit=True), namespace)  # noqa: S102 - the user's own cell
            _ran[prelude.version] = namespace
    return {name: value for name, value in namespace.items() if not name.startswith("__")}


@contextmanager
def environment(variables: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Set environment variables, and set them back.

    Args:
        variables: names and values.
    """
    before = {name: os.environ.get(name) for name, _ in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
