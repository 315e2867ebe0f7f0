"""Calling the function of a task in this process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.executors.executor import Call
from shoal.outcome import Held, Raised, split_outputs

__all__ = ["Arguments", "call_here"]


Arguments = tuple[Sequence[Any], Mapping[str, Any]]


def call_here(call: Call, arguments: Callable[[], Arguments]) -> tuple[list[Held | Raised], Raised | None]:
    """Run a call.

    Args:
        call: the function, and what is to become of its value.
        arguments: gives its arguments, with values where futures stood; it may raise what reading them raises.

    Returns:
        The values, one an output, and None; or nothing, and what was raised.
    """
    given = _outcome(arguments)
    if isinstance(given, Raised):
        return [], given
    args, kwargs = given.object
    if call.each:
        return [_outcome(lambda item=item: _value(call.function, item, kwargs)) for item in args[0]], None  # type: ignore[misc]
    value = _outcome(lambda: split_outputs(_value(call.function, args, kwargs), call.outputs, call.label))
    return ([], value) if isinstance(value, Raised) else ([Held(item) for item in value.object], None)


def _outcome(function: Callable[[], Any]) -> Held | Raised:
    try:
        return Held(function())
    except BaseException as error:  # noqa: BLE001 - the task's own code: whatever it raises is its outcome
        return Raised(error)


def _value(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    result = function(*args, **kwargs)
    if inspect.iscoroutine(result) and _is_async(function):
        import asyncio

        return asyncio.run(result)
    return result


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine: an asynchronous function, or an object with an asynchronous ``__call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
