"""Which cells are stale: the live book of this kernel, what ``%tasks stale`` lists, and what ``%rerun`` runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from shoal.errors import CellError
from shoal.events import CellBegan, CellRef
from shoal.futures import ValueFuture
from shoal_kernel.book.cellbook import Book, Run
from shoal_kernel.cells.inflight import take_latest
from shoal_kernel.lines.celltext import CellFlow, first_line, flow_of
from shoal_kernel.notebook.tables import table
from shoal_kernel.output.strips import Strip, strip_of
from shoal_kernel.worker.checks import fingerprint

__all__ = ["Cells", "cells_of"]

_PENDING = 1_000
_SOON = 0.15
_HIDDEN = ("%rerun", "%tasks", "%wait", "%autotask", "%attach")


class Cells:
    """The cells of one kernel.

    Args:
        shell: the running IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._book = Book()
        self._waiting: list[Run] = []
        self._keys: set[str] = set()
        self._acting: str | None = None
        self._strips: dict[str, Strip] = {}
        self._marked: set[str] = set()
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None

    def ran(self, count: int, text: str) -> None:
        """A cell has run. Its text is read when somebody asks, or when it may have made a task cell stale."""
        latest = take_latest()
        if text.lstrip().startswith(_HIDDEN) and latest is None:
            return
        key = self._acting or self._cell_id() or text
        task, held = latest if latest is not None else (None, {})
        run = Run(key, count, text, CellFlow(), held)
        with self._lock:
            if self._waiting and (self._waiting[-1].key, self._waiting[-1].text) == (key, text):
                self._waiting[-1] = run  # the same cell over and over
            else:
                self._waiting.append(run)
        strip = None if task is None else strip_of(task)
        if strip is not None:
            self._strips[key] = strip
            if self._acting is not None:
                strip.of_cell(key)
        again = key in self._keys
        self._keys.add(key)
        if (again and self._strips) or "del " in text or len(self._waiting) > _PENDING:
            self._show_soon()

    def ref(self, count: int, text: str) -> CellRef:
        """Where the cell is that runs now: also one that %rerun runs.

        Args:
            count: its number.
            text: as it was typed.
        """
        key = self._acting
        return CellRef(self._cell_id() if key is None else "" if key == text else key, count)

    def restore(self, cells: Iterable[CellBegan], spoilt: Mapping[str, str]) -> None:
        """Take in the cells of a kernel that has ended, as if they had run before those of this one.

        Args:
            cells: in the order in which they ran.
            spoilt: those that have to run again, each with why.
        """
        with self._lock:
            now = dict(self.book.runs)
            book, notebook = Book(), self._shell.user_ns
            cells = [began for began in cells if not began.text.lstrip().startswith(_HIDDEN)]
            for place, began in enumerate(cells):
                key = began.cell.cell_id or began.text
                run = now.get(key)
                if run is not None and run.text == began.text:
                    del now[key]
                else:
                    flow = flow_of(began.text, self._shell.input_transformer_manager.transform_cell)
                    run = Run(key, began.cell.execution_count, began.text, flow, restored=True)
                book.add(run)
                run.order = place - len(cells)  # above all that this kernel has run besides
            for run in now.values():
                book.add(run)
            book.forget([name for name in book.made() if name not in notebook])
            for key, why in spoilt.items():
                book.spoil(key, why)
            self._book = book
            self._keys.update(book.runs)

    def _cell_id(self) -> str:
        get_parent = getattr(self._shell, "get_parent", None)
        parent = get_parent() if get_parent is not None else {}
        return str((parent.get("metadata") or {}).get("cellId") or "")

    @property
    def book(self) -> Book:
        """The book, up to date."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for run in waiting:
                run.flow = flow_of(run.text, self._shell.input_transformer_manager.transform_cell)
                self._book.add(run)
            return self._book

    def _show_soon(self) -> None:
        """On a thread of its own, so that cells that run in a loop do not wait for it."""
        if self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(_SOON, self._show_marks)
            self._timer.daemon = True
            self._timer.start()

    def _show_marks(self) -> None:
        with self._lock:
            stale = self.book.stale()
            for key in [*stale, *(self._marked - stale.keys())]:
                if key in self._strips:
                    self._strips[key].mark(stale.get(key, ""))
            self._marked = set(stale)

    # ------------------------------------------------------------------ asking

    def stale_ids(self) -> list[str] | None:
        """What ``%rerun`` would run, as keys of cells in their order; None while it runs. May be called from any thread."""
        if not self._lock.acquire(timeout=_SOON):
            return None
        try:
            book = self.book
            return sorted(self._wanted(book, []), key=lambda key: book.runs[key].order)
        finally:
            self._lock.release()

    def text(self) -> str:
        """The stale cells as a table."""
        with self._lock:
            return self._text(self.book)

    @staticmethod
    def _text(book: Book) -> str:
        stale = book.stale()
        if not stale:
            return "no cell is stale"
        rows = []
        for key, why in stale.items():
            run = book.runs[key]
            made = sorted(name for name in run.flow.writes if book.maker(name) == key)
            rows.append([f"[{run.count}]", first_line(run.text), ", ".join(made), why])
        said = "1 cell is stale; %rerun runs it" if len(rows) == 1 else f"{len(rows)} cells are stale; %rerun runs them"
        return f"{said} again\n\n" + table(("cell", "text", "makes", "why"), rows)

    # ------------------------------------------------------------------ running again

    def rerun(self, words: list[str], say: Callable[[str], None]) -> int:
        """Run cells again, in the order of the notebook.

        Args:
            words: names, and numbers of cells: these, and what is stale above them; none for all that is stale; ``--all`` for
                all.
            say: is told what happens, line by line.

        Returns:
            How many ran.

        Raises:
            CellError: a word names no cell, or a cell failed: those after it did not run.
        """
        with self._lock:
            return self._rerun(words, say)

    def _rerun(self, words: list[str], say: Callable[[str], None]) -> int:
        book = self.book
        wanted = self._wanted(book, words)
        limits = None if not words else set(wanted)
        done = 0
        while wanted:
            key = min(wanted, key=lambda key: book.runs[key].order)
            order = book.runs[key].order
            why = wanted.pop(key)
            if why and why == book.stale().get(key) and book.as_before(key, self._same):
                say(
                    f"[{book.runs[key].count}] {first_line(book.runs[key].text)}: as it was, its inputs have the same values"
                )
                continue
            run = book.runs[key]
            say(f"[{run.count}] {first_line(run.text)}: {why or 'runs again'}")
            self._run(run)
            done += 1
            book = self.book
            for below, reason in book.stale().items():
                if book.runs[below].order > order and (limits is None or below in limits):
                    wanted[below] = reason
        self._show_marks()
        return done

    def _wanted(self, book: Book, words: list[str]) -> dict[str, str]:
        stale = book.stale()
        if words == ["--all"]:
            return {key: stale.get(key, "") for key in book.runs}
        if not words:
            found = dict(stale)
        else:
            found = {}
            for word in words:
                key = self._key_of(book, word)
                found[key] = stale.get(key, "")
                found.update({above: stale[above] for above in book.above(key) if above in stale})
        pending = list(found)
        while pending:  # what their inputs were is made again, where it is not there any more
            for name, (maker, why) in book.lost(pending.pop()).items():
                if maker not in found:
                    found[maker] = stale.get(maker) or f"'{name}', which a cell below needs, {why}"
                    pending.append(maker)
        return found

    @staticmethod
    def _key_of(book: Book, word: str) -> str:
        if word.isdecimal():
            found = [key for key, run in book.runs.items() if run.count == int(word)]
            if not found:
                raise CellError(
                    f"%rerun {word}: there is no cell [{word}], or it was run again since", "see %tasks stale"
                )
            return found[0]
        key = book.maker(word)
        if key is None:
            raise CellError(
                f"%rerun {word}: no cell that ran here makes '{word}'",
                "give a name, a cell's number, --all, or nothing",
            )
        return key

    def _same(self, name: str, held: Any) -> bool:
        """Whether a variable has the value that an input had."""
        now = self._shell.user_ns.get(name)
        if isinstance(held, Future) and isinstance(now, Future):
            if held is now:
                return True
            if not (_has_value(held) and _has_value(now)):
                return False
            first, second = fingerprint(held.result()), fingerprint(now.result())
            return first is not None and first == second
        return type(now) is type(held) and now == held and not isinstance(now, Future)

    def _run(self, run: Run) -> None:
        self._acting = run.key
        try:
            result = self._shell.run_cell(run.text, store_history=True)
        finally:
            self._acting = None
        if not result.success:  # it may have made something, but not all
            self.book.spoil(run.key, "it failed as it ran again")
            raise CellError(
                f"cell [{run.count}] failed as it ran again; those after it did not", "correct it, and %rerun"
            )


def _has_value(future: Any) -> bool:
    return isinstance(future, ValueFuture) and future.done() and not future.cancelled() and future.exception() is None


_cells: dict[int, Cells] = {}


def cells_of(shell: Any) -> Cells:
    """The cells of a shell."""
    if id(shell) not in _cells:
        _cells[id(shell)] = Cells(shell)
    return _cells[id(shell)]
