"""What becomes of the tasks of a kernel that has ended: which a pool still has, and what the others lack. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shoal.errors import SessionClosed
from shoal.record.past import PastRun
from shoal.record.runs import CANCELLED, DONE, FAILED

__all__ = ["Fate", "Source", "arrived_names", "fates_of", "key_of"]

Source = tuple[str, int]
"""A task at a pool: the id of a session, and its number there."""


class Fate(NamedTuple):
    """What becomes of one task.

    Args:
        tid: its number in the run that ended.
        source: where it is; None if no pool has it.
        state: as the pool tells it (``waiting``, ``sent``, ``running``, ``done``); ``lost`` if it has not run and will not;
            ``unwanted`` if it was made by a task that is lost, which makes it again.
        lacked: what it waited for, of one that is lost; empty if that cannot be told.
    """

    tid: int
    source: Source | None
    state: str
    lacked: str


def fates_of(past: PastRun, there: Mapping[Source, str]) -> list[Fate]:
    """The tasks that a pool still has, and those that are lost, by their numbers.

    Tasks that had ended before are left out: their values were in the kernel. So are those that gather the values of others,
    which is done anew.

    Args:
        past: the run.
        there: the tasks that pools have, with their states there.
    """
    view = past.view
    gatherers = {held.futures[0][0] for held in past.names.values() if held.kind == "elements"}
    fates: list[Fate] = []
    lost: set[int] = set()
    for tid in range(len(view)):
        if tid in gatherers:
            continue
        source = past.taken_over.get(tid)
        if source is None:
            source = next(((session, tid) for session in past.pools if (session, tid) in there), None)
        if source is not None and source in there:
            fates.append(Fate(tid, source, "unwanted" if view.parent[tid] in lost else there[source], ""))
        elif _was_open(past, tid) and view.executor[tid]:
            lost.add(tid)
            fates.append(Fate(tid, None, "lost", _inputs(past, tid)))
    return [fate for fate in fates if fate.state != "lost" or view.parent[fate.tid] < 0]


def key_of(past: PastRun, tid: int) -> str:
    """The key of the cell that made a task, in ``past.cells``; empty if it is not there.

    Args:
        past: the run.
        tid: the task.
    """
    cell = past.view.cell[tid]
    if cell is None:
        return ""
    same = [key for key, began in past.cells.items() if began.cell.execution_count == cell.execution_count]
    if cell.cell_id in same or (tid in past.taken_over and cell.cell_id):  # numbers of an earlier kernel count anew
        return cell.cell_id
    return same[0] if same else cell.cell_id  # one that %rerun has run is below another cell


def _was_open(past: PastRun, tid: int) -> bool:
    """Whether a task had not ended by itself: also what ends with its session is in the log then."""
    state = past.view.state[tid]
    return state < DONE or (state in (CANCELLED, FAILED) and past.view.error[tid].startswith(SessionClosed.__name__))


def _inputs(past: PastRun, tid: int) -> str:
    """The inputs that were still being made."""
    names = {task: held.name for held in past.names.values() for task, _ in held.futures[:1]}
    told = []
    for source in past.view.deps[tid]:
        if past.view.state[source] != DONE:
            label, name = past.view.label[source], names.get(source, "")
            who = f"{label.removeprefix(f'{name} of ')} (task {source})"
            told.append(f"'{name}' of {who}" if name else who)
    return ", ".join(told)


def arrived_names(past: PastRun, open_tasks: Iterable[int]) -> list[str]:
    """The variables all of whose values were in the kernel that ended.

    Args:
        past: the run.
        open_tasks: the tasks that had not ended.
    """
    there = set(open_tasks)
    return sorted(
        name for name, held in past.names.items() if held.futures and there.isdisjoint(tid for tid, _ in held.futures)
    )
