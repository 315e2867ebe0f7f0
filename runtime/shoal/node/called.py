"""The worker's half of python and join apps: functions around users' functions that know of special keywords.

They are closures, so that the capture rule follows them to the user's function, and their code travels with it; all that
they do themselves is in functions that are imported where they arrive.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from shoal.containers import replace_futures
from shoal.node.led import check_outputs, redirected
from shoal.node.special import PLAN, described, name_of, take_plan
from shoal.place import enter_thread, in_task

__all__ = ["awaited", "call_join", "call_python", "dressed", "join_function", "python_function"]


def python_function(function: Callable[..., Any], binds: str = "") -> Callable[..., Any]:
    """A function that takes the special keywords of a python app, and calls ``function``."""

    def run(*args: Any, **kwargs: Any) -> Any:
        return call_python(function, args, kwargs)

    return dressed(run, function, binds)


def join_function(function: Callable[..., Any], binds: str = "") -> Callable[..., Any]:
    """A function that takes the special keywords of a join app, and calls ``function``.

    It returns what that returns: futures and all; in a call inside a task with their values in place.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        return call_join(function, args, kwargs)

    return dressed(run, function, binds)


def dressed(run: Callable[..., Any], function: Callable[..., Any], binds: str) -> Callable[..., Any]:
    """``run``, with what an app inside a task has to know of the app.

    Args:
        run: the closure.
        function: the plain function.
        binds: what it becomes a method of: an ``instance``, the ``class``, or nothing.
    """
    run.__name__ = str(getattr(function, "__name__", type(function).__name__))
    run.__qualname__ = f"shoal.{run.__name__}"
    run.__annotations__ = {}
    vars(run).update(__wrapped__=function, __shoal_binds__=binds)
    return run


def call_python(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function with its streams led to files, and see to its outputs.

    Raises:
        BadStdStreamFile: a file cannot be opened.
        MissingOutputs: it did not make what it promised.
    """
    args, kwargs, plan = take_plan(function, "python", args, kwargs)
    if not plan.is_needed():
        return function(*args, **kwargs)
    with redirected(plan):
        value = function(*args, **kwargs)
        if type(value) is CoroutineType:
            value = awaited(value)
    check_outputs(plan)
    return value


def call_join(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the body of a join app. Inside a task the apps that it calls run there, and their values take their places.

    Raises:
        TypeError: it returned something that gives futures one by one: they would never be waited for.
    """
    inside = in_task()
    if inside or PLAN in kwargs:
        args, kwargs, _ = take_plan(function, "join", args, kwargs)
    value = function(*args, **kwargs)
    if type(value) is CoroutineType:
        value = awaited(value)
    if isinstance(value, Iterator | AsyncIterator):
        what = f"join_app {name_of(function)} returned {described(value).removeprefix('not ')}"
        raise TypeError(
            f"{what}: return a list, as in list(...) or [... for ...], so that its futures can be waited for"
        )
    # elsewhere the session waits for what is in it
    return replace_futures(value, lambda future: future.result()) if inside else value


def awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The value of an asynchronous function; in a thread of its own where an event loop runs on this one."""
    import asyncio  # slow to load, and few tasks need it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1, initializer=enter_thread if in_task() else None) as thread:
        return thread.submit(copy_context().run, asyncio.run, coroutine).result()
