"""The layout of a code blob, which the client writes (``image``) and the worker reads (``rebuild``).

A code blob is a marshalled tuple of nine items::

    (python, namespaces, cells, functions, values, references, links, root, extras)

- ``python``: the cache tag of the interpreter that made it; code objects do not travel between versions.
- ``namespaces``: one dict for each namespace, with its ``__name__`` and the like.
- ``cells``: how many closure cells there are.
- ``functions``: one tuple for each notebook function: its code object, its namespace, its name, its cells, the keys
  of its ``__kwdefaults__``, ``__annotations__`` and ``__dict__`` (None where there are none), and those of its
  ``__qualname__``, ``__doc__`` and ``__module__`` that its code does not tell (None, or a dict).
- ``values``: the places that captured values fill: a place is ``(target, index, key)``, see :class:`Target`.
- ``references``: places that hold something importable: ``(target, index, key, module, qualified name)``.
- ``links``: places that hold a notebook function: ``(target, index, key, function, whether it is an app)``.
- ``root``: the numbers of the values that the captures blob begins with.
- ``extras``: ``(modules to import, pieces of source for tracebacks, local modules)``; a piece is ``(file name, first line,
  text)``, a local module ``(name, path, whether it is a package, its search path, source, digest)``.

A captures blob is the pickle of the tuple of values in ``root``. A notebook function inside a value is written as a call
of :func:`~shoal.serialize.rebuild.take_function`, with the captured values that the function itself needs, since
unpickling what comes next may call it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

__all__ = ["BASICS", "CodeBlob", "Target"]

CodeBlob = tuple[
    str,
    list[dict[str, Any]],
    int,
    list[tuple[Any, ...]],
    list[tuple[int, int, str]],
    list[tuple[int, int, str, str, str]],
    list[tuple[int, int, str, int, bool]],
    tuple[int, ...],
    tuple[Any, ...],
]

BASICS = ("__package__", "__name__", "__path__", "__file__")
"""Names of a namespace that every function may rely on."""


class Target(IntEnum):
    """What a place is in; ``index`` says in which of them, ``key`` where in it."""

    NAMESPACE = 0
    CELL = 1
    ATTRIBUTE = 2
    KWDEFAULTS = 3
    ANNOTATIONS = 4
    DICT = 5
    ROOT = 6
