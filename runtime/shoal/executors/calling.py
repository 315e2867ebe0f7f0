"""Calling the function of a task in this process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.containers import find_futures, replace_futures
from shoal.executors.executor import Call
from shoal.outcome import Held, Raised, split_outputs
from shoal.serialize import InlineFuture

__all__ = ["Arguments", "call_here", "outcome_of"]


Arguments = tuple[Sequence[Any], Mapping[str, Any]]


def call_here(call: Call, arguments: Callable[[], Arguments]) -> tuple[list[Held | Raised], Raised | None]:
    """Run a call.

    Args:
        call: the function, and what is to become of its value.
        arguments: gives its arguments, with values where futures stood; it may raise what reading them raises.

    Returns:
        The values, one an output, and None; or nothing, and what was raised.
    """
    given = outcome_of(arguments)
    if isinstance(given, Raised):
        return [], given
    args, kwargs = given.object
    if call.each:
        return [outcome_of(lambda item=item: _value(call.function, item, kwargs)) for item in args[0]], None  # type: ignore[misc]
    value = outcome_of(lambda: split_outputs(_value(call.function, args, kwargs), call.outputs, call.label))
    return ([], value) if isinstance(value, Raised) else ([Held(item) for item in value.object], None)


def outcome_of(function: Callable[[], Any]) -> Held | Raised:
    """What a function returns, or raises: then with a traceback that begins at the user's code, and holds nothing of ours."""
    try:
        return Held(function())
    except BaseException as error:  # noqa: BLE001 - the task's own code: whatever it raises is its outcome
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        return Raised(BaseException.with_traceback(error, trace))


def _value(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    before = InlineFuture.made
    result = function(*args, **kwargs)
    if inspect.iscoroutine(result) and _is_async(function):
        import asyncio

        result = asyncio.run(result)
    if InlineFuture.made != before and any(isinstance(future, InlineFuture) for future in find_futures(result)):
        return replace_futures(result, lambda future: future.result() if isinstance(future, InlineFuture) else future)
    return result


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine: an asynchronous function, or an object with an asynchronous ``__call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
