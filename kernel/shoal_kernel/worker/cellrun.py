"""The worker's half of ``%%task``: runs the text of a cell, and gives back what its names hold then.

Workers import this module and nothing else of the kernel side; it needs neither IPython nor a session.
"""

from __future__ import annotations

import ast
import io
import linecache
from contextlib import nullcontext
from types import FunctionType
from typing import Any, NoReturn

import msgspec

from shoal.errors import CellError, NotPicklable
from shoal.serialize import pack
from shoal_kernel.worker.bundle import Bundle, bundle_of
from shoal_kernel.worker.checks import Checks, Watch, can_change
from shoal_kernel.worker.prelude import Prelude, environment, prepare
from shoal_kernel.worker.showing import close_figure, display, display_here, is_ipythons, stage

__all__ = ["REPORT", "Absent", "CellCode", "Report", "run_cell"]

REPORT = "<report>"
"""The name of the output that carries the :class:`Report`; no variable can be called that."""

__shoal_inside__ = True
"""Tells who packs failures that frames of this module are no news to people."""

_VALUE = "<value>"
_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_STAY = (memoryview, io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.RawIOBase)


class CellCode(msgspec.Struct, frozen=True):
    """The text of a task cell, and what is wanted of it.

    Args:
        text: Python, with its lines numbered as in the notebook.
        file: what tracebacks call it, for example ``<Cell In[4]>``.
        outputs: the names whose values are wanted.
        existing: names that the cell deletes, which exist in the notebook, but whose values it does not need.
        classes: names of classes that came as inputs: their ``class`` statements do not run again.
        shows: whether the value of a last expression is to be shown.
        checks: how to tell whether an input was changed that does not come back.
        env: environment variables that the cell runs with.
        preludes: what each worker runs once, before the first cell that comes with it.
    """

    text: str
    file: str
    outputs: tuple[str, ...] = ()
    existing: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    shows: bool = True
    checks: Checks = Checks()
    env: tuple[tuple[str, str], ...] = ()
    preludes: tuple[Prelude, ...] = ()


class Report(msgspec.Struct):
    """What is said of a run besides its values.

    Args:
        shown: the last expression's value as it looks in a notebook; None if there is none.
        missing: names that have no value, each with the reason.
        stayed: names whose values cannot travel, each with the reason.
        unchecked: names that were too large to be looked at, each with what to say.
        parted: names that shared an object with others and hold a copy now, each with what to say.
        gone: the part of ``missing`` that the cell has deleted for certain.
        displays: what was displayed and is too large to be printed, by the name of its place.
    """

    shown: Bundle | None = None
    missing: dict[str, str] = {}
    stayed: dict[str, str] = {}
    unchecked: dict[str, str] = {}
    parted: dict[str, str] = {}
    gone: tuple[str, ...] = ()
    displays: dict[str, Bundle] = {}


class Absent:
    """Travels in the place of a value that is not there; reading it raises :class:`~shoal.errors.CellError`."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Raise where it arrives."""
        return (_raise_absent, (self.name, self.reason))


def _raise_absent(name: str, reason: str) -> NoReturn:
    raise CellError(f"'{name}' {reason}", "see what the task cell that wrote it says below itself")


