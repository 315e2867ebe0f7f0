"""Futures of tasks.

:class:`TaskFuture` is a ``concurrent.futures.Future`` (``wait``, ``as_completed`` and ``asyncio.wrap_future`` work on it)
and awaitable. It differs inside in three ways. Its Condition is made only when somebody waits, since a plain one takes
more memory than all the rest. It keeps the value as it arrived and unpickles it in the thread that asks, so that a
value which cannot be unpickled harms nobody else. And callbacks run on a callback thread, never on the receive thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError, Future
from types import MappingProxyType
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from shoal.callbacks import call_back
from shoal.errors import DependencyError, SessionError
from shoal.outcome import Failure, Held, Outcome, Packed, Raised, Skipped, Value, in_one_line

__all__ = ["OutputFuture", "Owner", "TaskFuture", "ValueFuture"]

T = TypeVar("T")

_PENDING, _RUNNING, _CANCELLED, _FINISHED = "PENDING", "RUNNING", "CANCELLED_AND_NOTIFIED", "FINISHED"
_OVER = (_CANCELLED, _FINISHED)
_NO_OUTPUTS: Mapping[str, Any] = MappingProxyType({})

_lock = threading.Lock()
"""Guards every future's state. Held for a few instructions at a time, so one for all is cheaper than one each."""


class Owner(Protocol):
    """What futures ask of the session that made them."""

    def load_value(self, value: Packed, task: str) -> Any:
        """The object that ``value`` holds; raises ResultUnreadable."""
        ...

    def load_failure(self, failure: Failure) -> BaseException:
        """The exception that ``failure`` describes."""
        ...

    def request_cancel(self, tid: int) -> bool:
        """Cancel a task; False if it is running or over."""
        ...

    def check_process(self) -> None:
        """Raises NoSession in a process that was forked from the session's: nothing will ever end there."""
        ...

    def state_of(self, tid: int) -> str | None:
        """The name of an unfinished task's state; None once it is over."""
        ...


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
        self._state = _PENDING
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
        return self.state() == "running"

    def state(self) -> str:
        """``waiting`` (for inputs), ``queued``, ``running``, ``done``, ``failed``, ``skipped`` or ``cancelled``."""
        if self._state not in _OVER:
            live = self._owner.state_of(self.tid)
            if live is not None:
                return live
        if self._state == _CANCELLED:
            return "cancelled"
        if isinstance(self._outcome, Skipped):
            return "skipped"
        if isinstance(self._outcome, Raised) and isinstance(self._outcome.error, SessionError):
            return "cancelled"
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
            try:
                raise error
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
        """Cancel the task if it is not running yet. Returns whether it is (now) cancelled."""
        if self._state == _CANCELLED:
            return True
        return self._state != _FINISHED and self._owner.request_cancel(self.tid)

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        """Call ``fn(self)`` on the callback thread once it is over; at once if it is over already."""
        with _lock:
            if self._state not in _OVER:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        call_back(fn, self)

    def __await__(self) -> Generator[Any, None, T]:
        """Await the value from any event loop; cancelling the awaiting task cancels this one."""
        import asyncio  # slow to load, and whoever awaits has it

        if self._state not in _OVER:
            loop = asyncio.get_running_loop()
            bell: asyncio.Future[None] = loop.create_future()
            self.add_done_callback(_Waker(loop, bell))
            try:
                yield from bell.__await__()
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    # ------------------------------------------------------------------ settling (by the session)

    def settle(self, outcome: Outcome | None) -> bool:
        """End the future; None cancels it. The first call counts: returns whether this one did."""
        with _lock:
            if self._state in _OVER:
                return False
            self._outcome = outcome
            self._state = _CANCELLED if outcome is None else _FINISHED
            condition = self._lazy_condition
            callbacks, self._callbacks = self._callbacks, None
        if condition is not None:
            with condition:
                for waiter in self._lazy_waiters or ():
                    if outcome is None:
                        waiter.add_cancelled(self)
                    elif isinstance(outcome, Value):
                        waiter.add_result(self)
                    else:
                        waiter.add_exception(self)
                condition.notify_all()
        if callbacks is not None:
            for fn in callbacks:
                if type(fn) is _Waker:
                    fn(self)
                else:
                    call_back(fn, self)
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

    def __getitem__(self, key: object) -> NoReturn:
        """Refused, as ``__iter__``."""
        self.__iter__()

    def __getattr__(self, name: str) -> NoReturn:
        """An unknown attribute is an error, and makes no task; it may be one of the value."""
        raise AttributeError(
            f"a {type(self).__name__} has no attribute '{name}'; for one of its value write .result().{name}"
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
        return f"<{type(self).__name__} {self.describe()}: {self.state()}>"

    def describe(self) -> str:
        """The words for it in messages: ``fit (task 3)``."""
        return f"{self.label} (task {self.tid})"

    # ------------------------------------------------------------------ inside

    def _wait(self, timeout: float | None) -> None:
        self._owner.check_process()
        deadline = None if timeout is None else time.monotonic() + timeout
        condition = self._condition
        with condition:
            while self._state not in _OVER:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{self.describe()} is not done after {timeout:.3g} s")
                condition.wait(left)

    def _load(self, value: Packed | Held) -> Any:
        if isinstance(value, Held):
            return value.object
        if self._read is None:
            self._read = (self._owner.load_value(value, self.describe()),)
        return self._read[0]

    def _explain(self, outcome: Failure | Raised | Skipped) -> BaseException:
        if isinstance(outcome, Raised):
            return outcome.error
        if isinstance(outcome, Failure):
            return self._owner.load_failure(outcome)
        root = outcome.root
        error = DependencyError(self.describe(), outcome.path, in_one_line(root))
        error.__cause__ = self._explain(root)
        return error


class _Waker:
    """Wakes an event loop. It runs where the future is settled: a slow callback must not delay whoever awaits."""

    def __init__(self, loop: Any, bell: Any) -> None:
        self.loop, self.bell = loop, bell

    def __call__(self, future: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody awaits any more
            self.loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        if not self.bell.done():
            self.bell.set_result(None)


class OutputFuture(ValueFuture[T]):
    """The future of one named output of a task that has several.

    Attributes:
        name: the output's name.
        index: its place among the task's outputs.
    """

    __slots__ = ("index", "name")

    def __init__(self, owner: Owner, tid: int, label: str, name: str, index: int) -> None:
        super().__init__(owner, tid, label)
        self.name = name
        self.index = index

    def describe(self) -> str:
        """The words for it in messages: ``scores of cell 4 (task 3)``."""
        return f"{self.name} of {self.label} (task {self.tid})"


class TaskFuture(ValueFuture[T]):
    """What an invocation of an app returns.

    Attributes:
        outputs: for a task with several outputs, one future a name (its ``result()`` is then the mapping of all).
    """

    __slots__ = ("outputs",)

    def __init__(self, owner: Owner, tid: int, label: str, outputs: tuple[str, ...] = ()) -> None:
        ValueFuture.__init__(self, owner, tid, label)
        self.outputs: Mapping[str, OutputFuture[Any]] = _NO_OUTPUTS
        if outputs:
            made = {name: OutputFuture[Any](owner, tid, label, name, i) for i, name in enumerate(outputs)}
            self.outputs = MappingProxyType(made)

    def _load(self, value: Packed | Held) -> Any:
        if not self.outputs:
            return super()._load(value)
        return {name: output.result() for name, output in self.outputs.items()}
