"""What an adapter's executor runs: one task, wherever that executor puts it.

The function here is module-level, so that any executor can send it by name; what it gets and gives are messages of the
wire made of plain ``bytes``. It never raises for what a task does. Where it runs is a place that belongs to somebody
else (a process of another pool, a thread of another library), so it leaves nothing behind but the code that it keeps.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType
from typing import Any, TypeVar

from shoal.errors import ShoalError
from shoal.node.called import awaited
from shoal.node.missing import located, unreadable
from shoal.outcome import Failure, Payload, split_outputs
from shoal.place import task_on_this_thread
from shoal.serialize import Rebuilder, pack, pack_failure, unpack, unpack_call
from shoal.wire.messages import NeedBlob, Result, Task

__all__ = ["at_home", "home", "run"]

T = TypeVar("T")

_EMPTY = Payload(b"")

_token = secrets.token_hex(8)

_lock = threading.RLock()
"""Rebuilding a task's function changes what the process knows of notebooks' classes and modules: one at a time."""

_rebuilder = Rebuilder()

at_home: dict[tuple[int, int, int], Callable[..., Any]] = {}
"""Functions of this process's own attempts: those of an executor that runs in this very process are called as they are,
since rebuilding them would touch the modules and classes that the user works with."""


def home() -> tuple[str, int]:
    """Names this process: no other has the same token and the same number."""
    return (_token, os.getpid())


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


def run(task: Task, code: bytes | None, origin: tuple[str, int], key: tuple[int, int, int]) -> Result | NeedBlob:
    """Execute one task.

    Args:
        task: the task, with plain payloads and its captures inline.
        code: its code blob; None if it is large, for it may be here already.
        origin: the :func:`home` of the process that sent it.
        key: where its function is in ``at_home``, in that process.

    Returns:
        How it ended; or that its code is wanted.
    """
    function = at_home.get(key) if origin == home() else None
    if function is None and code is None and not _rebuilder.has(task.code):
        return NeedBlob([task.code])
    with task_on_this_thread():
        started = time.time()
        values, failure, flaws = _execute(task, code, function)
        worker = f"{os.uname().nodename}/{os.getpid()}"
        return Result(0, task.tid, task.attempt, values, failure, worker, started, time.time(), flaws)


Outcome = tuple[list[Payload], Failure | None, list[tuple[int, Failure]]]


def _execute(task: Task, code: bytes | None, function: Callable[..., Any] | None) -> Outcome:
    """Run the user's code. What rebuilding it raises becomes a failure, as what it raises itself."""
    label = task.label or "the task"
    built, error = _guarded(lambda: _rebuilt(task, code, function))
    if error is not None:
        return [], pack_failure(error if isinstance(error, ShoalError) else unreadable(task, error)), []
    function, args, kwargs = built
    if task.each:
        return _each(function, args[0], kwargs, label)
    values, error = _guarded(lambda: _packed(_finish(function(*args, **kwargs)), task.outputs, label))
    return ([], pack_failure(located(error)), []) if error is not None else (values, None, [])


def _each(
    function: Callable[..., Any], items: Sequence[tuple[Any, ...]], kwargs: dict[str, Any], label: str
) -> Outcome:
    values: list[Payload] = []
    flaws: list[tuple[int, Failure]] = []
    for index, item in enumerate(items):
        packed, error = _guarded(lambda item=item: _packed(_finish(function(*item, **kwargs)), (), label))  # type: ignore[misc]
        if error is not None:
            flaws.append((index, pack_failure(error)))
        values.append(_EMPTY if error is not None else packed[0])
    return values, None, flaws


def _guarded(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What ``function`` returns, or what it raises. The one place that holds up whatever a task's own code raises."""
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit and KeyboardInterrupt included
        return None, error


def _rebuilt(
    task: Task, code: bytes | None, function: Callable[..., Any] | None
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    with _lock:
        if function is None:
            if code is not None:
                _rebuilder.add(task.code, code)
            function = _rebuilder.function(task.code, task.captured or b"")
        inputs = [unpack(item.payload) for item in task.inputs if item.payload is not None]
        args, kwargs = unpack_call(task.body, inputs)
    return function, args, kwargs


def _finish(value: Any) -> Any:
    """The value of an asynchronous function's coroutine; other values as they are."""
    return awaited(_as_task(value)) if type(value) is CoroutineType else value


async def _as_task(coroutine: Coroutine[Any, Any, T]) -> T:
    with task_on_this_thread():  # it may run on another one: an IPython engine has an event loop on its own
        return await coroutine


def _packed(value: Any, outputs: Sequence[str], label: str) -> list[Payload]:
    if not outputs:
        return [pack(value, what=f"the result of {label}")]
    items = split_outputs(value, outputs, label)
    return [pack(item, what=f"output '{name}' of {label}") for name, item in zip(outputs, items, strict=True)]