def run_cell(
    code: CellCode, anchor: FunctionType, _after: object = (), _of_cell: str = "", /, **names: Any
) -> dict[str, Any]:
    """Run a cell.

    Args:
        code: its text.
        anchor: a function of the notebook; its globals are those of all the notebook's functions that came with it, so
            that they see what the cell writes.
        _after: values that were waited for, and are of no use.
        _of_cell: what tracebacks call the text, if the code does not say: it makes no difference to a result that is kept.
        names: the notebook's names that the cell reads.

    Returns:
        The value of each output, and under :data:`REPORT` the :class:`Report`.

    Raises:
        HiddenMutation: the cell changed an input that does not come back.
    """
    if _of_cell:
        code = msgspec.structs.replace(code, file=_of_cell)
    namespace = _namespace(anchor)
    prelude = prepare(code.preludes)
    for name, value in prelude.items():
        namespace.setdefault(name, value)  # what the notebook calls so comes first
    own_process = namespace is anchor.__globals__
    for name in code.existing:
        namespace.setdefault(name, None)  # a function may have brought its value
    namespace.update(display=display if own_process else display_here())
    namespace.update(names)
    if own_process and is_ipythons(namespace["display"]):  # imported in the notebook
        namespace["display"] = display
    body = _compile(code)
    # on a thread of the kernel the inputs are the notebook's own objects: no change of them is lost
    others = (*code.existing, *(name for name in prelude if name not in names))
    watch = Watch(code.checks, namespace, code.outputs, others) if own_process else None
    report = Report()
    with environment(code.env), stage(code.text) if own_process else nullcontext() as shown:
        _execute(body, namespace)
        close_figure(namespace.get(_VALUE))
    if shown is not None:
        report.displays = shown.late
    if watch is not None:
        watch.compare(namespace)
        for name, size in watch.unchecked.items():
            report.unchecked[name] = (
                f"({size}) was not looked at for changes, for it is large; if the cell changes it, name it with -o"
            )
        _tell_parted(code, namespace, names, report)
    if _VALUE in namespace:
        value = namespace.pop(_VALUE)
        if value is not None:
            report.shown = bundle_of(value)
    results = {name: _take(name, namespace, report) for name in code.outputs}
    report.gone = tuple(name for name in report.missing if name in names)
    return {**results, REPORT: report}


def _namespace(anchor: FunctionType) -> dict[str, Any]:
    import __main__

    found: dict[str, Any] = anchor.__globals__
    # on a thread of the kernel these are the notebook's own variables: the cell must not write them
    return {"__name__": "__main__"} if found is vars(__main__) else found


def _tell_parted(code: CellCode, namespace: dict[str, Any], names: dict[str, Any], report: Report) -> None:
    """Find the names that shared an object, here or in the notebook, and will not share it from now on."""
    passing, shared = code.checks.passing, code.checks.shared
    owners: dict[int, str] = {id(value): name for name, value in names.items() if name not in passing}
    for name in code.outputs:
        value = namespace.get(name)
        if name in passing or not can_change(value):
            continue
        owner = owners.setdefault(id(value), name)
        others = [other for other in shared.get(owner, ()) if other != name]
        if owner != name and (owner not in code.outputs or namespace.get(owner) is value):
            others.insert(0, owner)
        if others:
            told = " and ".join(f"'{other}'" for other in dict.fromkeys(others))
            report.parted[name] = f"is a copy from now on: it shared an object with {told}"


def _compile(code: CellCode) -> Any:
    lines = code.text.splitlines(keepends=True)
    linecache.cache[code.file] = (len(code.text), None, lines, code.file)  # tracebacks show the cell's own lines
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code.text, code.file, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    tree.body = [part for part in tree.body if not (isinstance(part, ast.ClassDef) and part.name in code.classes)]
    last = tree.body[-1] if tree.body else None
    if code.shows and isinstance(last, ast.Expr):
        target = ast.copy_location(ast.Name(_VALUE, ast.Store()), last)
        tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
    return compile(tree, code.file, "exec", flags, dont_inherit=True)


def _execute(body: Any, namespace: dict[str, Any]) -> None:
    import inspect

    if not body.co_flags & inspect.CO_COROUTINE:
        exec(body, namespace)  # noqa: S102 - running the user's cell is what this is for
        return
    import asyncio

    asyncio.run(eval(body, namespace))  # noqa: S307 - as above; a coroutine is made by eval


def _take(name: str, namespace: dict[str, Any], report: Report) -> Any:
    if name not in namespace:
        report.missing[name] = "was not set: the statement that sets it did not run, or it was deleted"
        return Absent(name, report.missing[name])
    value = namespace[name]
    if type(value) in _ATOMS:
        return value
    if isinstance(value, _STAY):  # they can be pickled, but arrive as something else
        report.stayed[name] = f"(a {type(value).__name__}) stayed on the worker, where its file or memory is"
        return Absent(name, report.stayed[name])
    try:
        pack(value, f"'{name}'", copy=False)
    except NotPicklable as error:
        article = "an" if error.type_name[:1].lower() in "aeio" else "a"
        report.stayed[name] = f"({article} {error.type_name}) stayed on the worker: {error.reason}"
        return Absent(name, report.stayed[name])
    return value
