"""What becomes of an interrupt that stops the waiting for futures: a plain exception in scripts, more in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

__all__ = ["Interrupts", "cancel_all", "interrupts", "use_interrupts", "waited_for"]

_NAMED = 3
"""Tasks that are called by their names; of more, the number is told."""


class Interrupts:
    """What scripts do: nothing. A notebook's kernel has an heir of this that looks out for a second interrupt."""

    def stopped(self, error: BaseException, cancel: Callable[[], int], what: str) -> None:
        """An interrupt has stopped the waiting, and is about to be raised.

        Args:
            error: the interrupt.
            cancel: cancels what was waited for, and returns how many tasks that were.
            what: the words for it.
        """

    def awaits(self) -> None:
        """A coroutine begins to await a future."""

    def stopped_await(self, error: BaseException, cancel: Callable[[], int], what: str) -> bool:
        """The awaiting of a future was cancelled; arguments as for :meth:`stopped`.

        Returns:
            Whether an interrupt did it, so that the task goes on; else it is cancelled with who awaits it.
        """
        return False


_used = Interrupts()


def interrupts() -> Interrupts:
    """What is to be told."""
    return _used


def use_interrupts(used: Interrupts) -> None:
    """Tell this one from now on."""
    global _used
    _used = used


def cancel_all(futures: Iterable[Future[Any]]) -> int:
    """Cancel futures, the outputs of one task together; returns how many tasks that were."""
    done = {(id(getattr(future, "owner", future)), getattr(future, "tid", 0)): future for future in futures}
    return sum(future.cancel() for future in reversed(done.values()))


def waited_for(futures: Sequence[Future[Any]]) -> str:
    """The words for futures that were waited for."""
    told = list(dict.fromkeys(getattr(future, "describe", lambda: "a future")() for future in futures))
    return ", ".join(told) if len(told) <= _NAMED else f"{len(told):,} futures"
