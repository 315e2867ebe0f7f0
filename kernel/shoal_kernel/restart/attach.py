"""``%attach``: a kernel takes over what the last kernel of its notebook left at a pool that lasts."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shoal.config import Config
from shoal.errors import CellError, SessionInUse
from shoal.executors.claims import Claims
from shoal.executors.embedded import who
from shoal.executors.pooled import PoolExecutor
from shoal.pool.control import list_pools
from shoal.record.past import PastRun, find_runs, read_past
from shoal.session import Session
from shoal.wire.messages import SessionStatus
from shoal_kernel.book.stale import cells_of
from shoal_kernel.lines.celltext import first_line
from shoal_kernel.notebook.current import current_session, lasts
from shoal_kernel.notebook.tables import table
from shoal_kernel.reports.status import use_pool
from shoal_kernel.restart.pastcells import key_of
from shoal_kernel.restart.restoring import Restored, Restoring

__all__ = ["attach"]

_PATIENCE = 2.0
"""Seconds for which a session is looked for: a pool sees a kernel that was killed a moment later."""

_UNNAMED = "attached"
"""The variable that gets the futures which no variable held."""

_WORDS = {"waiting": "queued", "sent": "queued", "running": "running", "done": "done meanwhile", "lost": "lost"}


def attach(shell: Any, name: str, whose: str = "") -> str:
    """Take over what the last kernel of this notebook left.

    Args:
        shell: the running IPython shell.
        name: of the pool; empty for that of the session, or the one that has something of this notebook.
        whose: the name that the notebook had then, as the pool tells it; empty for that of today.

    Returns:
        What was done, for people.

    Raises:
        CellError: it is not clear which pool is meant.
        ShoalError: the pool is not there, or does not answer.
    """
    lines = []
    whose = whose or who()
    session = current_session()
    name = name or _pool_of(session, whose)
    if session is None or name not in _pools(session):
        lines.append(use_pool(name).partition("\n")[0])
        session = current_session()
        assert session is not None, "it was loaded just now"
    executors = _pools(session)[name]
    away = _away(executors, whose)
    mine = [status for status in away if status.name == whose]
    logs = find_runs(_folders(session), [status.session for status in mine])
    known = {id_ for ids in logs.values() for id_ in ids}
    pasts = {log: read_past(log) for log in logs}  # first: what is claimed leaves the pool as it comes
    claims = _claimed(executors, [status for status in mine if status.session in known])
    found: list[tuple[PastRun, Restored]] = []
    left = dict(claims)
    for log, ids in logs.items():  # the newest first: what it had taken over of older ones is told by it alone
        past = pasts[log]
        wanted = dict.fromkeys([*ids, *(id_ for id_, _ in past.taken_over.values())])
        its = {id_: left.pop(id_) for id_ in wanted if id_ in left}
        if its:
            found.append((past, _restored(shell, session, past, its)))
    if not found:
        lines.append(f"pool '{name}' keeps nothing of this notebook")
    for past, restored in found:
        lines += _told(past, restored)
    lines += _others([status for status in away if status.session not in claims], known, session, whose)
    return "\n".join(lines)


def _pool_of(session: Session | None, whose: str) -> str:
    """The pool that is meant where none is named."""
    pools = _pools(session) if session is not None else {}
    if len(pools) == 1:
        return next(iter(pools))
    if pools:
        raise CellError(f"%attach needs a name, for this session uses {', '.join(pools)}", "write %attach NAME")
    lasting = [info for info in list_pools() if info.kind == "lasting" and info.status is not None]
    mine = [info.name for info in lasting if any(each.name == whose for each in info.status.sessions)]  # type: ignore[union-attr]
    if len(mine) == 1:
        return mine[0]
    if mine:
        raise CellError(f"several pools keep something of this notebook: {', '.join(mine)}", "write %attach NAME")
    if len(lasting) == 1:
        return lasting[0].name
    names = f"of {', '.join(info.name for info in lasting)}" if lasting else "of none that runs"
    fix = "write %attach NAME" if lasting else "start one with: shoal pool start NAME"
    raise CellError(f"%attach needs the name of a pool that lasts, {names} is known that it keeps something", fix)


def _pools(session: Session) -> dict[str, PoolExecutor]:
    """The executors of a session that have a pool that lasts, by the pools' names."""
    if not lasts(session):
        return {}
    executors = [each for each in session.executors.values() if isinstance(each, PoolExecutor) and each.lasts]
    return {executor.connection.name: executor for executor in executors}


