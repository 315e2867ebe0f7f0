"""``%%parallel``: the text of a cell runs once for each element, side by side; their last values are one list."""

from __future__ import annotations

import ast
import sys
import time
from functools import partial
from math import ceil
from types import FunctionType
from typing import Any

from shoal.apps.mapping import Chunks
from shoal.config import current
from shoal.containers import find_futures
from shoal.errors import CellError, ConfigurationError, NotPicklable, UnknownExecutor
from shoal.events import CellRef
from shoal.futures import TaskFuture, ValueFuture
from shoal.options import TaskOptions as Asked
from shoal.serialize import FunctionImage, Snapshot, pack
from shoal.serialize.modules import local
from shoal.session import Session
from shoal_kernel.analysis.effects import is_generator
from shoal_kernel.analysis.names import analyse
from shoal_kernel.cells.everywhere import prelude_names, preludes
from shoal_kernel.cells.gathered import Elements
from shoal_kernel.cells.progress import Printer, element_text
from shoal_kernel.cells.results import RUNS, Place, present
from shoal_kernel.cells.resume import element_keys
from shoal_kernel.cells.taskcell import own_names, parsed, python_of, refused_executor, refused_needs
from shoal_kernel.lines.header import elements_of, read_header
from shoal_kernel.lines.options import CellOptions, TaskOptions, parse_parallel_options
from shoal_kernel.notebook.kept import Kept
from shoal_kernel.notebook.where import cell_number
from shoal_kernel.output.place import CellOutput
from shoal_kernel.output.shown import Splitter
from shoal_kernel.planning.plan import Plan, make_plan
from shoal_kernel.worker.element import ElementCode, run_element

__all__ = ["asked_of", "start_parallel_cell"]

_HEAVY = 256 << 10
"""Bytes of what a cell reads that make it worthwhile that elements share tasks."""

_TRAVELS = "make it in the cell, or once on each worker with %%everywhere"

_A_SLOT = 16
"""Tasks for each slot then: enough to keep all slots busy to the end."""


class _Cell:
    """A cell whose line and text have been read.

    Args:
        shell: the running IPython shell.
        line: the rest of the ``%%parallel`` line.
        body: the lines after it.

    Attributes:
        header, options: the line.
        elements: what it goes through.
        label: the name of its tasks.
        reach: a function that captures what the cell reads.
        given: what it reads besides: futures, or what holds some.
    """

    def __init__(self, shell: Any, line: str, body: str) -> None:
        self.header = read_header(line)
        self.options = parse_parallel_options(self.header.options)
        self.count = cell_number(shell)
        self.label = self.options.name or f"cell {self.count}"
        self._text = python_of(shell, body)
        self.tree = _parsed(self._text)
        notebook, bound = shell.user_ns, self.header.names
        plan = _planned(self.tree, {**notebook, **dict.fromkeys(bound)}, own_names(shell) | set(bound))
        self._names = analyse(self.tree)
        self.elements = elements_of(self.header, notebook)
        inputs = [name for name in plan.inputs if name not in bound]
        self.given = {name: notebook[name] for name in inputs if find_futures(notebook[name])}
        self._captured = [name for name in inputs if name not in self.given]
        self.reach = _reach(self._captured, notebook)
        self._inputs = {name: notebook[name] for name in inputs}

    @property
    def changed(self) -> list[str]:
        """The names whose objects the cell changes, or that it binds anew after it has read what they hold."""
        names = self._names
        anew = (names.writes & names.reads) - names.counters
        inside = {name for name in names.item_writes | names.mutators if not _is_fixed(self._held(name))}
        return sorted(name for name in anew | inside if name in self._captured or name in self.given)

    @property
    def drawn(self) -> list[str]:
        """The generators of random numbers that the cell uses."""
        return [name for name in self._captured if name in self._names.may_mutate and is_generator(self._held(name))]

    def had(self, index: int) -> Kept:
        """What one element had."""
        return Kept(
            self.code(False), {**self._inputs, **dict(zip(self.header.names, self.elements[index], strict=True))}
        )

    def code(self, chunked: bool) -> ElementCode:
        """The cell's text, for workers.

        Args:
            chunked: several elements share a task.
        """
        may_change = self._names.may_mutate if chunked else frozenset()
        shared = may_change - {name for name in self._captured if _is_fixed(self._held(name))}
        file = f"<Cell In[{self.count}]>"
        return ElementCode(self._text, file, self.header.names, shared, preludes())

    def _held(self, name: str) -> Any:
        return self.reach.__globals__.get(name)


