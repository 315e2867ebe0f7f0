"""The tasks of a kernel that has ended, in this one: their futures under their names, what they print under their cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from shoal.errors import SessionLost
from shoal.events import CellRef, HeldName, TaskTakenOver
from shoal.executors.claims import Claims
from shoal.executors.earlier import News
from shoal.executors.executor import Ended
from shoal.futures import TaskFuture, ValueFuture
from shoal.record.past import PastRun
from shoal.session import Session
from shoal_kernel.cells.again import remember_earlier
from shoal_kernel.cells.gathered import Elements
from shoal_kernel.cells.progress import Printer
from shoal_kernel.cells.results import Place, present
from shoal_kernel.cells.taskcell import own_names
from shoal_kernel.notebook.current import reading
from shoal_kernel.output.endings import Ending, tell_when_over
from shoal_kernel.output.place import CellOutput
from shoal_kernel.output.shown import Splitter
from shoal_kernel.output.strips import Strip
from shoal_kernel.restart.heldnames import filled
from shoal_kernel.restart.pastcells import Fate, arrived_names, fates_of, key_of
from shoal_kernel.worker.cellrun import REPORT

__all__ = ["Restored", "Restoring"]

_AGAIN = "run its cell again; %rerun does"


class Restored(NamedTuple):
    """What was restored of one run.

    Args:
        fates: of its tasks that had not ended.
        names: the variables that hold futures again, by their tasks in the run that ended.
        kept: variables that were left as they are, since this kernel has given them something.
        arrived: variables whose values were in the kernel that ended.
        spoilt: the cells that have to run again, by their keys, each with why.
        unnamed: the futures that no variable holds.
    """

    fates: list[Fate]
    names: dict[str, list[int]]
    kept: list[str]
    arrived: list[str]
    spoilt: dict[str, str]
    unnamed: list[TaskFuture[Any]]


class Restoring:
    """Restores one run.

    Args:
        shell: the running IPython shell.
        session: which gets the tasks.
        past: the run.
        claims: the sessions of it that were claimed, by their ids.
    """

    def __init__(self, shell: Any, session: Session, past: PastRun, claims: Mapping[str, Claims]) -> None:
        self._shell, self._session, self._past, self._claims = shell, session, past, claims
        self._made: dict[int, TaskFuture[Any]] = {}
        self._shown: set[int] = set()
        self._places: dict[int, CellOutput] = {}
        self._followed: dict[str, list[TaskFuture[Any]]] = {}
        self._names: dict[str, list[int]] = {}
        self._kept: list[str] = []
        self._spoilt: dict[str, str] = {}
        there = {(id_, tid): task.state for id_, its in claims.items() for tid, task in its.tasks.items()}
        self._fates = [fate for fate in fates_of(past, there) if not self._drop(fate)]
        self._by_tid = {fate.tid: fate for fate in self._fates}

    def run(self) -> Restored:
        """Do it."""
        arrived = arrived_names(self._past, self._by_tid)
        own = own_names(self._shell)
        held = [held for name, held in self._past.names.items() if name not in arrived]
        self._kept = sorted(each.name for each in held if each.name in own)
        for each in held:
            if each.kind == "elements" and each.name not in own:
                self._restore_elements(each)
        for fate in self._fates:
            self._future(fate.tid)
        for each in held:
            if each.kind != "elements" and each.name not in own:
                self._shell.user_ns[each.name] = filled(each, self._at)
                self._names[each.name] = [tid for tid, _ in each.futures]
        self._show_cells()
        for id_, claims in self._claims.items():
            _leave_in_time(self._session, claims, self._followed.get(id_, []))
        named = {tid for each in self._past.names.values() for tid, _ in each.futures} | self._shown
        unnamed = [future for tid, future in self._made.items() if tid not in named and self._by_tid[tid].source]
        return Restored(self._fates, self._names, self._kept, arrived, self._spoilt, unnamed)

    def _drop(self, fate: Fate) -> bool:
        """Cancel a task that nobody wants; whether it is one."""
        if fate.state == "unwanted" and fate.source is not None:
            self._claims[fate.source[0]].cancel(fate.source[1])
        return fate.state == "unwanted"

    # ------------------------------------------------------------------ tasks

    def _at(self, place: tuple[int, int]) -> ValueFuture[Any]:
        future = self._future(place[0])
        return future if place[1] < 0 else list(future.outputs.values())[place[1]]

    def _future(self, tid: int, printer: Printer | None = None, told: str = "") -> TaskFuture[Any]:
        """The future of a task here, made at the first call."""
        if tid not in self._made:
            fate = self._by_tid.get(tid)
            if fate is None or fate.source is None:
                self._made[tid] = self._lost(tid, fate)
            else:
                self._made[tid] = self._take_over(tid, fate.source, printer, told)
            remember_earlier(self._session, self._made[tid].tid)
        return self._made[tid]

    def _lost(self, tid: int, fate: Fate | None) -> TaskFuture[Any]:
        view = self._past.view
        label, cell = view.label[tid], view.cell[tid]
        who = f"{label} (task {tid})"
        if cell is not None:
            number = cell.execution_count
            who = f"cell [{number}]" if label == f"cell {number}" else f"{label} of cell [{number}]"
        error = SessionLost(who if fate is not None else f"the value of {who}", fate.lacked if fate else "", _AGAIN)
        if cell is not None:
            reason = "it was lost with the kernel that ended"
            if fate is None:
                reason = "values that it needs were in the kernel that ended"
            elif fate.lacked:
                reason += f", waiting for {fate.lacked}"
            self._spoilt[key_of(self._past, tid)] = reason
        return self._session.take_over(label, error, outputs=self._past.outputs.get(tid, ()), cell=cell)

    def _take_over(self, tid: int, source: tuple[str, int], printer: Printer | None, told: str) -> TaskFuture[Any]:
        claims, view = self._claims[source[0]], self._past.view
        output = None if printer is not None else self._place(tid)
        show: Callable[[str, str], None] | None = None
        if printer is not None:
            show = Splitter(partial(printer.add, told), partial(printer.show, told))
        elif output is not None:
            show = Splitter(output.stream, output.show)
        future = self._session.take_over(
            view.label[tid],
            self._news(tid, claims.future(source[1])),
            outputs=self._past.outputs.get(tid, ()),
            cell=view.cell[tid],
            on_output=show,
            cancel=partial(claims.cancel, source[1]),
            executor=view.executor[tid],
        )
        self._session.note(TaskTakenOver(future.tid, *source))
        self._followed.setdefault(source[0], []).append(future)
        if printer is not None:
            future.add_done_callback(lambda _: printer.end(told))
        return future

    def _news(self, tid: int, news: News) -> News:
        """What comes of a task, after what the kernel that ended had heard of it."""
        before = self._past.printed.get(tid)
        if before is None:
            return news
        whole = News()
        for stream in ("stdout", "stderr"):
            if before.read(stream):
                whole.tell_printed(stream, before.read(stream))
        news.follow(whole.tell_started, whole.tell_printed)
        news.add_done_callback(lambda done: _pass_on(done, whole))
        return whole

    # ------------------------------------------------------------------ below cells

    def _place(self, tid: int) -> CellOutput | None:
        """The place below the cell that became a task; None for the call of an app."""
        cell = self._past.view.cell[tid]
        if cell is None or (REPORT not in self._past.outputs.get(tid, ()) and not self._is_script(tid)):
            return None
        if tid not in self._places:
            self._places[tid] = CellOutput.restored(self._shell, cell.cell_id, cell.execution_count)
        return self._places[tid]

    def _is_script(self, tid: int) -> bool:
        began = self._past.cells.get(key_of(self._past, tid))
        return began is not None and began.text.lstrip().startswith("%%bash_task")

    def _show_cells(self) -> None:
        """Below each cell that became a task: its line, and how it ends."""
        for tid, future in list(self._made.items()):
            output = self._place(tid)
            if output is None:
                continue
            self._shown.add(tid)
            names = (
                tuple(name for name in future.outputs if name != REPORT) if isinstance(future.outputs, Mapping) else ()
            )
            strip = Strip(output, future, names, False, partial(self._spent, tid, future.tid))
            output.reserve(REPORT in future.outputs)
            tell_when_over(future, Ending(self._shell.user_ns, (output, strip)))

    def _spent(self, tid: int, now: int) -> float:
        """Seconds from the submission of a task to its end; 0.0 if it is lost.

        Args:
            tid: its number then.
            now: its number here.
        """
        fate = self._by_tid.get(tid)
        if fate is None or fate.source is None:
            return 0.0
        with reading(self._session) as view:
            ended = view.ended[now] or time.time()
        return max(0.0, ended - self._past.view.submitted[tid])

    def _restore_elements(self, held: HeldName) -> None:
        places = held.futures[1:]
        cell = self._past.view.cell[held.futures[0][0]] or CellRef("")
        output = CellOutput.restored(self._shell, cell.cell_id, cell.execution_count)
        printer = Printer(output)
        for index, (tid, _) in enumerate(places):
            self._future(tid, printer, f"#{index}")
            self._shown.add(tid)
        futures = filled(held, self._at)
        keys = [(half := len(key) // 2) and (bytes.fromhex(key[:half]), bytes.fromhex(key[half:])) for key in held.keys]
        elements = Elements(
            held.name, self._past.view.label[places[0][0]] if places else held.name, "#{}".format, futures, 0
        )
        place = Place(output, cell, False, time.monotonic())
        future = present(self._session, elements, futures, [key or None for key in keys], place)
        self._shell.user_ns[held.name] = future
        self._names[held.name] = [tid for tid, _ in places]


def _leave_in_time(session: Session, claims: Claims, futures: list[TaskFuture[Any]]) -> None:
    """Leave a claimed session when nothing of it is left; when this kernel's own ends before that, others can claim it."""
    left = len(futures)

    def over(_future: object) -> None:
        nonlocal left
        left -= 1
        if session.closed or not left:
            claims.close(keep=session.closed)

    for future in futures:
        future.add_done_callback(over)
    if not futures:
        claims.close(keep=False)


def _pass_on(done: Future[Ended], to: News) -> None:
    error = done.exception() if not done.cancelled() else None
    if done.cancelled():
        to.cancel()
    elif error is not None:
        to.set_exception(error)
    else:
        to.set_result(done.result())