def _folders(session: Session) -> list[Path]:
    """Where the runs of earlier kernels may be."""
    return list(dict.fromkeys([session.run_dir.parent, Path(Config().run_dir).absolute()]))


def _away(executor: PoolExecutor, whose: str) -> list[SessionStatus]:
    """The sessions of a pool whose clients are away; waits a moment for this notebook's."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        away = executor.status().sessions
        if any(status.name == whose for status in away) or time.monotonic() > deadline:
            return away
        time.sleep(0.1)


def _claimed(executor: PoolExecutor, wanted: list[SessionStatus]) -> dict[str, Claims]:
    claims: dict[str, Claims] = {}
    with ExitStack() as undone:
        for status in wanted:
            try:
                claims[status.session] = claim = executor.claims(status.session)
            except SessionInUse:
                continue  # another kernel was quicker
            undone.callback(claim.close)
        undone.pop_all()
    return claims


def _restored(shell: Any, session: Session, past: PastRun, claims: dict[str, Claims]) -> Restored:
    restored = Restoring(shell, session, past, claims).run()
    own = cells_of(shell).book.runs
    session.note(*(began for key, began in past.cells.items() if key not in own))  # for the kernel after this one
    cells_of(shell).restore(past.cells.values(), restored.spoilt)
    if restored.unnamed:
        shell.user_ns[_UNNAMED] = [*shell.user_ns.get(_UNNAMED, ()), *restored.unnamed]
    return restored


# --------------------------------------------------------------------------- what is said


def _told(past: PastRun, restored: Restored) -> list[str]:
    """What was found of one run, cell by cell."""
    if not restored.fates:
        return [f"of run {past.view.run} nothing is left to be taken over"]
    count = len(restored.fates)
    ended = time.strftime("%H:%M", time.localtime(past.view.ended_at)) if past.view.ended_at else ""
    when = f" that ended at {ended}" if ended else " that was killed"
    noun = "task" if count == 1 else "tasks"
    lines = [
        f"{count:,} {noun} of the kernel{when} (run {past.view.run})",
        "",
        table(_HEADS, _rows(past, restored)),
        "",
    ]
    if restored.spoilt:
        many = len(restored.spoilt) > 1
        lines.append(
            f"{len(restored.spoilt)} {'cells have' if many else 'cell has'} to run again; %rerun runs {_them(many)}"
        )
    for names, what in (
        (restored.kept, "kept as given here, not replaced"),
        (restored.arrived, "had values in the kernel that ended; %rerun NAME makes one again"),
    ):
        if names:
            lines.append(f"{', '.join(names)}: {what}")
    if restored.unnamed:
        lines.append(f"{_UNNAMED}: a list of the futures that no variable held, {len(restored.unnamed):,} of them")
    return lines


def _them(many: bool) -> str:
    return "them" if many else "it"


_HEADS = ("cell", "text", "names", "tasks")


def _rows(past: PastRun, restored: Restored) -> list[list[object]]:
    """One row a cell."""
    view = past.view
    by_cell: dict[tuple[int, str], list[str]] = {}
    members: dict[tuple[int, str], set[int]] = {}
    for fate in restored.fates:
        cell = view.cell[fate.tid]
        group = (cell.execution_count if cell is not None else 0, key_of(past, fate.tid))
        told = _WORDS.get(fate.state, fate.state) + (f", waiting for {fate.lacked}" if fate.lacked else "")
        by_cell.setdefault(group, []).append(told)
        members.setdefault(group, set()).add(fate.tid)
    rows: list[list[object]] = []
    for number, key in sorted(by_cell):
        names = [name for name, tids in restored.names.items() if members[number, key].intersection(tids)]
        counts = Counter(by_cell[number, key])
        text = past.cells[key].text if key in past.cells else ""
        single = sum(counts.values()) == 1
        states = ", ".join(told if single else f"{count:,} {told}" for told, count in counts.items())
        rows.append([f"[{number}]" if number else "", first_line(text), ", ".join(names), states])
    return rows


def _others(away: list[SessionStatus], known: set[str], session: Session, whose: str) -> list[str]:
    """What is not taken over, and why."""
    lines = []
    strange = [status for status in away if status.name == whose and status.session not in known]
    if strange:
        lines.append(
            f"{len(strange)} more of this notebook: their records are not in {', '.join(map(str, _folders(session)))}; "
            "load a Config with the run_dir that they had, and %attach again"
        )
    foreign = Counter(status.name for status in away if status.name != whose)
    lines += [
        f"the pool also keeps {count} of {name}; if that is this notebook's name of before: %attach --from {shlex.quote(name)}"
        for name, count in foreign.items()
    ]
    return lines