def start_parallel_cell(shell: Any, line: str, body: str) -> TaskFuture[Any]:
    """Run a cell for each element.

    Args:
        shell: the running IPython shell.
        line: the rest of the ``%%parallel`` line.
        body: the lines after it.

    Returns:
        The future of the list of the elements' values, which the name after ``->`` holds from now on.

    Raises:
        ShoalError: the cell cannot become tasks; nothing was changed, and elements that were submitted are cancelled.
    """
    began = time.monotonic()
    cell = _Cell(shell, line, body)
    results = cell.header.results
    session = current(start=True)
    output = CellOutput(shell)
    keys, unknown = element_keys(cell.tree, cell.reach, cell.given, cell.header.names, cell.elements)
    blank = cell.options.fresh or not keys
    known = RUNS.known("" if blank else results, keys)
    printer = Printer(output)
    submission = _Submission(session, cell, CellRef(output.cell_id, cell.count, 1), printer)
    futures = submission.submit(known)
    held = [cell.given, *(element for element in cell.elements if find_futures(element))]
    _say(cell, unknown)
    kept = None if unknown else sum(future is not None for future in known)
    elements = Elements(results, cell.label, submission.told, futures, kept)
    place = Place(output, submission.ref, cell.options.quiet, began, cell.had)
    shell.user_ns[results] = future = present(session, elements, futures, keys, place, held)
    return future


def _parsed(text: str) -> ast.Module:
    try:
        return parsed(text, "%%parallel")
    except CellError as error:
        if "outside of a function" not in error.reason:
            raise
        raise CellError(error.reason, "leave it away: the value of the last line is that of the element") from None


def _planned(tree: ast.Module, notebook: dict[str, Any], found: set[str]) -> Plan:
    try:
        elsewhere = prelude_names()
        return make_plan(
            tree, notebook, found, TaskOptions(writes=()), elsewhere=elsewhere
        )  # nothing comes back but the last value
    except CellError as error:
        raise CellError(error.reason, error.fix.replace("%%task", "%%parallel")) from None


def _say(cell: _Cell, unknown: str) -> None:
    if not cell.elements:
        print(f"Shoal: there are no elements; '{cell.header.results}' is an empty list.", file=sys.stderr)  # noqa: T201
    elif not isinstance(cell.tree.body[-1], ast.Expr):
        told = f"Shoal: the last line is no value, so that '{cell.header.results}' holds None for each element."
        print(told, file=sys.stderr)  # noqa: T201
    if cell.drawn:
        told = (
            f"Shoal: each element has a copy of {', '.join(cell.drawn)} as it is now, so that all draw the same numbers. "
            "Make a generator in the cell, from a seed and the element."
        )
        print(told, file=sys.stderr)  # noqa: T201
    changed = [name for name in cell.changed if name not in cell.drawn]
    if changed:
        told = (
            f"Shoal: the cell changes {', '.join(changed)}, of which each element has a copy of its own: "
            "what it writes stays there. Let the last line be the value that is wanted."
        )
        print(told, file=sys.stderr)  # noqa: T201
    if unknown:
        print(f"Shoal: if this cell is run again, all of it runs: {unknown}.", file=sys.stderr)  # noqa: T201


def _is_fixed(value: object) -> bool:
    return value is None or isinstance(
        value, bool | int | float | complex | str | bytes | FunctionType | type | type(ast)
    )


def _reach(names: list[str], notebook: dict[str, Any]) -> FunctionType:
    """A function with the notebook's variables as globals, which mentions these names, and so captures their values."""
    tree = ast.parse("lambda: None", "<shoal>", "eval")
    assert isinstance(tree.body, ast.Lambda)
    tree.body.body = ast.Tuple([ast.Name(name, ast.Load()) for name in names], ast.Load())
    whole = compile(ast.fix_missing_locations(tree), "<shoal>", "eval")
    code = next(part for part in whole.co_consts if hasattr(part, "co_code"))
    return FunctionType(code, notebook, "cell")


# --------------------------------------------------------------------------- submitting


class _Image(FunctionImage):
    """A function as it was at the first submission: all elements see the notebook as it is when the cell is run."""

    _first: tuple[Snapshot, int, int] | None = None

    def snapshot(self) -> Snapshot:
        """The function; looked at again only where an element has brought a module beside the notebook into play."""
        mark = (local.refresh(), len(sys.modules))
        if self._first is None or self._first[1:] != mark:
            made = super().snapshot()
            self._first = (made, local.refresh(), len(sys.modules))
        return self._first[0]


