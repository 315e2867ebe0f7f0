"""What the session keeps of an unfinished task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from shoal.futures import TaskFuture, ValueFuture
from shoal.options import TaskOptions
from shoal.outcome import Failure, Raised

__all__ = ["Unfinished"]


class Unfinished(msgspec.Struct, gc=False):
    """An unfinished task. Nothing but the engine refers to it, so it is in no cycle.

    Args:
        future: to be answered.
        prepared: what the executor made of the call.
        executor: where it runs; None for the stand-in of a foreign future.
        options: what is asked of it.
        inputs: the futures whose values it takes.
        on_output: gets what it prints.
        key: the request for its place in the store of results; None if it is not cached.
        parent: the join app's task whose body made it; -1 for none.
        failure: of the last attempt that failed.
        story: a line for each attempt that failed before.
        joined: what its function returned, with the futures in it, while it waits for these.
        sources: the futures that it joins.
        made: the tasks that its body has made.
        ahead: its executor has it already, while its inputs are being made there.
    """

    future: TaskFuture[Any]
    prepared: Any
    executor: Any
    options: TaskOptions
    inputs: Sequence[ValueFuture[Any]] = ()
    on_output: Callable[[str, str], None] | None = None
    key: Any = None
    parent: int = -1
    failure: Failure | Raised | None = None
    story: tuple[str, ...] = ()
    joined: Any = None
    sources: Sequence[ValueFuture[Any]] = ()
    made: list[int] | None = None
    ahead: bool = False
