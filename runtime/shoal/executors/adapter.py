"""Tasks on any ``concurrent.futures.Executor``: process pools, loky, dask's, mpi4py's, those of other libraries.

A task travels as it does to a pool: pickled once at submission, rebuilt where it runs, its result kept packed until it is
asked for. What such an executor cannot do is said and not pretended: a task that runs cannot be stopped, walltimes cannot
be kept (they are refused), and what a task prints goes where the executor's own output goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from shoal.errors import ConfigurationError, PoolLost, PoolStartFailed, ShoalError
from shoal.executors.adapting import Flight, PreparedAdapterCall, ended, lost, reason, task_of, unreadable
from shoal.executors.calling import outcome_of
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.executors.foreign import Foreign, guarded
from shoal.executors.packing import prepare
from shoal.node.adapted import at_home, home, run
from shoal.outcome import Raised
from shoal.resources import Resources
from shoal.spec import Spec
from shoal.wire.messages import NeedBlob, PoolStatus

__all__ = ["Adapter", "ConcurrentExecutor"]

_LARGE = 64 * 1024
"""Code of more bytes than this is sent only to who asks for it."""

_LOOK = 0.25
"""Seconds between two looks at what has begun to run."""

_PATIENCE = 5.0
"""Seconds that closing waits for a call into the foreign executor to return."""


class ConcurrentExecutor(Spec, frozen=True, tag="adapter"):
    """Any ``concurrent.futures.Executor`` as an executor of a session.

    Args:
        executor: a running executor, which is left running; or something that makes one when it is called without arguments
            (a class, a function), which is ended with the session, and made anew if it breaks.
        label: its name in the session.
        max_workers: how many tasks it runs at once, for placement; default: one a core of this host.

    Where tasks run in threads of this very process, they see the function and what it captures as they are, and copies of
    their arguments.
    """

    executor: Any
    label: str = "adapter"
    max_workers: int | None = None

    def check(self) -> None:
        """Something that takes tasks, or makes what does."""
        self.require(
            _is_live(self.executor) or callable(self.executor), "executor", "give an executor, or what makes one"
        )
        self.require(self.label.strip() != "" and self.label.isprintable(), "label", "give it a name")
        self.require(self.max_workers is None or self.max_workers >= 1, "max_workers", "use 1 or more")

    def build(self) -> Adapter:
        """The executor that this describes."""
        if _is_live(self.executor):
            return Adapter(Foreign(self.label, self.max_workers, live=self.executor))
        return Adapter(Foreign(self.label, self.max_workers, factory=self.executor))


def _is_live(executor: Any) -> bool:
    return hasattr(executor, "submit") and not isinstance(executor, type)


_Key = tuple[int, int]


class Adapter:
    """The executor behind :class:`ConcurrentExecutor`.

    One thread of its own gives attempts to the foreign executor, some more at a time than that can run: so a call of
    ``submit`` may be slow, what waits can be cancelled, and a pool that breaks takes few attempts with it.

    Args:
        foreign: how the foreign executor is made, asked and ended.
    """

    keeps_walltime = False

    def __init__(self, foreign: Foreign) -> None:
        self.label, self.kind = foreign.label, foreign.kind
        self._foreign = foreign
        self._executor: Any = None
        self._sink: Sink
        self._started = time.time()
        self._changed = threading.Condition()
        self._waiting: dict[_Key, tuple[Attempt, bool]] = {}
        self._flying: dict[_Key, Flight] = {}
        self._over: ShoalError | None = None
        self._done = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"shoal-{foreign.label}", daemon=True)

    # ------------------------------------------------------------------ Executor

    def start(self, sink: Sink, folder: Path) -> None:
        """Begin. What takes time goes on in the background.

        Raises:
            ConfigurationError: it can never work.
        """
        self._foreign.begin(folder)
        self._sink = sink
        self._thread.start()

    def prepare(self, call: Call) -> PreparedAdapterCall:
        """Pickle the arguments and look at the captured variables, now.

        Raises:
            NotPicklable: an argument or a captured variable cannot travel.
            ConfigurationError: the call has a walltime.
        """
        if call.walltime:
            raise ConfigurationError(
                "walltime", call.walltime,
                f"executor '{self.label}' ({self.kind}) cannot end a task that runs; run it on a HighThroughputExecutor",
            )  # fmt: skip
        return PreparedAdapterCall(prepare(call), call.function)

    def launch_ahead(self, attempt: Attempt) -> bool:
        """False: all is in one process, or in another engine's hands."""
        return False

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Leave the attempts for the thread that submits."""
        with self._changed:
            over = self._over
            if over is None:
                for attempt in attempts:
                    self._waiting[attempt.tid, attempt.attempt] = (attempt, False)
                self._changed.notify()
        if over is not None:
            self._sink.attempts_ended([lost(a, over, self.label, final=True) for a in attempts])

    def cancel(self, tid: int, attempt: int) -> bool:
        """Take back what has not begun. What runs cannot be stopped."""
        key = (tid, attempt)
        with self._changed:
            if self._waiting.pop(key, None) is not None:
                return True
            flight = self._flying.get(key)
            if flight is None:
                return True
            if not flight.leaving:
                flight.dropped = True
                return True
            future = flight.future
            if future is None:
                return False
            flight.dropped = True
        if self._foreign.take_back(future):
            return True
        flight.dropped = False
        return key not in self._flying

    def outstanding(self) -> int:
        """How many attempts have not ended."""
        return len(self._waiting) + len(self._flying)

    def usable(self) -> bool:
        """Until it is closed, or broken with nobody to make another."""
        return not self._closed and self._over is None

    def slots(self) -> int:
        """As given; else one a core of this host."""
        return self._foreign.slots

    def lacks(self, resources: Resources) -> str:
        """It hands out no accelerators."""
        if resources.ranks:
            return f"{resources.ranks} ranks: executor '{self.label}' ({self.kind}) does not know about MPI"
        if resources.gpus:
            return f"{resources.gpus} gpus: executor '{self.label}' ({self.kind}) does not know about accelerators"
        return ""

    def status(self) -> PoolStatus:
        """Attempts that wait here, that the foreign executor has, and that have ended."""
        trouble = "" if self._over is None else str(self._over)
        waiting, flying = len(self._waiting), len(self._flying)
        return PoolStatus(0, self.label, self._started, waiting, flying, self._done, 0, [], [], [], trouble)

    def scale(self, blocks: int) -> None:
        """It has no blocks."""
        raise ConfigurationError(f"{self.label}.scale", blocks, f"executor '{self.label}' ({self.kind}) has no blocks")

    def close(self) -> None:
        """Take back what has not begun, and end the foreign executor if it was made here; what runs goes on to its end."""
        with self._changed:
            self._closed = self._foreign.given_up = True
            self._waiting.clear()
            flights = list(self._flying.values())
            self._changed.notify()
        for flight in flights:
            flight.dropped = True
            if flight.future is not None:
                self._foreign.take_back(flight.future)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE)  # it may stand in a slow call, and ends after it
        with self._changed:
            executor, self._executor = self._executor, None
        if executor is not None:
            guarded(lambda: self._foreign.end(executor))

    # ------------------------------------------------------------------ the submitting thread

    def _work(self) -> None:
        looked = 0.0
        if self._foreign.eager:
            self._open()
        while not self._closed and self._over is None:
            with self._changed:
                if not self._is_due():
                    self._changed.wait(_LOOK if self._flying else self._foreign.idle_look)
                flight = self._next()
            if flight is not None:
                self._depart(flight)
            if time.monotonic() - looked >= _LOOK:
                looked = time.monotonic()
                self._look()

    def _open(self) -> Any:
        """Make the foreign executor; None if that fails, or if nobody wants it any more."""
        executor, error = guarded(self._foreign.make)
        if error is not None:
            self._break_down(error if isinstance(error, ShoalError) else PoolStartFailed(self.label, reason(error)))
            return None
        with self._changed:
            if not self._closed:
                self._executor = executor
                return executor
        guarded(lambda: self._foreign.end(executor))
        return None

    def _is_due(self) -> bool:
        """Whether there is something to do."""
        return self._closed or (bool(self._waiting) and len(self._flying) < self._foreign.window)

    def _next(self) -> Flight | None:
        if self._closed or not self._is_due():
            return None
        key = next(iter(self._waiting))
        flight = self._flying[key] = Flight(*self._waiting.pop(key))
        return flight

    def _depart(self, flight: Flight) -> None:
        """Give one attempt to the foreign executor."""
        attempt = flight.attempt
        packed = outcome_of(lambda: task_of(attempt))  # runs users' code, where an input was made in this process
        if isinstance(packed, Raised):
            self._answer(flight, Ended(attempt.tid, attempt.attempt, (), packed, final=True))
            return
        task = packed.object
        snapshot = attempt.prepared.call.snapshot
        code = snapshot.code_blob if flight.with_code or len(snapshot.code_blob) <= _LARGE else None
        executor = self._executor or self._open()
        if executor is None:
            return
        key = (id(self), *flight.key)
        with self._changed:
            if flight.dropped or self._closed:
                self._flying.pop(flight.key, None)
                return
            flight.leaving = True
        at_home[key] = attempt.prepared.function
        future, refused = guarded(lambda: executor.submit(run, task, code, home(), key))
        if refused is None:
            flight.future = future
            future.add_done_callback(lambda future: self._land(flight, future, executor))
        else:
            self._crashed(flight, refused, executor)

    def _look(self) -> None:
        """Tell of attempts that have begun to run; give up where nothing can ever end."""
        error = self._foreign.check(self._executor) if self._executor is not None else None
        if error is not None:
            self._break_down(error)
            return
        now = time.time()
        flights = list(self._flying.values())
        running = [flight for flight in flights if flight.future is not None and flight.future.running()]
        for flight in running[
            : self._foreign.slots
        ]:  # more are said to run than there are workers: some wait beside them
            if not flight.seen:
                flight.seen = now
            elif not flight.announced:
                flight.announced = True
                self._sink.attempt_started(flight.attempt.tid, flight.attempt.attempt, self.label, flight.seen)

    # ------------------------------------------------------------------ ends, on any thread

    def _land(self, flight: Flight, future: Future[Any], executor: Any) -> None:
        """The future of an attempt is over."""
        attempt = flight.attempt
        if future.cancelled():
            if flight.dropped:
                self._answer(flight, None)
            else:
                self._answer(flight, self._cut_off(attempt, RuntimeError("somebody else cancelled it")))
            return
        error = future.exception()
        if error is not None:
            self._crashed(flight, error, executor)
            return
        result = future.result()
        if isinstance(result, NeedBlob):
            with self._changed:
                if self._flying.pop(flight.key, None) is flight:
                    self._waiting = {flight.key: (attempt, True), **self._waiting}
                    self._changed.notify()
            return
        self._answer(flight, ended(result))

    def _crashed(self, flight: Flight, error: BaseException, executor: Any) -> None:
        """Not the task but what should have run it raised."""
        broken, renewable = self._foreign.is_broken(error), self._foreign.renewable
        if broken and renewable:
            with self._changed:
                first = self._executor is executor
                if first:
                    self._executor = None  # the next attempt makes another
            if first:
                guarded(lambda: self._foreign.end(executor))
        self._answer(flight, self._cut_off(flight.attempt, error, final=broken and not renewable))
        if broken and not renewable:
            self._break_down(PoolLost(self.label, reason(error)))

    def _answer(self, flight: Flight, ended: Ended | None) -> None:
        with self._changed:
            known = self._flying.pop(flight.key, None) is flight
            self._done += 1
            self._changed.notify()
        at_home.pop((id(self), *flight.key), None)
        if known and ended is not None and not self._closed:
            self._sink.attempts_ended([ended])

    def _cut_off(self, attempt: Attempt, error: BaseException, final: bool = False) -> Ended:
        if self._foreign.is_unreadable(error):
            return unreadable(attempt, error)
        return lost(attempt, error, self.label, final)

    def _break_down(self, error: ShoalError) -> None:
        """It will run nothing any more: everything outstanding is answered."""
        with self._changed:
            first, self._over = self._over is None, self._over or error
            attempts = [attempt for attempt, _ in self._waiting.values()]
            attempts += [flight.attempt for flight in self._flying.values()]
            self._waiting.clear()
            self._flying.clear()
        for attempt in attempts:
            at_home.pop((id(self), attempt.tid, attempt.attempt), None)
        if attempts and not self._closed:
            self._sink.attempts_ended([lost(attempt, error, self.label, final=True) for attempt in attempts])
        if first and not self._closed:
            self._sink.reported(self.label, str(error))
