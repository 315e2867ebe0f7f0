"""Futures of tasks.

:class:`TaskFuture` is a ``concurrent.futures.Future`` (``wait``, ``as_completed`` and ``asyncio.wrap_future`` work on it)
and awaitable. It differs inside in three ways. Its Condition is made only when somebody waits, since a plain one takes
more memory than all the rest. It keeps the value as it arrived and unpickles it in the thread that asks, so that a
value which cannot be unpickled harms nobody else. And callbacks run on a callback thread, never on the receive thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError, Future
from types import MappingProxyType
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from shoal.callbacks import call_back
from shoal.card import card, duration
from shoal.errors import DependencyError, JoinError, SessionError
from shoal.files import File
from shoal.outcome import Failure, Held, JoinFailed, Outcome, Packed, Raised, Skipped, Value, in_one_line
from shoal.printed import PrintedText

__all__ = ["DataFuture", "OutputFuture", "Owner", "TaskFuture", "ValueFuture", "attr"]

T = TypeVar("T")

_PENDING, _RUNNING, _CANCELLED, _FINISHED = "PENDING", "RUNNING", "CANCELLED_AND_NOTIFIED", "FINISHED"
_OVER = (_CANCELLED, _FINISHED)
_NO_OUTPUTS: Mapping[str, Any] = MappingProxyType({})

_lock = threading.Lock()
"""Guards every future's state. Held for a few instructions at a time, so one for all is cheaper than one each."""


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


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
                if type(fn) is _Waker:
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
        facts, texts = _facts(record) if record is not None else ([], [])
        status = self.task_status()
        if status == "done":
            facts.append(".result() gives its value")
        for stream in ("stdout", "stderr"):
            text = getattr(self, stream) if isinstance(self, TaskFuture) else ""
            if text:
                texts.append((f"{stream}, {len(text):,} characters", text[-_SHOWN:]))
        return card(self.describe(), status, facts, texts)

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


_SHOWN = 4000
"""Characters of a stream that a card shows, from its end."""


def _facts(record: Any) -> tuple[list[str], list[tuple[str, str]]]:
    facts = [f"on {record.worker}" if record.worker else record.executor]
    if record.started and record.ended:
        facts.append(duration(record.ended - record.started))
    if record.fail_count:
        facts.append(f"{record.fail_count} failed attempt{'' if record.fail_count == 1 else 's'}")
    if record.error:
        facts.append(record.error)
    tried = "\n".join(map(str, record.attempts))
    return [fact for fact in facts if fact], [("attempts", tried)] if len(record.attempts) > 1 else []


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


class DataFuture(ValueFuture[File]):
    """The future of one file that a task promised to make. Its value is the :class:`~shoal.files.File`.

    Attributes:
        file_obj: the file.
        parent: the future of the task.
    """

    __slots__ = ("file_obj", "parent")

    def __init__(self, owner: Owner, tid: int, label: str, file: File, parent: TaskFuture[Any]) -> None:
        super().__init__(owner, tid, label)
        self.file_obj = file
        self.parent = parent

    @property
    def filepath(self) -> str:
        """Its absolute path."""
        return self.file_obj.filepath

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.file_obj.filename

    def describe(self) -> str:
        """The words for it in messages: ``out.txt of sort (task 3)``."""
        return f"{self.filename} of {self.label} (task {self.tid})"


class TaskFuture(ValueFuture[T]):
    """What an invocation of an app returns.

    Attributes:
        outputs: for a task with several outputs, one future a name (its ``result()`` is then the mapping of all); for a task
            that promised files, a list of DataFutures.
    """

    __slots__ = ("_printed", "_story", "outputs")

    def __init__(
        self, owner: Owner, tid: int, label: str, outputs: tuple[str, ...] = (), files: tuple[File, ...] = ()
    ) -> None:
        ValueFuture.__init__(self, owner, tid, label)
        self.outputs: Any = _NO_OUTPUTS
        self._printed: PrintedText | None = None
        self._story: tuple[str, ...] = ()
        if outputs:
            made = {name: OutputFuture[Any](owner, tid, label, name, i) for i, name in enumerate(outputs)}
            self.outputs = MappingProxyType(made)
        elif files:
            self.outputs = [DataFuture(owner, tid, label, file, self) for file in files]

    @property
    def stdout(self) -> str:
        """What the task has written to stdout so far: captured, or read from the file that it goes to."""
        return self._printed.read("stdout") if self._printed is not None else ""

    @property
    def stderr(self) -> str:
        """What the task has written to stderr so far, likewise."""
        return self._printed.read("stderr") if self._printed is not None else ""

    # ------------------------------------------------------------------ told by the session

    def prints_to(self, stdout: str, stderr: str) -> None:
        """The task writes to these files; empty where its text is captured."""
        self._printed = PrintedText(stdout, stderr)

    def heard(self, attempt: int, stream: str, text: str) -> None:
        """Keep what an attempt printed; the text of the attempts before it goes."""
        if self._printed is None:
            self._printed = PrintedText()
        self._printed.add(attempt, stream, text)

    def tell_story(self, attempts: tuple[str, ...]) -> None:
        """Lines about the attempts that failed before the last: its exception gets them as notes."""
        self._story = attempts

    # ------------------------------------------------------------------ inside

    def _load(self, value: Packed | Held) -> Any:
        if not self.outputs or isinstance(self.outputs, list):
            return super()._load(value)
        return {name: output.result() for name, output in self.outputs.items()}

    def _explain(self, outcome: Failure | Raised | Skipped | JoinFailed) -> BaseException:
        error = super()._explain(outcome)
        for line in self._story:
            error.add_note(line)
        return error


def attr(future: ValueFuture[Any], name: str) -> TaskFuture[Any]:
    """The future of an attribute: a task that takes it once the value is there.

    Args:
        future: of the object.
        name: of the attribute.

    Raises:
        TypeError: ``future`` is none of Shoal's, or ``name`` is no text.
    """
    given: Any = future
    inside = getattr(type(given), "__shoal_lift__", None)  # of a call that ran inside this task
    if not isinstance(given, ValueFuture) and inside is None:
        raise TypeError(f"shoal.attr takes the future of a task, not a {type(given).__name__}")
    if not isinstance(name, str):
        raise TypeError(f"shoal.attr takes the name of an attribute as a text, not a {type(name).__name__}")
    if isinstance(given, ValueFuture):
        return given.owner.lift(given, "attribute", name)
    lifted: TaskFuture[Any] = inside(given, lambda value: getattr(value, name))  # type: ignore[misc]
    return lifted
