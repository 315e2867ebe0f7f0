"""Apps inside a task: they run where they are called."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from types import CoroutineType
from typing import Any

from shoal.containers import replace_futures

__all__ = ["InlineApp", "InlineFuture"]


class InlineFuture(Future[Any]):
    """The future of a call that is over when it returns. Where it travels, its value arrives in its place."""

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
        function: the app's plain function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> InlineFuture:
        """Run the function. Returns its finished future; what the function raises is for ``result()`` to raise."""
        future = InlineFuture()
        try:
            value = self.__wrapped__(*_settled(args), **_settled(kwargs))
            future.set_result(_awaited(value) if type(value) is CoroutineType else value)
        except Exception as error:  # noqa: BLE001 - the user's function: its error is for whoever asks for the result
            future.set_exception(error)
        return future

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """As a method: the instance becomes the first argument."""
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        """An app that travels further stays what it is here."""
        return (InlineApp, (self.__wrapped__,))


def _itself(value: Any) -> Any:
    return value


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The value of an asynchronous function; in a thread, for here an event loop may be running already."""
    import asyncio

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def _settled(tree: Any) -> Any:
    """``tree`` with its futures replaced by their values."""
    return replace_futures(tree, lambda future: future.result())
