"""What futures ask of the session that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from shoal.outcome import Failure, Packed

if TYPE_CHECKING:
    from shoal.futures.tasks import TaskFuture
    from shoal.futures.value import ValueFuture

__all__ = ["Owner"]


class Owner(Protocol):
    """What futures ask of the session that made them."""

    def load_value(self, value: Packed, task: str) -> Any:
        """The object that ``value`` holds; raises ResultUnreadable."""
        ...

    def load_failure(self, failure: Failure) -> BaseException:
        """The exception that ``failure`` describes."""
        ...

    def request_cancel(self, tid: int) -> bool:
        """Cancel a task; False if it is over, or runs where it cannot be stopped."""
        ...

    def lift(self, future: ValueFuture[Any], operation: str, key: Any) -> TaskFuture[Any]:
        """A new task that takes an item (``item``) or an attribute (``attribute``) of the value."""
        ...

    def record_of(self, tid: int) -> Any:
        """What is known of the task, as a :class:`shoal.record.tasks.TaskRecord`."""
        ...

    def check_process(self) -> None:
        """Raises NoSession in a process that was forked from the session's: nothing will ever end there."""
        ...

    def state_of(self, tid: int) -> str | None:
        """The name of an unfinished task's state; None once it is over."""
        ...
