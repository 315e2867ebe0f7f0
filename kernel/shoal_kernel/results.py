"""The results of a ``%%parallel`` cell: one future of the list of all values, and what appears below the cell while they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from shoal.events import CellRef
from shoal.futures import TaskFuture, ValueFuture
from shoal.session import Session
from shoal_kernel.endings import tell_when_over
from shoal_kernel.errors import explain
from shoal_kernel.gathered import Elements
from shoal_kernel.output import CellOutput
from shoal_kernel.progress import Progress
from shoal_kernel.resume import Key, Runs

__all__ = ["RUNS", "Place", "elements_of", "present"]

RUNS = Runs()
"""The last runs of the cells of this kernel."""

_made: WeakKeyDictionary[TaskFuture[Any], tuple[Sequence[ValueFuture[Any]], Sequence[Key | None]]] = WeakKeyDictionary()


class Place(NamedTuple):
    """Where results are shown.

    Args:
        output: the place below the cell.
        cell: the cell.
        quiet: show no line that says how far it is.
        began: when the cell began (``time.monotonic()``).
    """

    output: CellOutput
    cell: CellRef
    quiet: bool
    began: float


def present(
    session: Session,
    elements: Elements,
    futures: Sequence[ValueFuture[Any]],
    keys: Sequence[Key | None],
    place: Place,
    held: object = None,
) -> TaskFuture[list[Any]]:
    """Gather the values of elements, show how far they are, and remember them for the next run of the cell.

    Args:
        session: which makes the list.
        elements: the elements.
        futures: of the elements, in order.
        keys: what tells an element from others, also in another run.
        place: where it is shown.
        held: what the keys name by its place in memory, and so must stay.

    Returns:
        The future of the list.
    """
    RUNS.keep(elements.results, keys, futures, held)
    future = elements.gather(session, place.cell)
    _made[future] = (futures, keys)
    progress = Progress(place.output, future, elements, place.quiet, place.began)
    place.output.reserve(shows=False)
    tell_when_over(future, _Ending(place.output, progress, futures))
    return future


def elements_of(future: object) -> tuple[Sequence[ValueFuture[Any]], list[str]] | None:
    """The futures of the elements of a list, and what tells each from others in hexadecimal digits; empty where nothing does.

    Args:
        future: any value; None is returned if it is not the future of such a list.
    """
    made = _made.get(future) if isinstance(future, TaskFuture) else None
    if made is None:
        return None
    return made[0], ["" if key is None else (key[0] + key[1]).hex() for key in made[1]]


class _Ending:
    """Shows how a cell ended. Called on the callback thread, after all that its elements printed.

    Args:
        output: the place below the cell.
        progress: the line there.
        futures: of the elements.
    """

    def __init__(self, output: CellOutput, progress: Progress, futures: Sequence[ValueFuture[Any]]) -> None:
        self._output, self._progress, self._futures = output, progress, futures

    def __call__(self, future: TaskFuture[Any]) -> None:
        """Show the error, if there is one: the sentence, and the traceback of the first element that failed."""
        self._progress.end()
        outcome = future.outcome
        told = None if outcome is None else explain(outcome, future.describe())
        if told is None:
            return
        kind, message, lines = told
        for element in self._futures:
            first = None if element.outcome is None else explain(element.outcome, element.describe())
            if first is not None:
                lines = [*lines, "", "the first of them:", *first[2]]
                break
        self._output.error(kind, message, lines)
