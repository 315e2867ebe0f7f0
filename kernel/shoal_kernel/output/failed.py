"""The error of a ``%%parallel`` cell whose elements have not all a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from shoal.errors import TaskError
from shoal.futures import ValueFuture
from shoal.outcome import Failure, JoinFailed, Raised, Skipped, in_one_line

__all__ = ["ElementsFailed", "Flaw", "flaw_of"]

_TOLD = 3
_CELL = re.compile(r"<Cell In\[\d+\]>|Cell In\[\d+\]")


class Flaw(NamedTuple):
    """One element without a value.

    Args:
        place: from 0.
        element: the element, as people know it: ``x=3``.
        error: why, in one line.
        line: the line of the cell that failed; 0 where there is none.
        task: the number of its task.
    """

    place: int
    element: str
    error: str
    line: int
    task: int

    def __str__(self) -> str:
        """For people."""
        where = f" (line {self.line})" if self.line else ""
        return f"{self.element}: {self.error}{where}"


class ElementsFailed(TaskError):
    """Elements of a ``%%parallel`` cell failed. ``__cause__`` is what the first of them failed with.

    Args:
        results: the name that was to get the results.
        total: how many elements there are.
        flaws: those that failed, by their places.
        resumes: whether the others do not run again with the cell.

    Attributes:
        futures: of all elements, in order, those that have values among them; empty where the error has travelled.
    """

    def __init__(self, results: str, total: int, flaws: Sequence[tuple[Any, ...]], resumes: bool = True) -> None:
        told = [str(Flaw(*flaw)) for flaw in flaws[:_TOLD]]
        more = f"\n    and {len(flaws) - _TOLD:,} more" if len(flaws) > _TOLD else ""
        again = "; elements that have their value do not run again" if resumes else ""
        noun = "element" if total == 1 else "elements"
        super().__init__(
            f"{len(flaws):,} of {total:,} {noun} failed, so that '{results}' has no value. "
            f"Fix: correct the cell or its data and run it again{again}."
            + "".join(f"\n    {line}" for line in told)
            + more
        )
        self.results, self.total, self.flaws = results, total, tuple(flaws)
        self.futures: Sequence[ValueFuture[Any]] = ()


def flaw_of(place: int, element: str, future: ValueFuture[Any]) -> Flaw:
    """Why an element has no value.

    Args:
        place: which of the elements it is, from 0.
        element: the element, as people know it.
        future: its future, which is over.
    """
    outcome = future.outcome
    if outcome is None:
        return Flaw(place, element, "it was cancelled", 0, future.tid)
    assert isinstance(outcome, Failure | Raised | Skipped | JoinFailed), "it has no value"
    return Flaw(place, element, in_one_line(outcome), _line(outcome), future.tid)


def _line(outcome: Any) -> int:
    if isinstance(outcome, Failure):
        lines = [place.line for place in outcome.lines if _CELL.fullmatch(place.file)]
        return lines[-1] if lines else 0
    trace = outcome.error.__traceback__ if isinstance(outcome, Raised) else None
    line = 0
    while trace is not None:
        if _CELL.fullmatch(trace.tb_frame.f_code.co_filename):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
