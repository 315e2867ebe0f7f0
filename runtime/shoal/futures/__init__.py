"""Futures of tasks.

:class:`TaskFuture` is a ``concurrent.futures.Future`` (``wait``, ``as_completed`` and ``asyncio.wrap_future`` work on it)
and awaitable. It differs inside in three ways. Its Condition is made only when somebody waits, since a plain one takes
more memory than all the rest. It keeps the value as it arrived and unpickles it in the thread that asks, so that a
value which cannot be unpickled harms nobody else. And callbacks run on a callback thread, never on the receive thread.
"""

from __future__ import annotations

from shoal.futures.owner import Owner
from shoal.futures.tasks import DataFuture, OutputFuture, TaskFuture, attr
from shoal.futures.value import ValueFuture

__all__ = ["DataFuture", "OutputFuture", "Owner", "TaskFuture", "ValueFuture", "attr"]
