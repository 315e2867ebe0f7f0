"""Errors as people see them in a notebook: short where Shoal says no, the remote traceback where a task failed."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shoal.errors import ShoalError
from shoal.outcome import Failure, JoinFailed, Outcome, Raised, Skipped, in_one_line

__all__ = ["Explained", "cell_name", "explain", "is_inside", "own_frames", "saying_no", "short"]

Explained = tuple[str, str, list[str]]
"""Type, message and lines of an error, as front ends take them."""

_REPORT = "<report> of "
"""What stands before a cell's task where another one only waited for its end."""

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"
_ENTRY = re.compile(r'  File "(?P<file>[^"]*)", line (?P<line>\d+).*\n(?P<source>(?:    .*\n)*)')
_INSIDE = re.compile(r"[/\\](?:(?:shoal|shoal_kernel)[/\\][\w/\\]+|asyncio[/\\](?:runners|base_events))\.py$")
_FILE = re.compile(r'File "([^"\n]+)", line')
_CELL = re.compile(r"<(Cell In\[\d+\])>")


def short(error: ShoalError) -> ShoalError:
    """Make IPython show an error as its one sentence, without the stack of internals; to be raised ``from None``.

    IPython asks an exception for ``_render_traceback_`` before it formats anything itself.
    """
    line = f"{_RED}{type(error).__name__}{_PLAIN}: {error}"
    setattr(error, "_render_traceback_", lambda: [line])  # noqa: B010 - the class has no such attribute
    return error


@contextmanager
def saying_no() -> Iterator[None]:
    """Shoal's own errors are shown as their one sentence, without the stack of internals."""
    try:
        yield
    except ShoalError as error:
        raise short(error) from None


def explain(outcome: Outcome, task: str) -> Explained | None:
    """How a task failed, for the place below its cell.

    Args:
        outcome: how the task ended.
        task: the words for it.

    Returns:
        What to show; None if it did not fail.
    """
    if isinstance(outcome, JoinFailed):
        outcome = outcome.origin
    if isinstance(outcome, Skipped):
        via = " <- ".join(outcome.path).replace(_REPORT, "")
        line = f"{task} did not run: its input failed ({via}): {in_one_line(outcome.root)}"
        return "DependencyError", line, [f"{_RED}DependencyError{_PLAIN}: {line}"]
    if isinstance(outcome, Raised):
        error = outcome.error
        text = "" if isinstance(error, ShoalError) else "".join(traceback.format_exception(error))
        return _told(type(error).__qualname__, str(error), text)
    if isinstance(outcome, Failure):
        return _told(outcome.type_name, outcome.message, "" if outcome.lost else outcome.traceback)
    return None


def _entry(entry: re.Match[str]) -> str:
    """A frame of the user's own, with its source; nothing for one of Shoal's."""
    if _INSIDE.search(entry["file"]):
        return ""
    if entry["source"]:
        return entry[0]
    source = linecache.getline(entry["file"], int(entry["line"])).strip()  # the worker has no text of plain cells
    return f"{entry[0]}    {source}\n" if source else entry[0]


def cell_name(shell: Any, file: str) -> str:
    """What people call a file of code: ``Cell In[3]`` for a notebook's cell, else the file's own name.

    Args:
        shell: the running IPython shell, which knows the files of its cells; None if there is none.
        file: the file name of a code object.
    """
    task_cell = _CELL.fullmatch(file)
    if task_cell is not None:
        return task_cell[1]
    known = shell.compile.format_code_name(file) if shell is not None else None
    return " ".join(known) if known else file


def _cell_or_file(match: re.Match[str]) -> str:
    from IPython.core.getipython import get_ipython

    name = cell_name(get_ipython(), match[1])
    return match[0] if name == match[1] else f"{name}, line"


def is_inside(file: str) -> bool:
    """Whether a file of code is Shoal's own, which is no news to people."""
    return _INSIDE.search(file) is not None


def own_frames(text: str) -> str:
    """A traceback without frames of Shoal's own, and with the names of cells that people know."""
    return _FILE.sub(_cell_or_file, _ENTRY.sub(_entry, text))


def _told(kind: str, message: str, text: str) -> Explained:
    kind = kind.removeprefix("__main__.")
    kept = own_frames(text).rstrip("\n")
    shown = kind.removeprefix("shoal.errors.")  # known enough without
    for name in (kind, kind.rpartition(".")[2]):
        head, found, tail = kept.rpartition(f"\n{name}")
        if found and head and tail[:1] in ("", ":", "\n"):
            above = head.splitlines() if "\n" in head else []  # one line: no frame of the user's own in it
            return shown, message, [*above, f"{_RED}{shown if name == kind else name}{_PLAIN}{tail}"]
    return shown, message, [f"{_RED}{shown}{_PLAIN}: {message}"]
