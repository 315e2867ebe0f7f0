"""Waiting for many futures at once, with progress where somebody looks.

The futures may be of any kind that ``concurrent.futures`` knows, mixed. One waiter stands for all of them, so that ten
thousand cost little more than one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, NamedTuple, Self, TypeVar

from shoal.containers import find_futures, replace_futures
from shoal.errors import ShoalError
from shoal.futures import ValueFuture
from shoal.futures.crowd import Crowd
from shoal.futures.stopping import cancel_all, interrupts, waited_for
from shoal.outcome import Value

__all__ = ["Waited", "as_completed", "gather", "wait"]

T = TypeVar("T")

_PATIENCE = 2.0
"""Seconds of waiting before progress is shown."""

_MANY = 100_000
"""Futures from which on progress is looked at less often."""

_showing = threading.Lock()
"""Held while progress is on the screen: there is one place for it."""


class Waited(NamedTuple):
    """What :func:`wait` returns.

    Attributes:
        done: the futures that are over.
        not_done: the others.
    """

    done: set[Future[Any]]
    not_done: set[Future[Any]]


def gather(
    *futures: Any, progress: bool | None = None, return_exceptions: bool = False, timeout: float | None = None
) -> Any:
    """Wait for futures, and return their values in their place.

    Args:
        futures: futures, or lists, tuples, sets and dicts (nested, if you like) that hold some; an iterator counts as a list.
            What is no future stays as it is.
        progress: show how many are done, on stderr; default: if it takes longer than 2 s and somebody is likely to look (a
            terminal, a notebook).
        return_exceptions: put the exception in the place of a future that failed, rather than raise it.
        timeout: seconds to wait at most.

    Returns:
        One argument: the same structure with values; several, or none: a list.

    Raises:
        TimeoutError: not all are over in time. They go on.
        BaseException: what the first that failed raised, as soon as that is known; the others go on.
    """
    given = [list(item) if isinstance(item, Iterator) else item for item in futures]
    tree = given[0] if len(given) == 1 else given
    waiting = [future for future in find_futures(tree) if return_exceptions or not _has_value(future)]
    for future in _as_completed(waiting, _deadline(timeout), progress):
        if not return_exceptions and not _has_value(future):
            future.result()  # raises
    return replace_futures(tree, _value_or_error if return_exceptions else _value)


def as_completed(
    futures: Iterable[Future[T]], timeout: float | None = None, progress: bool | None = None
) -> Iterator[Future[T]]:
    """The futures one by one, each as soon as it is over; those that are over already come first.

    Args:
        futures: each is given once.
        timeout: seconds that all of it may take, from this call.
        progress: as for :func:`gather`.

    Raises:
        TypeError: something among them is no future.
        TimeoutError: not all are over in time.
    """
    return _as_completed(_checked(futures), _deadline(timeout), progress)


def wait(
    futures: Iterable[Future[Any]],
    timeout: float | None = None,
    return_when: str = ALL_COMPLETED,
    progress: bool | None = None,
) -> Waited:
    """Wait for futures, without asking for their values.

    Args:
        futures: each counts once.
        timeout: seconds to wait at most; no error if they pass.
        return_when: ``ALL_COMPLETED``, ``FIRST_COMPLETED`` or ``FIRST_EXCEPTION``, as in ``concurrent.futures``.
        progress: as for :func:`gather`.

    Returns:
        The futures that are over, and the others, as two sets.

    Raises:
        TypeError: something among them is no future.
        ValueError: there is no such ``return_when``.
    """
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(f"return_when={return_when!r}: use ALL_COMPLETED, FIRST_COMPLETED or FIRST_EXCEPTION")
    known = _checked(futures)
    done: set[Future[Any]] = set()
    ended = _ending(known, _deadline(timeout), progress)
    while (future := next(ended, None)) is not None:
        done.add(future)
        if _enough(future, return_when):
            break
    ended.close()
    if return_when != ALL_COMPLETED:  # those that had ended by then as well
        done.update(future for future in known if future.done())
    return Waited(done, set(known) - done)


# --------------------------------------------------------------------------- inside


def _checked(futures: Iterable[Future[T]]) -> list[Future[T]]:
    known = list(futures)
    for item in known:
        found: object = item
        if not isinstance(found, Future):
            what = type(found).__name__
            raise TypeError(f"expected futures, found a {what}; shoal.gather takes structures of futures")
    return list(dict.fromkeys(known))


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _as_completed(futures: list[Future[T]], by: float | None, progress: bool | None) -> Iterator[Future[T]]:
    given = 0
    for future in _ending(futures, by, progress):
        given += 1
        yield future
    if given < len(futures):
        raise TimeoutError(f"{len(futures) - given} (of {len(futures)}) futures unfinished")


def _ending(futures: list[Future[T]], by: float | None, progress: bool | None) -> Generator[Future[T]]:
    """The futures as they end, until it is ``by``."""
    if not futures:
        return
    began, delay = time.monotonic(), _delay(progress)
    for future in futures:
        if isinstance(future, ValueFuture) and not future.done():
            future.owner.check_process()
    with Crowd(futures) as crowd:
        try:
            if delay and (by is None or by > began + delay):
                yield from crowd.until(began + delay)
                if not crowd.pending:
                    return
            with _display(futures, delay, began):
                yield from crowd.until(by)
        except KeyboardInterrupt as error:
            left = [future for future in crowd.pending if not future.done()]
            interrupts().stopped(error, lambda: cancel_all(left), waited_for(left))
            raise


def _has_value(future: Future[Any]) -> bool:
    """Whether it is over and has a value. Asking a task's future loads nothing."""
    if isinstance(future, ValueFuture):
        return future.done() and isinstance(future.outcome, Value)
    return future.done() and not future.cancelled() and future.exception() is None


