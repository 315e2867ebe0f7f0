"""Apps inside a task: they run where they are called."""

from __future__ import annotations

import functools
import operator
import os
import reprlib
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import CoroutineType
from typing import Any, ClassVar, NoReturn

from shoal.containers import replace_futures
from shoal.files import File
from shoal.place import enter_thread

__all__ = ["InlineApp", "InlineFuture"]


class InlineFuture(Future[Any]):
    """The future of a call that is over when it returns. Where it travels, its value arrives in its place.

    Attributes:
        made: goes up with each of them in this process: what a task returns is looked at if it went up meanwhile.
        outputs: a future for each file that the call promised to make.
    """

    made: ClassVar[int] = 0
    outputs: list[InlineFuture]

    def __init__(self) -> None:
        super().__init__()
        InlineFuture.made += 1
        self.outputs = []

    def task_status(self) -> str:
        """``done`` or ``failed``: the call is over."""
        return "done" if self.exception() is None else "failed"

    def __shoal_lift__(self, take: Callable[[Any], Any]) -> InlineFuture:
        """The future of what ``take`` makes of the value; it fails as this one did."""
        return InlineApp(take)(self)

    def __getitem__(self, key: Any) -> InlineFuture:
        """The future of ``value[key]``."""
        return self.__shoal_lift__(operator.itemgetter(key))

    def __iter__(self) -> NoReturn:
        """Refused, as for any future."""
        raise TypeError(f"{self!r} is not a sequence: write .result() first, or pass it to an app")

    def __repr__(self) -> str:
        """How the call ended, with its value or error in short."""
        error = self.exception()
        ended = f"failed: {type(error).__name__}: {error}" if error is not None else reprlib.repr(self.result())
        return f"<InlineFuture: {ended}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the value; a failed call fails whatever was to take its value along."""
        return (_itself, (self.result(),))

    def __await__(self) -> Generator[Any, None, Any]:
        """Await the value: it is there."""
        yield from ()
        return self.result()


class InlineApp:
    """What an app becomes where a task mentions it: calling it runs the function at once.

    Futures among the arguments (of other apps that ran in place) are replaced by their values, as for any app.

    Args:
        function: what to run: the app's plain function, or one around it that knows of special keywords. That one has it as
            ``__wrapped__``, and says as ``__shoal_binds__`` what it becomes a method of.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._run = function
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The plain function."""
        # looked up on use: where an app is rebuilt on a worker, attributes of its function come last
        wrapped: Callable[..., Any] = self._run if self._binds() is None else self._run.__wrapped__  # type: ignore[attr-defined]
        return wrapped

    def __getattr__(self, name: str) -> Any:
        """What else the plain function has."""
        if name == "_run":
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def _binds(self) -> str | None:
        return getattr(self._run, "__shoal_binds__", None)

    def __call__(self, /, *args: Any, **kwargs: Any) -> InlineFuture:
        """Run the function. Returns its finished future; what the function raises is for ``result()`` to raise."""
        future = InlineFuture()
        try:
            value = self._run(*_settled(args), **_settled(kwargs))
            future.set_result(_awaited(value) if type(value) is CoroutineType else value)
        except Exception as error:  # noqa: BLE001 - the user's function: its error is for whoever asks for the result
            future.set_exception(error)
        if "outputs" in kwargs:
            future.outputs = _files(kwargs["outputs"], future)
        return future

    def map(self, /, *iterables: Iterable[Any], chunksize: int | str = "auto", **fixed: Any) -> list[InlineFuture]:
        """Run the function for the elements of iterables, one after the other."""
        return [self(*item, **fixed) for item in zip(*iterables, strict=False)]

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """As a method: the instance, or the class, becomes the first argument, as it does for the app."""
        binds = self._binds()
        if binds == "class":
            return functools.partial(self, type(instance) if owner is None else owner)
        return self if instance is None or binds == "" else functools.partial(self, instance)

    def __repr__(self) -> str:
        """For people."""
        return f"<app {getattr(self._run, '__name__', type(self._run).__name__)}, run in place>"

    def __reduce__(self) -> tuple[Any, ...]:
        """An app that travels further stays what it is here."""
        return (InlineApp, (self._run,))


def _itself(value: Any) -> Any:
    return value


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The value of an asynchronous function; in a thread, for here an event loop may be running already."""
    import asyncio

    with ThreadPoolExecutor(1, initializer=enter_thread) as thread:
        return thread.submit(copy_context().run, asyncio.run, coroutine).result()


def _files(outputs: Any, made: InlineFuture) -> list[InlineFuture]:
    """The futures of promised files, which end as the call did."""
    if not isinstance(outputs, list | tuple) or not all(isinstance(item, str | os.PathLike) for item in outputs):
        return []
    futures = [InlineFuture() for _ in outputs]
    for future, item in zip(futures, outputs, strict=True):
        error = made.exception()
        if error is None:
            future.set_result(item if isinstance(item, File) else File(item))
        else:
            future.set_exception(error)
    return futures


def _settled(tree: Any) -> Any:
    """``tree`` with its futures replaced by their values."""
    return replace_futures(tree, lambda future: future.result())
