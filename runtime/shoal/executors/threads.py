"""Tasks on threads of this process: nothing travels, arguments are shared, not copied."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from shoal.containers import find_futures, replace_futures
from shoal.errors import ConfigurationError
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.outcome import Held, Raised, Value, split_outputs
from shoal.place import enter_thread
from shoal.spec import Spec
from shoal.wire.messages import ManagerStatus, PoolStatus

__all__ = ["PreparedThreadCall", "ThreadPoolExecutor", "Threads"]


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
    """The executor behind :class:`ThreadPoolExecutor`."""

    kind = "threads"

    def __init__(self, spec: ThreadPoolExecutor) -> None:
        self.label = spec.label
        self._max = spec.max_threads
        self._queue: SimpleQueue[Attempt | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._sink: Sink
        self._started = time.time()
        self._lock = threading.Lock()
        self._waiting: dict[tuple[int, int], Attempt] = {}
        self._done = 0
        self._running = 0
        self._closed = False

    def start(self, sink: Sink, folder: Path) -> None:
        """Begin."""
        self._sink = sink

    def prepare(self, call: Call) -> PreparedThreadCall:
        """Find the futures among the arguments."""
        return PreparedThreadCall(call)

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Queue the attempts on the threads, of which there are as many as are needed."""
        with self._lock:
            for attempt in attempts:
                self._waiting[attempt.tid, attempt.attempt] = attempt
                self._queue.put(attempt)
            wanted = min(self._max, len(self._waiting) + self._running)
            while len(self._threads) < wanted and not self._closed:
                # daemons: a task that runs on must not keep the interpreter from its end
                name = f"shoal-{self.label}-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()

    def drop(self, tid: int, attempt: int) -> None:
        """Take back an attempt that has not begun."""
        with self._lock:
            self._waiting.pop((tid, attempt), None)

    def outstanding(self) -> int:
        """How many attempts have not ended."""
        return len(self._waiting) + self._running

    def usable(self) -> bool:
        """Until it is closed."""
        return not self._closed

    def slots(self) -> int:
        """One a thread."""
        return self._max

    def status(self) -> PoolStatus:
        """Queued, running and done tasks; the threads count as one manager's workers."""
        running, waiting = self._running, len(self._waiting)
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
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        enter_thread()
        while (attempt := self._queue.get()) is not None:
            with self._lock:
                if self._waiting.pop((attempt.tid, attempt.attempt), None) is None:
                    continue  # dropped
                self._running += 1
            attempt.prepared.context.copy().run(self._run, attempt)

    def _run(self, attempt: Attempt) -> None:
        started = time.time()
        worker = f"{os.uname().nodename}/{threading.current_thread().name}"
        self._sink.attempt_started(attempt.tid, attempt.attempt, worker, started)
        values, failure = _run_task(attempt.prepared.call, attempt)
        with self._lock:
            self._running -= 1
            self._done += 1
        ended = Ended(attempt.tid, attempt.attempt, values, failure, worker, started, time.time())
        self._sink.attempts_ended([ended])


def _run_task(call: Call, attempt: Attempt) -> tuple[list[Value], Raised | None]:
    try:
        objects = {
            id(original): source.result()
            for original, source in zip(attempt.prepared.inputs, attempt.inputs, strict=True)
        }
        args, kwargs = (
            replace_futures((call.args, call.kwargs), lambda future: objects[id(future)])
            if objects
            else (call.args, call.kwargs)
        )
        result = _finish(call.function, call.function(*args, **kwargs))
        return [Held(item) for item in split_outputs(result, call.outputs, call.label)], None
    except BaseException as error:  # noqa: BLE001 - the task's own code: whatever it raises is its outcome
        return [], Raised(error)


def _finish(function: Callable[..., Any], result: Any) -> Any:
    import inspect

    if inspect.iscoroutine(result) and inspect.iscoroutinefunction(function):
        import asyncio

        return asyncio.run(result)
    return result