def _value(future: Future[Any]) -> Any:
    return future.result()


def _value_or_error(future: Future[Any]) -> Any:
    if future.cancelled():
        return CancelledError()
    error = future.exception()
    if error is not None:
        return error
    try:
        return future.result()
    except ShoalError as unreadable:
        return unreadable


def _enough(future: Future[Any], return_when: str) -> bool:
    if return_when == FIRST_EXCEPTION:
        return not future.cancelled() and not _has_value(future)
    return return_when == FIRST_COMPLETED


# --------------------------------------------------------------------------- progress


def _delay(progress: bool | None) -> float | None:
    """Seconds until progress is shown; None for never."""
    if progress is None:
        return _PATIENCE if _somebody_looks() else None
    return 0.0 if progress else None


def _somebody_looks() -> bool:
    stderr: Any = sys.stderr
    return stderr is not None and (stderr.isatty() or _in_notebook())


def _in_notebook() -> bool:
    library = sys.modules.get("IPython")
    shell = library.get_ipython() if library is not None else None
    return hasattr(shell, "kernel")


def _display(futures: list[Any], delay: float | None, began: float) -> AbstractContextManager[Any]:
    return nullcontext() if delay is None else _Display(_Count(futures, began))


class _Count:
    """How many of some futures are over, and how many of these without a value."""

    def __init__(self, futures: list[Future[Any]], began: float) -> None:
        self.total = len(futures)
        self.failed = 0
        self._pending = futures
        self._began = began

    def text(self) -> str:
        """``17/40 done, 1 failed, 0:00:12``."""
        pending = []
        for future in self._pending:
            if not future.done():
                pending.append(future)
            elif not _has_value(future):
                self.failed += 1
        self._pending = pending
        failed = f", {self.failed} failed" if self.failed else ""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{self.done}/{self.total} done{failed}, {minutes // 60}:{minutes % 60:02}:{seconds:02}"

    def pause(self) -> float:
        """Seconds between two looks."""
        return 0.25 if self.total < _MANY else 1.0

    @property
    def done(self) -> int:
        """How many are over."""
        return self.total - len(self._pending)


class _Display:
    """Progress on the screen within a block, gone after it. Only the first of several at a time shows."""

    def __init__(self, count: _Count) -> None:
        self._count = count
        self._picture: _Terminal | _Notebook | None = None

    def __enter__(self) -> Self:
        if _showing.acquire(blocking=False):
            self._picture = _Notebook(self._count) if _in_notebook() else _Terminal(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        if self._picture is not None:
            self._picture.end()
            _showing.release()


class _Terminal:
    """Two lines below what the program prints, drawn by rich."""

    def __init__(self, count: _Count) -> None:
        from rich.console import Console, Group  # slow to load, and few wait long enough
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        def picture() -> Group:
            text = count.text()
            return Group(Text(text), ProgressBar(count.total, count.done, width=40))

        self._count = count
        self._console = Console(stderr=True)
        often = 1 / count.pause()
        self._live = Live(console=self._console, get_renderable=picture, transient=True, refresh_per_second=often)
        self._live.start(refresh=True)

    def end(self) -> None:
        """Erase it; a file, which shows nothing until then, gets the last count."""
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print(self._count.text())


class _Notebook:
    """One output of the cell that waits, updated in its place. What the cell prints meanwhile has outputs of its own."""

    def __init__(self, count: _Count) -> None:
        self._count = count
        display: Any = import_module("IPython.display").display  # it is there: this is a notebook
        self._output = display(self._look(), raw=True, display_id=True)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="shoal-progress", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Leave the output empty."""
        self._over.set()
        self._thread.join()
        self._output.update({"text/plain": "", "text/html": ""}, raw=True)

    def _draw(self) -> None:
        while not self._over.wait(self._count.pause()):
            self._output.update(self._look(), raw=True)

    def _look(self) -> dict[str, str]:
        text = self._count.text()
        bar = f'<progress value="{self._count.done}" max="{self._count.total}"></progress>'
        return {"text/plain": text, "text/html": f"{bar} {text}"}