class _Submission:
    """The tasks of one cell.

    Args:
        session: which gets them.
        cell: the cell.
        ref: where it is.
        printer: gets what they print.
    """

    def __init__(self, session: Session, cell: _Cell, ref: CellRef, printer: Printer) -> None:
        self._session, self._cell, self._printer = session, cell, printer
        self.ref = ref
        self._asked = asked_of(cell.label, cell.options)
        self._made: list[TaskFuture[Any]] = []

    def told(self, index: int) -> str:
        """An element as people know it."""
        return element_text(self._cell.header.names, self._cell.elements[index], index)

    def submit(self, known: list[ValueFuture[Any] | None]) -> list[ValueFuture[Any]]:
        """Submit all elements whose futures are not known; none, if one cannot be.

        Returns:
            A future for each element.

        Raises:
            ShoalError: one cannot travel, or the options do not fit the session.
        """
        wanted = [index for index, future in enumerate(known) if future is None]
        size = self._cell.options.chunksize or self._size(len(wanted))
        whole = False
        try:
            found = iter(self._singly(wanted) if size <= 1 else self._in_chunks(wanted, size))
            futures = [next(found) if future is None else future for future in known]
            whole = True
        finally:  # Ctrl-C, too, leaves none of them behind
            if not whole:
                for future in reversed(self._made):
                    future.cancel()
        return futures

    def _size(self, count: int) -> int:
        """How many elements are to share a task, where the line does not say."""
        if self._cell.options.retries:
            return 1
        size = Chunks("%%parallel", (range(count),), "auto").size
        executors = self._session.executors.values()
        most = _A_SLOT * sum(executor.slots() for executor in executors)
        if count <= most or all(executor.kind == "threads" for executor in executors):
            return size
        try:
            captured = len(self._image(chunked=False).snapshot().captures_blob)
        except NotPicklable as error:
            raise self._culprit(error, []) from None
        # each task unpickles what the cell reads: much of it is worth few tasks
        return max(size, ceil(count / most)) if captured > _HEAVY else size

    def _singly(self, wanted: list[int]) -> list[ValueFuture[Any]]:
        image = self._image(chunked=False)
        given = {"given": self._cell.given}
        return [
            self._enter(image, (self._cell.elements[index],), given, self._asked, self.told(index), [index])
            for index in wanted
        ]

    def _in_chunks(self, wanted: list[int], size: int) -> list[ValueFuture[Any]]:
        image = self._image(chunked=True)
        given = {"given": self._cell.given}
        chunks = Chunks("%%parallel", (wanted,), size)
        futures: list[ValueFuture[Any]] = []
        for items in chunks.lists():
            indices = [index for (index,) in items]
            asked = chunks.options(self._asked, len(indices))
            elements = [(self._cell.elements[index],) for index in indices]
            told = self.told(indices[0]) if len(indices) == 1 else f"#{indices[0]}-{indices[-1]}"
            futures.extend(self._enter(image, (elements,), given, asked, told, indices).outputs.values())
        return futures

    def _image(self, chunked: bool) -> _Image:
        return _Image(partial(run_element, self._cell.code(chunked), self._cell.reach), self._cell.label)

    def _enter(
        self, image: _Image, args: tuple[Any, ...], given: dict[str, Any], asked: Asked, told: str, indices: list[int]
    ) -> TaskFuture[Any]:
        printer = self._printer
        show = Splitter(partial(printer.add, told), partial(printer.show, told))
        try:
            future = self._session.enter(image, args, given, asked, self.ref, show)
        except UnknownExecutor as error:
            raise refused_executor("%%parallel", self._cell.options.executor, error) from None
        except ConfigurationError as error:
            raise refused_needs("%%parallel", error) from None
        except NotPicklable as error:
            raise self._culprit(error, indices) from None
        self._made.append(future)
        future.add_done_callback(lambda _: printer.end(told))
        return future

    def _culprit(self, error: NotPicklable, indices: list[int]) -> NotPicklable:
        """The error that names the element, or the variable."""
        name = error.what.split("'")[1] if error.what.count("'") >= 2 else ""
        if error.what.startswith("variable"):
            return NotPicklable(f"variable '{name}'", error.type_name, error.reason, _TRAVELS)
        for index in indices:  # of a chunk, each alone
            told = self.told(index)
            what = f"element {index}" + ("" if told.startswith("#") else f", {told},")
            try:
                for part in self._cell.elements[index]:
                    if not find_futures(part):
                        pack(part, what)
            except NotPicklable as found:
                return NotPicklable(found.what, found.type_name, found.reason, _TRAVELS)
        return NotPicklable(f"one of {', '.join(self._cell.given)}", error.type_name, error.reason, _TRAVELS)


def asked_of(label: str, options: CellOptions) -> Asked:
    """What a cell's line asks of its tasks.

    Args:
        label: their name.
        options: the line.
    """
    return Asked(
        label=label,
        executors=(options.executor,) if options.executor else "all",
        resources=options.resources,
        retries=options.retries,
        walltime=options.walltime or 0.0,
        hold=False,
    )
