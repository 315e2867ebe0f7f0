"""Shoal as a ``concurrent.futures.Executor``, for every library that takes one."""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures as standard
from concurrent.futures import Future
from itertools import islice
from typing import Any, ParamSpec, TypeVar

import msgspec

from shoal.config import Config, current, new_session
from shoal.errors import ConfigurationError
from shoal.options import TaskOptions, checked_labels, checked_retries, checked_seconds
from shoal.place import in_task
from shoal.resources import Resources
from shoal.serialize import FunctionImage, InlineApp
from shoal.session import Session

__all__ = ["Executor"]

P = ParamSpec("P")
T = TypeVar("T")

_KEPT = 64
"""Functions whose images are kept, so that submitting one of them again is quick."""


class Executor(standard.Executor):
    """A ``concurrent.futures.Executor`` whose calls are tasks of a session.

    Futures among the arguments are awaited and replaced by their values, as for apps. Within a task, an executor without a
    session of its own runs its calls in place.

    Args:
        where: a Config, for a session of its own that begins now and ends at ``shutdown``; or a Session, which is left
            running; default: whichever session is the current one.
        executors: a label, labels to choose from, or ``"all"``.
        resources: what an attempt of a task needs; default: one core.
        retries: the budget of failures of each task; default: the session's.
        walltime: seconds that an attempt may run; default: as long as it takes.
        cache: take values from the store of results where they are there, and keep them there.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    def __init__(
        self,
        where: Config | Session | None = None,
        executors: str | Sequence[str] = "all",
        *,
        resources: Resources | None = None,
        retries: float | None = None,
        walltime: float | None = None,
        cache: bool = False,
    ) -> None:
        given: object = where
        if not (given is None or isinstance(given, Config | Session)):
            raise ConfigurationError("Executor(where)", given, "give a Config or a Session, or nothing")
        self._options = TaskOptions(
            executors=checked_labels(executors),
            resources=resources,
            retries=None if retries is None else checked_retries(retries),
            walltime=0.0 if walltime is None else checked_seconds("walltime", walltime),
            cache=cache,
        )
        self._lock = threading.Lock()
        self._images: OrderedDict[int, FunctionImage] = OrderedDict()
        self._futures: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        self._over = False
        self._owns = isinstance(where, Config)
        self._session = new_session(where) if isinstance(where, Config) else where

    # ------------------------------------------------------------------ concurrent.futures.Executor

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a task of one call; returns its :class:`~shoal.futures.TaskFuture` at once.

        Raises:
            RuntimeError: after ``shutdown``.
            ShoalError: the call cannot become a task; nothing was submitted.
        """
        return self._enter(fn, args, kwargs, self._options)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Call ``fn`` for the items of the iterables side by side; the calls are submitted now, all of them.

        Args:
            fn: the function.
            iterables: one for each argument; the shortest counts.
            timeout: seconds from now that the results may take.
            chunksize: calls in one task; more than 1 makes many short calls cheap.

        Returns:
            The results in order. The first call that failed raises when its turn comes, and the rest is cancelled.

        Raises:
            ValueError: ``chunksize`` is less than 1.
            RuntimeError: after ``shutdown``.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        by = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        made: list[Future[Any]] = []
        if chunksize == 1 or (self._session is None and in_task()):
            made = [self._enter(fn, call, {}, self._options) for call in calls]
        else:
            while chunk := list(islice(calls, chunksize)):
                names = tuple(map(str, range(len(chunk))))
                options = msgspec.structs.replace(self._options, each=True, outputs=names)
                task: Any = self._enter(fn, (chunk,), {}, options)
                made.extend(task.outputs[name] for name in names)
        return _results(made, by)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; a session of its own ends once what was submitted is over.

        Args:
            wait: return only then; False leaves that to a thread, and the interpreter does not exit before.
            cancel_futures: cancel what is not running yet.
        """
        with self._lock:
            first, self._over = not self._over, True
            self._images.clear()
            left = [future for future in self._futures if not future.done()]
        if cancel_futures:
            for future in left:
                if not future.running():
                    future.cancel()
        if wait:
            self._finish(left)
        elif first and self._owns:
            threading.Thread(target=self._finish, args=(left,), name="shoal-shutdown").start()

    def __repr__(self) -> str:
        """For people."""
        return f"<shoal.Executor on {self._session or 'the current session'}>"

    # ------------------------------------------------------------------ inside

    @property
    def _max_workers(self) -> int:
        """Libraries that take an executor (dask for one) ask by this name how many calls to keep going."""
        session = self._session or current(start=True)
        return max(1, sum(executor.slots() for executor in session.executors.values()))

    def _enter(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions
    ) -> Future[Any]:
        self._check_open()
        if self._session is None and in_task():
            return InlineApp(fn)(*args, **kwargs)
        session = self._session or current(start=True)
        future = session.enter(self._image(fn), args, kwargs, options)
        with self._lock:
            self._futures.add(future)
        if self._over and future.cancel():  # shutdown came meanwhile, and may not have seen it
            self._check_open()
        return future

    def _check_open(self) -> None:
        if self._over:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _image(self, fn: Callable[..., Any]) -> FunctionImage:
        """The image of a function; it keeps the function, so that its ``id`` stands for it."""
        with self._lock:
            image = self._images.get(id(fn))
            if image is None:
                if not callable(fn):
                    raise ConfigurationError("submit(fn)", fn, "give something that can be called")
                image = self._images[id(fn)] = FunctionImage(fn)
                if len(self._images) > _KEPT:
                    self._images.popitem(last=False)
            else:
                self._images.move_to_end(id(fn))
        return image

    def _finish(self, left: list[Future[Any]]) -> None:
        standard.wait(left)
        if self._owns and self._session is not None:
            self._session.close()


def _results(futures: list[Future[T]], by: float | None) -> Iterator[T]:
    """The values in order; what nobody waits for any more is cancelled. Futures are let go as they are used up."""
    futures.reverse()
    try:
        while futures:
            value = [futures[-1].result(None if by is None else max(0.0, by - time.monotonic()))]
            futures.pop()
            yield value.pop()
    finally:
        for future in futures:
            future.cancel()
