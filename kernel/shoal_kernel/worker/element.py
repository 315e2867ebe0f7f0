"""The worker's half of ``%%parallel``: runs the text of a cell for one element, and gives back its last value.

Workers import this module and what it names; it needs neither IPython nor a session.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from types import FunctionType
from typing import Any, Protocol

import msgspec

from shoal.serialize import pack, unpack
from shoal_kernel.worker.prelude import Prelude, prepare
from shoal_kernel.worker.showing import close_figure, display, display_here, stage

__all__ = ["ElementCode", "Text", "run_element", "run_text"]

__shoal_inside__ = True
"""Tells who packs failures that frames of this module are no news to people."""

_VALUE, _START = "<value>", "<start>"
_MANY = 64
_compiled: dict[tuple[str, str], Any] = {}


class Text(Protocol):
    """The text of a cell, and what tracebacks call it."""

    @property
    def text(self) -> str:
        """Python, with its lines numbered as in the notebook."""
        ...

    @property
    def file(self) -> str:
        """What tracebacks call it."""
        ...


class ElementCode(msgspec.Struct, frozen=True):
    """The text of a cell that runs once for each element.

    Args:
        text: Python, with its lines numbered as in the notebook.
        file: what tracebacks call it, for example ``<Cell In[4]>``.
        names: the names that an element binds.
        shared: names whose objects the cell may change, where several elements share a task: each element gets copies.
        preludes: what each worker runs once, before the first element that comes with it.
    """

    text: str
    file: str
    names: tuple[str, ...]
    shared: frozenset[str] = frozenset()
    preludes: tuple[Prelude, ...] = ()


def run_element(code: ElementCode, reach: FunctionType, element: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """Run a cell for one element.

    Args:
        code: the cell.
        reach: a function of the notebook; its globals hold what the cell reads, and are those of all the notebook's functions
            that came with it, so that they see what the cell writes.
        element: the values of ``code.names``.
        given: further names that the cell reads, whose values were futures.

    Returns:
        The value of the last line, if that is an expression; otherwise None.
    """
    bound = dict(zip(code.names, element, strict=True))
    if _is_kernel(reach):
        return run_text(code, _begin(code, reach, {"display": display_here(), **given}, bound))
    namespace = _begin(code, reach, {"display": display, **given}, bound)
    with stage(code.text, reports=False):
        value = run_text(code, namespace)
        close_figure(value)
    return value


def run_text(code: Text, namespace: dict[str, Any]) -> Any:
    """Run the text of a cell.

    Args:
        code: the cell.
        namespace: where it runs.

    Returns:
        The value of the last line, if that is an expression; otherwise None.
    """
    _execute(_body(code), namespace)
    return namespace.pop(_VALUE, None)


def _begin(code: ElementCode, reach: FunctionType, given: dict[str, Any], element: dict[str, Any]) -> dict[str, Any]:
    """The namespace of an element: what one element wrote, the next in the same task does not see.

    It is set back when the next begins, for the value of the one before is packed in between, and may need it.
    """
    namespace = reach.__globals__
    if _is_kernel(reach):
        # on a thread of the kernel these are the notebook's own variables: the cell must not write them
        return {**prepare(code.preludes), **namespace, "__name__": "__main__", **given, **element}
    start = namespace.get(_START)
    if start is None:
        for name, value in prepare(code.preludes).items():
            namespace.setdefault(name, value)  # what the notebook calls so comes first
        namespace.update(given)
        shared = {name: namespace[name] for name in code.shared if name in namespace}
        start = (dict(namespace), pack(shared) if shared else None)
    before, packed = start
    namespace.clear()
    namespace.update(before)
    namespace[_START] = start
    if packed is not None:
        namespace.update(unpack(packed))
    # elements may be, or hold, one object, too
    namespace.update(element if code.shared.isdisjoint(element) else unpack(pack(element)))
    return namespace


def _is_kernel(reach: FunctionType) -> bool:
    """Whether this is a thread of the notebook's own process."""
    import __main__

    return reach.__globals__ is vars(__main__)


def _body(code: Text) -> Any:
    body = _compiled.get((code.text, code.file))
    if body is None:
        lines = code.text.splitlines(keepends=True)
        linecache.cache[code.file] = (len(code.text), None, lines, code.file)  # tracebacks show the cell's own lines
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code.text, code.file, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        last = tree.body[-1]
        if isinstance(last, ast.Expr):
            target = ast.copy_location(ast.Name(_VALUE, ast.Store()), last)
            tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
        if len(_compiled) >= _MANY:
            _compiled.clear()
        body = _compiled[code.text, code.file] = compile(tree, code.file, "exec", flags, dont_inherit=True)
    return body


def _execute(body: Any, namespace: dict[str, Any]) -> None:
    if not body.co_flags & inspect.CO_COROUTINE:
        exec(body, namespace)  # noqa: S102 - running the user's cell is what this is for
        return
    import asyncio

    asyncio.run(eval(body, namespace))  # noqa: S307 - as above; a coroutine is made by eval
