"""The results of a ``%%parallel`` cell: one future of the list of all values, and what appears below the cell while they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from shoal.events import CellRef
from shoal.futures import TaskFuture, ValueFuture
from shoal.outcome import Failure, Raised
from shoal.session import Session
from shoal_kernel.cells.gathered import Elements
from shoal_kernel.cells.progress import Progress
from shoal_kernel.cells.resume import Key, Runs
from shoal_kernel.notebook.kept import Kept, keep_failed
from shoal_kernel.output.advice import advice
from shoal_kernel.output.endings import tell_when_over
from shoal_kernel.output.errors import explain
from shoal_kernel.output.place import CellOutput

__all__ = ["RUNS", "Place", "elements_of", "present", "spread"]

_KEPT = 5
"""Elements of one cell that failed, of which it is kept what they had."""

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
        had: what the element at a place had, for those that fail.
    """

    output: CellOutput
    cell: CellRef
    quiet: bool
    began: float
    had: Callable[[int], Kept] | None = None


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
    tell_when_over(future, _Ending(session, place, progress, futures))
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


def spread(value: Any) -> Any:
    """A list of elements that are still being made as the futures of these: what takes it can wait for them in a pool that lasts.

    The list itself is put together in the kernel, which may end before that.

    Args:
        value: of a variable; anything else stays as it is.
    """
    made = _made.get(value) if isinstance(value, TaskFuture) and not value.done() else None
    return value if made is None else list(made[0])


class _Ending:
    """Shows how a cell ended. Called on the callback thread, after all that its elements printed.

    Args:
        session: the tasks'.
        place: where it is shown.
        progress: the line there.
        futures: of the elements.
    """

    def __init__(self, session: Session, place: Place, progress: Progress, futures: Sequence[ValueFuture[Any]]) -> None:
        self._session, self._place, self._progress, self._futures = session, place, progress, futures

    def __call__(self, future: TaskFuture[Any]) -> None:
        """Show the error, if there is one: the sentence, and the traceback of the first element that failed."""
        outcome = future.outcome
        told = None if outcome is None else explain(outcome, future.describe())
        if told is not None:
            self._keep_failed(future)
        self._progress.end()
        if told is None:
            return
        kind, message, lines = told
        for element in self._futures:
            first = None if element.outcome is None else explain(element.outcome, element.describe())
            if first is not None:
                own = element.owner is future.owner
                more = advice(self._session, element) if own else []
                lines = [*lines, "", "the first of them:", *first[2], *more]
                break
        self._place.output.error(kind, message, lines)

    def _keep_failed(self, whole: TaskFuture[Any]) -> None:
        """What the first elements had that failed stays for ``%retry --here``; that of the very first for the whole, too."""
        had, count = self._place.had, 0
        for index, element in enumerate(self._futures if had is not None else ()):
            if isinstance(element.outcome, Failure | Raised) and element.owner is whole.owner and had is not None:
                keep_failed(self._session.run_id, element.tid, had(index))
                if not count:
                    keep_failed(self._session.run_id, whole.tid, had(index))
                count += 1
                if count >= _KEPT:
                    return
