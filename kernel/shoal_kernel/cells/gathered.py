"""The elements of one ``%%parallel`` cell as one value: a list, or one error that names those that failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from shoal.errors import CellError
from shoal.events import CellRef
from shoal.futures import TaskFuture, ValueFuture
from shoal.options import TaskOptions
from shoal.outcome import Held, Value
from shoal.serialize import FunctionImage
from shoal.session import Session
from shoal_kernel.output.failed import ElementsFailed, Flaw, flaw_of

__all__ = ["Elements"]


class _Nobody:
    """Owns what no session has made."""

    def load_value(self, value: Any, task: str) -> NoReturn:
        """There is none that is packed."""
        raise NotImplementedError(task)

    def load_failure(self, failure: Any) -> NoReturn:
        """There is none."""
        raise NotImplementedError(failure)

    def request_cancel(self, tid: int) -> bool:
        """It cannot be."""
        return False

    def lift(self, future: ValueFuture[Any], operation: str, key: Any) -> NoReturn:
        """It has no items."""
        raise CellError(f"{future.describe()} has no parts", "take them of the results")

    def record_of(self, tid: int) -> Any:
        """There is no record."""

    def check_process(self) -> None:
        """It is settled where it is waited for."""

    def state_of(self, tid: int) -> str | None:
        """It waits, as long as it is not over."""
        return "waiting"


class Elements:
    """The elements of one cell, counted as they end.

    Args:
        results: the name that gets the list.
        label: the name of the cell's tasks.
        told: each element, as people know it.
        futures: the element's futures, in order.
        kept: how many of them are of a run before; None if no element can be told from another.

    Attributes:
        results, label: as given.
        kept: how many are of a run before.
        total, done, failed: how many there are, have a value, and have none.
    """

    def __init__(
        self,
        results: str,
        label: str,
        told: Callable[[int], str],
        futures: Sequence[ValueFuture[Any]],
        kept: int | None,
    ) -> None:
        self.results, self.label = results, label
        self.kept, self._resumes = kept or 0, kept is not None
        self.total, self.done, self.failed = len(futures), 0, 0
        self._told, self._futures = told, futures
        self._flaws: list[Flaw] = []
        self._lock = threading.Lock()
        self._all_over: ValueFuture[None] = ValueFuture(_Nobody(), -1, f"{len(futures):,} elements of {label}")

    def gather(self, session: Session, cell: CellRef) -> TaskFuture[list[Any]]:
        """The future of the list.

        Args:
            session: which makes it.
            cell: the cell.
        """
        # on a thread of the session, as what join apps return: a future waits there without taking a worker
        name = f"{self.results} of {self.label}"
        options = TaskOptions(label=name, join=True, hold=False)
        image = FunctionImage(Elements.values, name)
        future = session.enter(image, (self, self._all_over), {}, options, cell)
        future.add_done_callback(self._results_over)
        for index, element in enumerate(self._futures):
            if element.done():  # the callback thread has enough to do
                self._over(index, element)
            else:
                element.add_done_callback(partial(self._over, index))
        if not self._futures:
            self._all_over.settle(Held(None))
        return future

    def values(self, _all_over: object = None) -> list[Any]:
        """The values, once all elements are over.

        Raises:
            ElementsFailed: some have none.
        """
        if self._flaws:
            flaws = sorted(self._flaws)
            error = ElementsFailed(self.results, self.total, tuple(map(tuple, flaws)), self._resumes)
            error.futures = self._futures
            first = self._futures[flaws[0].place]
            raise error from None if first.cancelled() else first.exception()
        return [future.result() for future in self._futures]

    def cancel(self) -> int:
        """Cancel what is not over; returns how many were."""
        tasks = {(id(future.owner), future.tid): future for future in self._futures if not future.done()}
        return sum(future.owner.request_cancel(future.tid) for future in reversed(tasks.values()))

    def _over(self, index: int, future: ValueFuture[Any]) -> None:
        good = isinstance(future.outcome, Value)
        with self._lock:
            if good:
                self.done += 1
            else:
                self.failed += 1
                self._flaws.append(flaw_of(index, self._told(index), future))
            over = self.done + self.failed == self.total
        if over:
            self._all_over.settle(Held(None))

    def _results_over(self, future: TaskFuture[Any]) -> None:
        if future.cancelled():
            self.cancel()
