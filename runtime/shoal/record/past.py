"""What the log of a run tells of a session that has ended: its tasks, the cells that ran, what the notebook's variables held."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from shoal.events import (
    CellBegan,
    Event,
    HeldName,
    NamesHeld,
    PoolJoined,
    RunEnded,
    TaskPrinted,
    TaskSubmitted,
    TaskTakenOver,
)
from shoal.printed import PrintedText
from shoal.record.log import LogDamaged, LogReader
from shoal.record.runs import RunView

__all__ = ["PastRun", "find_runs", "read_past"]

_HEAD = 1 << 18
"""Bytes from the start of a log within which a session has joined its pools."""

_MOST = 300
"""Runs that are looked at, the newest first."""


class PastRun:
    """A run whose session has ended.

    Attributes:
        view: its tasks.
        outputs: the names of a task's outputs, of tasks that have some.
        pools: the pool of each session that it had with one that lasts, by the session's id.
        cells: the cells that ran, in the order in which they ran first; each as it ran last. The keys are the notebook's ids, or
            the texts where there are none.
        names: what variables held in the end.
        taken_over: of tasks that were of earlier sessions still: the session's id, and the number there.
        printed: what tasks printed.
        ended: why its session ended; empty if it did not get that far.
    """

    def __init__(self) -> None:
        self.view = RunView()
        self.outputs: dict[int, tuple[str, ...]] = {}
        self.pools: dict[str, str] = {}
        self.cells: dict[str, CellBegan] = {}
        self.names: dict[str, HeldName] = {}
        self.taken_over: dict[int, tuple[str, int]] = {}
        self.printed: dict[int, PrintedText] = {}
        self.ended = ""

    def apply(self, events: Iterable[Event]) -> None:
        """Take in the next events of its log."""
        events = list(events)
        self.view.apply(events)
        for event in events:
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)

    def _submitted(self, event: TaskSubmitted) -> None:
        if event.outputs:
            self.outputs[event.tid] = tuple(event.outputs)

    def _joined(self, event: PoolJoined) -> None:
        self.pools[event.session] = event.pool

    def _cell(self, event: CellBegan) -> None:
        self.cells[event.cell.cell_id or event.text] = event

    def _names(self, event: NamesHeld) -> None:
        for held in event.held:
            self.names[held.name] = held
        for name in event.dropped:
            self.names.pop(name, None)

    def _taken(self, event: TaskTakenOver) -> None:
        self.taken_over[event.tid] = (event.session, event.source)

    def _printed(self, event: TaskPrinted) -> None:
        self.printed.setdefault(event.tid, PrintedText()).add(event.attempt, event.stream, event.text)

    def _ended(self, event: RunEnded) -> None:
        self.ended = event.reason


_HANDLERS: dict[type, Callable[..., None]] = {
    TaskSubmitted: PastRun._submitted,
    PoolJoined: PastRun._joined,
    CellBegan: PastRun._cell,
    NamesHeld: PastRun._names,
    TaskTakenOver: PastRun._taken,
    TaskPrinted: PastRun._printed,
    RunEnded: PastRun._ended,
}


def read_past(path: Path) -> PastRun:
    """Read a run's log.

    Args:
        path: of the log.

    Raises:
        LogDamaged: it is none.
    """
    past = PastRun()
    past.apply(LogReader(path).read())
    return past


def find_runs(folders: Iterable[Path], sessions: Iterable[str]) -> dict[Path, list[str]]:
    """The logs of the runs that had certain sessions with pools that last.

    Args:
        folders: that hold runs, each a folder of its own.
        sessions: the ids of the sessions.

    Returns:
        The sessions by the logs, the newest log first.
    """
    wanted = set(sessions)
    logs = {log for folder in folders if folder.is_dir() for log in folder.glob("*/events.log")}
    found: dict[Path, list[str]] = {}
    for log in sorted(logs, key=_age)[:_MOST]:
        if not wanted:
            break
        try:
            head = LogReader(log).read(_HEAD)
        except (LogDamaged, OSError):
            continue
        joined = [event.session for event in head if type(event) is PoolJoined and event.session in wanted]
        if joined:
            found[log] = joined
            wanted.difference_update(joined)
    return found


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
