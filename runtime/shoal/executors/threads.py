"""Tasks on threads of this process: nothing travels, arguments are shared, not copied."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from shoal.containers import find_futures, replace_futures
from shoal.errors import ConfigurationError
from shoal.executors.calling import Arguments, call_here
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.place import enter_task, enter_thread
from shoal.resources import Resources
from shoal.spec import Spec
from shoal.timers import call_later
from shoal.wire.messages import ManagerStatus, PoolStatus

__all__ = ["PreparedThreadCall", "ThreadPoolExecutor", "Threads"]

_LOOK_EVERY = 0.2
"""Seconds between looks whether bodies wait for others that have no thread."""

_MORE = 64
"""Threads that are added at once for such bodies."""


class ThreadPoolExecutor(Spec, frozen=True, tag="threads"):
    """Threads of this process as an executor: for I/O, for libraries that release the GIL, for small things.

    Args:
        label: its name in the session.
        max_threads: how many tasks run at once; default: one a core.
    """

    label: str = "threads"
    max_threads: int = len(os.sched_getaffinity(0))

    def check(self) -> None:
        """At least one thread."""
        self.require(self.max_threads >= 1, "max_threads", "use 1 or more")

    def build(self) -> Threads:
        """The executor that this describes."""
        return Threads(self)


class PreparedThreadCall:
    """A call whose arguments stay objects."""

    __slots__ = ("arguments", "call", "captures", "code", "context", "inputs")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.inputs: Sequence[Future[Any]] = find_futures((call.args, call.kwargs))
        # prints of the task go where those of its submitter went (ipykernel routes by context)
        self.context = contextvars.copy_context()
        self.code = self.captures = self.arguments = b""


class Threads:
    """The executor behind :class:`ThreadPoolExecutor`.

    Args:
        spec: what it is made of.
        tasks: whether it runs tasks, in which apps run in place; or the bodies of join apps, in which apps become tasks.
    """

    kind = "threads"
    keeps_walltime = False

    def __init__(self, spec: ThreadPoolExecutor, tasks: bool = True) -> None:
        self.label = spec.label
        self._max = spec.max_threads
        self._tasks = tasks
        self._limit = spec.max_threads
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        """One for each attempt in the lines; False ends a thread."""
        self._lines: dict[int, deque[tuple[int, int]]] = {}
        """What waits, by priority; cancelled attempts stay in line."""
        self._waiting: dict[tuple[int, int], Attempt] = {}
        self._executing: set[tuple[int, int]] = set()
        self._threads: list[threading.Thread] = []
        self._sink: Sink
        self._started = time.time()
        self._lock = threading.Lock()
        self._taken = self._done = 0
        self._watched = self._closed = False

    def start(self, sink: Sink, folder: Path) -> None:
        """Begin."""
        self._sink = sink

    def prepare(self, call: Call) -> PreparedThreadCall:
        """Find the futures among the arguments.

        Raises:
            ConfigurationError: the call has a walltime, which threads cannot keep.
        """
        if call.walltime:
            fix = f"threads cannot be ended; run {call.label} on a HighThroughputExecutor, or without walltime"
            raise ConfigurationError("walltime", call.walltime, fix)
        return PreparedThreadCall(call)

    def launch_ahead(self, attempt: Attempt) -> bool:
        """False: all is in one process, or in another engine's hands."""
        return False

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Queue the attempts on the threads, of which there are as many as are needed."""
        with self._lock:
            for attempt in attempts:
                resources = attempt.prepared.call.resources
                priority = 0 if resources is None else resources.priority
                key = attempt.tid, attempt.attempt
                self._tokens.put(True)  # first: Ctrl-C may come between, and one too many does no harm
                self._waiting[key] = attempt
                self._lines.setdefault(priority, deque()).append(key)
            self._start_threads()
            if not self._tasks and not self._watched and len(self._waiting) + len(self._executing) > self._limit:
                self._watched = True
                call_later(_LOOK_EVERY, self._look, self._taken)

    def _start_threads(self) -> None:
        wanted = min(self._limit, len(self._waiting) + len(self._executing))
        while len(self._threads) < wanted and not self._closed:
            # daemons: a task that runs on must not keep the interpreter from its end
            name = f"shoal-{self.label}-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            try:
                self._threads[-1].start()
            except RuntimeError:  # the system gives no more
                del self._threads[-1]
                if not self._threads:
                    raise
                return

    def _look(self, taken: int) -> None:
        """Add threads if none was free for a while: bodies may wait inside for others, which would then wait for ever."""
        with self._lock:
            self._watched = bool(self._waiting) and not self._closed
            if self._watched:
                if taken == self._taken:
                    self._limit = len(self._threads) + _MORE
                    self._start_threads()
                call_later(_LOOK_EVERY, self._look, self._taken)

    def cancel(self, tid: int, attempt: int) -> bool:
        """Take an attempt out of the queue; one that runs cannot be stopped."""
        with self._lock:
            return self._waiting.pop((tid, attempt), None) is not None or (tid, attempt) not in self._executing

    def outstanding(self) -> int:
        """How many attempts have not ended."""
        return len(self._waiting) + len(self._executing)

    def usable(self) -> bool:
        """Until it is closed."""
        return not self._closed

    def slots(self) -> int:
        """One a thread."""
        return self._max

    def lacks(self, resources: Resources) -> str:
        """Threads have the cores of this process, and know of no accelerators."""
        if resources.gpus:
            return f"{resources.gpus} gpus: threads have none to give"
        if resources.ranks:
            return f"{resources.ranks} ranks: MPI tasks run on pools"
        if resources.cores > self._max:
            return f"{resources.cores:g} cores: it has {self._max} threads"
        return ""

    def status(self) -> PoolStatus:
        """Queued, running and done tasks; the threads count as one manager's workers."""
        running, waiting = len(self._executing), len(self._waiting)
        manager = ManagerStatus(0, 0, os.uname().nodename, os.getpid(), self._max, self._max, running, waiting, 0.0)
        return PoolStatus(0, self.label, self._started, waiting, running, self._done, 0, [], [manager], [])

    def scale(self, blocks: int) -> None:
        """Threads have no blocks."""
        raise ConfigurationError(f"{self.label}.scale", blocks, "a ThreadPoolExecutor has no blocks to scale")

    def close(self) -> None:
        """Drop what waits; a task that runs in a thread cannot be stopped and is left to end by itself."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._lines.clear()
        for _ in self._threads:
            self._tokens.put(False)

    def _work(self) -> None:
        if self._tasks:
            enter_thread()
        while self._tokens.get():
            attempt = self._take()
            if attempt is not None:
                attempt.prepared.context.copy().run(self._run, attempt)
            del attempt  # a thread that waits keeps nothing alive

    def _take(self) -> Attempt | None:
        """The attempt that is next; None if it was cancelled."""
        with self._lock:
            if not self._lines:
                return None
            first = max(self._lines)
            line = self._lines[first]
            key = line.popleft()
            if not line:
                del self._lines[first]
            attempt = self._waiting.pop(key, None)
            if attempt is not None:
                self._executing.add(key)
                self._taken += 1
            return attempt

    def _run(self, attempt: Attempt) -> None:
        enter_task(attempt.tid, self._sink)
        started = time.time()
        worker = f"{os.uname().nodename}/{threading.current_thread().name}"
        self._sink.attempt_started(attempt.tid, attempt.attempt, worker, started)
        call = attempt.prepared.call
        values, failure = call_here(call, lambda: _arguments(call, attempt))
        ended = Ended(attempt.tid, attempt.attempt, values, failure, worker, started, time.time())
        self._sink.attempts_ended([ended])
        with self._lock:  # only now: until then it cannot be said that it was cancelled
            self._executing.discard((attempt.tid, attempt.attempt))
            self._done += 1


def _arguments(call: Call, attempt: Attempt) -> Arguments:
    objects = {
        id(original): source.result() for original, source in zip(attempt.prepared.inputs, attempt.inputs, strict=True)
    }
    if not objects:
        return call.args, call.kwargs
    filled: Arguments = replace_futures((call.args, call.kwargs), lambda future: objects[id(future)])
    return filled
