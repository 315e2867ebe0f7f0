"""The future of one value."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from shoal.callbacks import call_back
from shoal.errors import DependencyError, JoinError, SessionError, SessionLost
from shoal.futures.owner import Owner
from shoal.futures.shown import as_card
from shoal.futures.stopping import interrupts
from shoal.futures.waking import Bell, LoopWaker, Waker
from shoal.outcome import Failure, Held, JoinFailed, Outcome, Packed, Raised, Skipped, Value, in_one_line

if TYPE_CHECKING:
    from shoal.futures.tasks import TaskFuture

__all__ = ["PENDING", "ValueFuture", "forget"]

T = TypeVar("T")

PENDING, _RUNNING, _CANCELLED, _FINISHED = "PENDING", "RUNNING", "CANCELLED_AND_NOTIFIED", "FINISHED"
_OVER = (_CANCELLED, _FINISHED)

_lock = threading.Lock()
"""Guards every future's state. Held for a few instructions at a time, so one for all is cheaper than one each."""


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


class ValueFuture(Future, Generic[T]):  # type: ignore[type-arg]
    """The future of one value. Made by a session only.

    Attributes:
        tid: the number of the task in its session.
        label: the name of the app.
    """

    __slots__ = (
        "_callbacks",
        "_lazy_condition",
        "_lazy_waiters",
        "_outcome",
        "_owner",
        "_read",
        "_state",
        "label",
        "tid",
    )

    def __init__(self, owner: Owner, tid: int, label: str) -> None:
        # Future.__init__ is not called on purpose: it would make the Condition.
        self._owner = owner
        self.tid = tid
        self.label = label
        self._state = PENDING
        self._outcome: Outcome | None = None
        self._read: Any = None
        self._lazy_condition: threading.Condition | None = None
        self._lazy_waiters: list[Any] | None = None
        self._callbacks: list[Callable[[Any], Any]] | None = None

    # ------------------------------------------------------------------ what concurrent.futures.wait looks at

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        if self._lazy_condition is None:
            with _lock:
                if self._lazy_condition is None:
                    self._lazy_condition = threading.Condition()
        return self._lazy_condition

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        if self._lazy_waiters is None:
            self._lazy_waiters = []
        return self._lazy_waiters

    # ------------------------------------------------------------------ asking

    def done(self) -> bool:
        """Whether it has a value, has failed, or was cancelled."""
        return self._state in _OVER

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._state == _CANCELLED

    def running(self) -> bool:
        """Whether a worker is known to be executing it; short tasks are over before that is known."""
        return self.task_status() == "running"

    def task_status(self) -> str:
        """Where the task stands.

        Returns:
            ``waiting`` (for inputs), ``queued``, ``running``, ``delayed`` (before another attempt), ``joining`` (waits for the
            tasks that it returned), ``done``, ``failed``, ``skipped`` (an input failed) or ``cancelled``.
        """
        if self._state not in _OVER:
            live = self._owner.state_of(self.tid)
            if live is not None:
                return live
        if self._state == _CANCELLED:
            return "cancelled"
        if isinstance(self._outcome, Skipped):
            return "skipped"
        if isinstance(self._outcome, Raised) and isinstance(self._outcome.error, SessionError):
            return "failed" if isinstance(self._outcome.error, SessionLost) else "cancelled"
        return "done" if isinstance(self._outcome, Value) else "failed"

    def result(self, timeout: float | None = None) -> T:
        """The value.

        Args:
            timeout: seconds to wait at most; None waits for as long as it takes.

        Raises:
            TimeoutError: it is not there yet.
            CancelledError: it was cancelled.
            ResultUnreadable: the value arrived but cannot be unpickled here.
            BaseException: whatever the task raised, or the ShoalError that says why it never ran.
        """
        error = self.exception(timeout)
        if error is not None:
            trace = self._outcome.traceback if isinstance(self._outcome, Raised) else None
            try:
                raise error.with_traceback(
                    trace
                )  # each time anew: else it grows, and keeps the frames of all who asked
            finally:
                del error  # the traceback would keep this frame, and this frame the error
        outcome = self._outcome
        if not isinstance(outcome, Value):
            raise CancelledError
        value: T = self._load(outcome)
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception that the task ended with; None if it has a value.

        Args:
            timeout: as for ``result``.

        Raises:
            TimeoutError: it is not over yet.
            CancelledError: it was cancelled.
        """
        if self._state not in _OVER:
            self._wait(timeout)
        if self._state == _CANCELLED:
            raise CancelledError
        outcome = self._outcome
        if outcome is None or isinstance(outcome, Value):
            return None
        if self._read is None:
            self._read = self._explain(outcome)
        error: BaseException = self._read
        return error

    def cancel(self) -> bool:
        """Cancel the task. One that runs on a pool is interrupted; on threads it cannot be stopped.

        Returns:
            Whether it is (now) cancelled; False if it is over, or runs where it cannot be stopped.
        """
        if self._state == _CANCELLED:
            return True
        return self._state != _FINISHED and self._owner.request_cancel(self.tid)

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        """Call ``fn(self)`` on the callback thread once it is over; at once if it is over already.

        Raises:
            NoSession: it will not be over in this process, which was forked from the session's.
        """
        if self._state not in _OVER:
            self._owner.check_process()
        with _lock:
            if self._state not in _OVER:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        if isinstance(fn, Waker):
            fn(self)
        else:
            call_back(fn, self)

    def __await__(self) -> Generator[Any, None, T]:
        """Await the value from any event loop; cancelling the awaiting task cancels this one."""
        import asyncio  # slow to load, and whoever awaits has it

        if self._state not in _OVER:
            loop = asyncio.get_running_loop()
            bell: asyncio.Future[None] = loop.create_future()
            self.add_done_callback(LoopWaker(loop, bell))
            interrupts().awaits()
            try:
                yield from bell.__await__()
            except asyncio.CancelledError as error:
                if not interrupts().stopped_await(error, lambda: int(self.cancel()), self.describe()):
                    self.cancel()
                raise
        return self.result()

    # ------------------------------------------------------------------ settling (by the session)

    def settle(self, outcome: Outcome | None) -> bool:
        """End the future; None cancels it. The first call counts: returns whether this one did."""
        with _lock:
            condition = self._lazy_condition
            if condition is None and not self._end(outcome):
                return False
        if condition is not None:
            with condition:  # who waits looks at the state and leaves a waiter while holding it: it must be told once
                with _lock:
                    if not self._end(outcome):
                        return False
                for waiter in self._lazy_waiters or ():
                    if outcome is None:
                        waiter.add_cancelled(self)
                    elif isinstance(outcome, Value):
                        waiter.add_result(self)
                    else:
                        waiter.add_exception(self)
                condition.notify_all()
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            for fn in callbacks:
                if isinstance(fn, Waker):
                    fn(self)
                else:
                    call_back(fn, self)
        return True

    def _end(self, outcome: Outcome | None) -> bool:
        if self._state in _OVER:
            return False
        self._outcome = outcome
        self._state = _CANCELLED if outcome is None else _FINISHED
        return True

    @property
    def owner(self) -> Owner:
        """The session that made it."""
        return self._owner

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, still packed; None while it is not over, or cancelled."""
        return self._outcome

    def set_result(self, result: object) -> NoReturn:
        """Refused: only the session settles a task's future."""
        raise RuntimeError("the session settles the futures of tasks; make a concurrent.futures.Future of your own")

    def set_exception(self, exception: object) -> NoReturn:
        """Refused: only the session settles a task's future."""
        self.set_result(exception)

    def set_running_or_notify_cancel(self) -> NoReturn:
        """Refused: only the session settles a task's future."""
        self.set_result(None)

    # ------------------------------------------------------------------ protection against traps

    def __iter__(self) -> NoReturn:
        """Refused: a future has no items before it has its value."""
        raise TypeError(f"{self!r} is not a sequence: write .result() first, or pass it to an app")

    def __getitem__(self, key: Any) -> TaskFuture[Any]:
        """The future of ``value[key]``: a task that takes the item once the value is there."""
        return self._owner.lift(self, "item", key)

    def __getattr__(self, name: str) -> NoReturn:
        """An unknown attribute is an error, and makes no task; it may be one of the value."""
        raise AttributeError(
            f"a {type(self).__name__} has no attribute '{name}'; for one of its value write .result().{name}, "
            f"or shoal.attr(future, '{name}') for its future"
        )

    def __bool__(self) -> bool:
        """Always true, as any object; written out since ``__iter__`` is."""
        return True

    def __reduce__(self) -> NoReturn:
        """Refused: a future belongs to its session."""
        raise TypeError(
            f"{self!r} cannot be pickled or copied: pass it to an app as an argument, or pass its .result()"
        )

    def __repr__(self) -> str:
        """For people: the app, the task's number, its state."""
        return f"<{type(self).__name__} {self.describe()}: {self.task_status()}>"

    def _repr_html_(self) -> str:
        """For notebooks: how the task is, where it ran, what it printed and how its attempts ended."""
        try:
            record = self.task
        except SessionError:  # in a process that was forked off
            record = None
        streams = {stream: getattr(self, stream, "") for stream in ("stdout", "stderr")}
        return as_card(self.describe(), self.task_status(), record, streams)

    def describe(self) -> str:
        """The words for it in messages: ``fit (task 3)``."""
        return f"{self.label} (task {self.tid})"

    @property
    def task(self) -> Any:
        """What is known of the task: a :class:`shoal.record.tasks.TaskRecord` with its attempts."""
        return self._owner.record_of(self.tid)

    # ------------------------------------------------------------------ inside

    def _wait(self, timeout: float | None) -> None:
        self._owner.check_process()
        bell = Bell()
        with _lock:
            if self._state in _OVER:
                return
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(bell)
        try:
            bell.wait(timeout)
        except KeyboardInterrupt as error:
            interrupts().stopped(error, lambda: int(self.cancel()), self.describe())
            raise
        finally:
            self._forget(bell)
        if not self.done():
            raise TimeoutError(f"{self.describe()} is not done after {timeout:.3g} s")

    def _forget(self, callback: Callable[[Any], Any]) -> None:
        with _lock:
            if self._callbacks is not None and callback in self._callbacks:
                self._callbacks.remove(callback)

    def _load(self, value: Packed | Held) -> Any:
        if isinstance(value, Held):
            return value.object
        if self._read is None:
            self._read = (self._owner.load_value(value, self.describe()),)
        return self._read[0]

    def _explain(self, outcome: Failure | Raised | Skipped | JoinFailed) -> BaseException:
        """The exception of an outcome, with what it comes from as its cause; step by step, for joins may be nested deeply."""
        task = self.describe()
        error = first = self._error(outcome, task)
        while isinstance(outcome, Skipped | JoinFailed):
            task, outcome = outcome.source, outcome.root
            error.__cause__ = self._error(outcome, task)
            error = error.__cause__
        return first

    def _error(self, outcome: Failure | Raised | Skipped | JoinFailed, task: str) -> BaseException:
        if isinstance(outcome, Raised):
            return outcome.error
        if isinstance(outcome, Failure):
            return self._owner.load_failure(outcome)
        if isinstance(outcome, JoinFailed):
            return JoinError(task, outcome.failed)
        return DependencyError(task, outcome.path, in_one_line(outcome.root))


def forget(future: ValueFuture[Any], callback: Callable[[Any], Any]) -> None:
    """Take back ``add_done_callback``, if the future is not over. It is no method: attributes of futures stand in the way of their values'."""
    future._forget(callback)
