"""What ``%tasks`` and ``%blocks`` print."""

from __future__ import annotations

import time

from shoal.card import duration
from shoal.errors import ShoalError
from shoal.record.runs import DONE, STATE_NAMES, RunView
from shoal.session import Session
from shoal.wire.messages import PoolStatus
from shoal_kernel.notebook.current import reading
from shoal_kernel.notebook.tables import table

__all__ = ["blocks_text", "tasks_text"]

_MOST_ROWS = 40


def tasks_text(session: Session, wanted: str, now: float) -> str:
    """The tasks of a session as a table, newest last, with a line of totals above.

    Args:
        session: the session.
        wanted: a state, a task's number, or a part of a label or error; empty for all.
        now: seconds since the epoch.
    """
    with reading(session) as view:
        found = [tid for tid in range(len(view)) if _fits(view, tid, wanted)]
        rows = [_row(view, tid, now) for tid in found[-_MOST_ROWS:]]
        totals = ", ".join(f"{count:,} {STATE_NAMES[code]}" for code, count in enumerate(view.counts) if count)
        total = len(view)
    lines = [
        f"{total:,} {'task' if total == 1 else 'tasks'}: {totals}"
        if total
        else "no tasks yet: call an app, or begin a cell with %%task"
    ]
    if wanted:
        lines.append(f"{len(found):,} of them {'matches' if len(found) == 1 else 'match'} '{wanted}'")
    if len(found) > len(rows):
        lines.append(f"showing the last {len(rows)} of {len(found):,}")
    if rows:
        lines += ["", table(["task", "name", "state", "cell", "took", "worker", "error"], rows, right=(0, 4))]
    return "\n".join(lines)


def _fits(view: RunView, tid: int, wanted: str) -> bool:
    if not wanted:
        return True
    if wanted in STATE_NAMES:
        return STATE_NAMES[view.state[tid]] == wanted
    if wanted.isdecimal():
        return tid == int(wanted)
    return wanted.lower() in view.label[tid].lower() or wanted.lower() in view.error[tid].lower()


def _row(view: RunView, tid: int, now: float) -> list[object]:
    cell, took = view.cell[tid], ""
    if view.started[tid]:
        end = view.ended[tid] if view.state[tid] >= DONE else now
        took = duration(max(0.0, end - view.started[tid]))
    where = f"[{cell.execution_count}]" if cell is not None else ""
    return [tid, view.label[tid], STATE_NAMES[view.state[tid]], where, took, view.worker[tid], view.error[tid]]


def blocks_text(session: Session) -> str:
    """The executors of a session with their blocks and managers."""
    parts = []
    for label, executor in session.executors.items():
        try:
            parts.append(_executor(label, executor.kind, executor.status()))
        except ShoalError as error:
            parts.append(f"{label}: {error}")
    parts += [f"trouble: {text}" for text in session.trouble]
    return "\n\n".join(parts)


def _executor(label: str, kind: str, status: PoolStatus) -> str:
    workers = sum(manager.workers for manager in status.managers)
    noun = "worker" if workers == 1 else "workers"
    head = f"{label} ({kind}): {workers} {noun}; {status.queued:,} queued, {status.running:,} running, {status.done:,} done"
    lines = [head]
    now = time.time()
    if status.blocks:
        rows = [
            [block.block, block.state, block.provider, block.job, duration(max(0.0, now - block.since)), block.message]
            for block in status.blocks
        ]
        lines += [
            f"blocks (aim: {status.target}):",
            table(["block", "state", "provider", "job", "for", "message"], rows, (0,)),
        ]
    if status.managers and kind != "threads":
        rows = [[m.manager, m.block, f"{m.host}/{m.pid}", m.workers, m.running, m.queued] for m in status.managers]
        heads = ["manager", "block", "host/pid", "workers", "running", "queued"]
        lines += ["managers:", table(heads, rows, (0, 1, 3, 4, 5))]
    if status.trouble:
        lines.append(f"trouble: {status.trouble}")
    return "\n".join(lines)
