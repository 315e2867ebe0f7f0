"""What ``%task``, ``%whence`` and ``%cancel`` say and do about single tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from shoal.card import duration
from shoal.containers import find_futures
from shoal.errors import CellError
from shoal.futures import ValueFuture
from shoal.record.runs import DONE
from shoal.record.tasks import TaskRecord
from shoal.session import Session
from shoal_kernel.notebook.current import reading
from shoal_kernel.output.shown import plain_text

__all__ = ["cancel_all", "cancel_tasks", "one_task", "task_text", "whence_text"]

_LAST = 2000
"""Characters of each stream that are shown, from its end."""

_DEEPEST = 20
"""Inputs of inputs that are followed."""


def one_task(magic: str, line: str, session: Session, notebook: Mapping[str, Any]) -> int:
    """The number of the task that a line names.

    Args:
        magic: for errors.
        line: a number, or a variable that holds one future.
        session: whose tasks.
        notebook: the variables.

    Raises:
        CellError: it names none.
    """
    found = _named(magic, line, session, notebook)
    if len(found) != 1:
        raise CellError(f"{magic} tells of one task, and '{line.strip()}' names {len(found)}", f"write {magic} NUMBER")
    return found[0]


def _named(magic: str, line: str, session: Session, notebook: Mapping[str, Any]) -> list[int]:
    found: dict[int, None] = {}
    total = len(session.view())
    for word in line.replace(",", " ").split():
        if word.isdecimal():
            if int(word) >= total:
                raise CellError(f"{magic}: there is no task {word}", "see %tasks")
            found[int(word)] = None
            continue
        if word not in notebook:
            raise CellError(f"{magic}: there is no variable '{word}' here", "give a task's number, see %tasks")
        futures = [f for f in find_futures(notebook[word]) if isinstance(f, ValueFuture)]
        if not futures:
            raise CellError(f"{magic}: '{word}' holds no future of a task", "give a task's number, see %tasks")
        own = [future for future in futures if future.owner is session.owner]
        if not own:  # its number is that of another task here
            what = f"{magic}: '{word}' is of {futures[0].describe()} of another session, which is not the current one"
            raise CellError(what, "run its cell again")
        found.update((future.tid, None) for future in own)
    if not found:
        raise CellError(f"{magic} needs to know which task", f"write {magic} NUMBER or {magic} NAME")
    return list(found)


def task_text(session: Session, tid: int) -> str:
    """All about one task."""
    with reading(session) as view:
        record = view.record(tid)
        inputs = [f"{view.label[dep]} (task {dep})" for dep in record.depends_on]
    lines = [f"{record.label} (task {tid}): {record.status}", f"executor   {record.executor}"]
    if record.cell is not None:
        lines.append(f"cell       [{record.cell.execution_count}], line {record.cell.line}")
    if inputs:
        lines.append(f"inputs     {', '.join(inputs[:10])}{', ...' if len(inputs) > 10 else ''}")
    lines.append(f"submitted  {_clock(record.submitted)}")
    if record.started:
        waited = duration(max(0.0, record.started - record.submitted))
        lines.append(f"started    {_clock(record.started)}, after {waited}")
    if record.ended:
        took = f", after {duration(record.ended - record.started)}" if record.started else ""
        lines.append(f"ended      {_clock(record.ended)}{took}")
    lines += [f"  {attempt}" for attempt in record.attempts]
    if record.error:
        lines.append(f"error      {record.error}")
    for stream, text in ((stream, plain_text(text)) for stream, text in session.printed(tid).items()):
        if text:
            cut = "..." if len(text) > _LAST else ""
            lines += [f"{stream}:", *(f"  {row}" for row in (cut + text[-_LAST:]).splitlines())]
    return "\n".join(lines)


def whence_text(session: Session, tid: int) -> str:
    """Where a value comes from, inputs of inputs indented below."""
    lines: list[str] = []
    told: set[int] = set()
    with reading(session) as view:
        stack = [(tid, 0)]
        while stack:
            number, depth = stack.pop()
            record = view.record(number)
            again = number in told
            lines.append("  " * depth + _origin(record) + (" (as above)" if again and record.depends_on else ""))
            told.add(number)
            if depth < _DEEPEST and not again:
                stack.extend((dep, depth + 1) for dep in reversed(record.depends_on))
    return "\n".join(lines)


def _origin(record: TaskRecord) -> str:
    words = [f"{record.label} (task {record.tid}): {record.status}"]
    if record.cell is not None:
        words.append(f"cell [{record.cell.execution_count}]")
    if record.worker:
        words.append(f"on {record.worker}")
    if record.started and record.ended:
        words.append(duration(record.ended - record.started))
    if record.fail_count:
        words.append(f"{record.fail_count} failed attempt{'' if record.fail_count == 1 else 's'}")
    return ", ".join(words)


def _unfinished(session: Session) -> list[int]:
    with reading(session) as view:
        return [tid for tid in range(len(view)) if view.state[tid] < DONE]


def _of_cell(session: Session, words: list[str]) -> list[int]:
    if len(words) != 1 or not words[0].strip("[]").isdecimal():
        raise CellError("%cancel --cell needs the number of a cell", "write %cancel --cell 4")
    count = int(words[0].strip("[]"))
    with reading(session) as view:
        made = [
            tid for tid in range(len(view)) if (cell := view.cell[tid]) is not None and cell.execution_count == count
        ]
        wanted = [tid for tid in made if view.state[tid] < DONE]
    if not made:
        raise CellError(f"%cancel --cell {count}: cell [{count}] made no tasks", "see %tasks")
    return wanted


def cancel_all(session: Session) -> int:
    """Cancel all tasks that are not over; returns how many were."""
    return sum(session.cancel(tid) for tid in reversed(_unfinished(session)))


def cancel_tasks(session: Session, line: str, notebook: Mapping[str, Any]) -> str:
    """Cancel the tasks that a line names; says how many were."""
    words = line.split()
    if words == ["--all"]:
        wanted = _unfinished(session)
    elif words[:1] == ["--cell"]:
        wanted = _of_cell(session, words[1:])
    else:
        wanted = _named("%cancel", line, session, notebook)
    left = [tid for tid in reversed(wanted) if not session.cancel(tid)]
    deadline = time.monotonic() + _PATIENCE
    while left and wanted != left and time.monotonic() < deadline:
        # One that gathers others runs for a moment where it cannot be stopped; then it waits for them, or ends as they do.
        running = set(_unfinished(session))
        left = [tid for tid in left if tid in running and not session.cancel(tid)]
        time.sleep(0.005)
    done = len(wanted) - len(left)
    rest = f"; {len(left)} had ended, or run where they cannot be stopped" if left else ""
    return f"cancelled {done} {'task' if done == 1 else 'tasks'}{rest}"


_PATIENCE = 0.5
"""Seconds that those which gather others may take to notice that these were cancelled."""


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{int(seconds % 1 * 1000):03d}"
