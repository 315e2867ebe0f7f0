"""What a failed attempt costs, and how long the next one waits."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from shoal.options import Backoff, TaskOptions

__all__ = ["RetryPolicy"]

_log = logging.getLogger(__name__)


class RetryPolicy(NamedTuple):
    """How a session retries tasks that do not say themselves.

    Args:
        retries: the budget: the sum of the costs of failed attempts up to which another one is made.
        backoff: the wait before another attempt.
        handler: ``handler(exception, task_record) -> cost`` of a failed attempt; None: each costs 1. It runs on the callback
            thread. If it raises, the task fails as it is.
    """

    retries: float = 0
    backoff: Backoff = Backoff()
    handler: Callable[[BaseException, Any], float] | None = None

    def budget(self, options: TaskOptions) -> float:
        """The retries of a task."""
        return self.retries if options.retries is None else options.retries

    def delay(self, options: TaskOptions, attempt: int) -> float:
        """Seconds to wait after attempt ``attempt`` of a task has failed."""
        backoff = self.backoff if options.backoff is None else options.backoff
        return backoff.delay(attempt) if backoff.first else 0.0

    def cost(self, error: BaseException, record: Any) -> float:
        """What the handler says that a failure costs."""
        assert self.handler is not None
        return _ask_handler(self.handler, error, record)


def _ask_handler(handler: Callable[[BaseException, Any], float], error: BaseException, record: Any) -> float:
    try:
        cost = float(handler(error, record))
    except BaseException:  # noqa: BLE001 - the user's handler: whatever it raises, the task is answered
        _log.exception("the retry_handler raised; the task is not tried again")
        return math.inf
    return math.inf if math.isnan(cost) else cost
