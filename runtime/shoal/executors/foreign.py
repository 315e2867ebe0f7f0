"""An executor of another library, as an adapter sees it: how it is made, asked and ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any

from shoal.errors import ShoalError

__all__ = ["Foreign", "guarded"]

_WINDOW = 256
"""Attempts given to an executor at a time whose number of workers is not known."""


class Foreign:
    """Any ``concurrent.futures.Executor``. Other kinds of engines differ in some of these.

    Args:
        label: its name in the session.
        max_workers: how many tasks it runs at once; None if that is not known.
        live: the executor, if it is there already.
        factory: makes it, otherwise.

    Attributes:
        slots: how many tasks it runs at once.
        window: how many attempts it is given at a time.
        renewable: whether another can be made once it is broken.
        given_up: nobody wants it any more: what is being made need not be finished.
    """

    kind = "adapter"
    eager = False
    """Whether it is made at the start, and not with the first task."""
    idle_look: float | None = None
    """Seconds between looks while there is nothing to do."""

    def __init__(
        self, label: str, max_workers: int | None, live: Any = None, factory: Callable[[], Any] | None = None
    ) -> None:
        self.label = label
        self.slots = max_workers or len(os.sched_getaffinity(0))
        self.window = 2 * max_workers + 1 if max_workers else _WINDOW
        self.renewable = factory is not None
        self.given_up = False
        self._live, self._factory = live, factory

    def begin(self, folder: Path) -> None:
        """The session starts. Returns quickly.

        Args:
            folder: the run's folder.

        Raises:
            ConfigurationError: it can never work.
        """

    def make(self) -> Any:
        """The executor; whatever it raises says why there is none. Called in the thread that submits."""
        return self._live if self._factory is None else self._factory()

    def end(self, executor: Any) -> None:
        """End what :meth:`make` has made; what runs goes on to its end."""
        if self._factory is not None:
            executor.shutdown(wait=False)

    def take_back(self, future: Future[Any]) -> bool:
        """Whether an attempt that was submitted will not run."""
        return future.cancel()

    def is_broken(self, error: BaseException) -> bool:
        """Whether the error says that the executor takes no more tasks."""
        return isinstance(error, BrokenExecutor)

    def is_unreadable(self, error: BaseException) -> bool:
        """Whether the error says that a task cannot be read where it arrived."""
        return isinstance(error, ImportError)

    def check(self, executor: Any) -> ShoalError | None:
        """Why nothing that is under way can ever end; asked now and then in the thread that submits."""
        return None


def guarded(function: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a call into another library returns, or what it raised, which may be anything.

    Args:
        function: makes the call.
    """
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001 - a foreign executor's own errors are answers, too
        return None, error
