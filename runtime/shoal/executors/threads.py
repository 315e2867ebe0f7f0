"""Tasks on threads of this process: nothing travels, arguments are shared, not copied."""

from __future__ import annotations

import concurrent.futures
import contextvars
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from shoal.errors import ConfigurationError
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.futures import find_futures, replace_futures
from shoal.outcome import Held, Raised, Value, split_outputs
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
        self._inner = concurrent.futures.ThreadPoolExecutor(spec.max_threads, thread_name_prefix=f"shoal-{spec.label}")
        self._sink: Sink
        self._started = time.time()
        self._lock = threading.Lock()
        self._futures: dict[tuple[int, int], Future[None]] = {}
        self._done = 0
        self._running = 0

    def start(self, sink: Sink, folder: Path) -> None:
        """Begin."""
        self._sink = sink

    def prepare(self, call: Call) -> PreparedThreadCall:
        """Find the futures among the arguments."""
        return PreparedThreadCall(call)

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Queue the attempts on the threads."""
        for attempt in attempts:
            key = (attempt.tid, attempt.attempt)
            with self._lock:
                self._futures[key] = self._inner.submit(attempt.prepared.context.copy().run, self._run, attempt)

    def drop(self, tid: int, attempt: int) -> None:
        """Take back an attempt that has not begun."""
        with self._lock:
            future = self._futures.get((tid, attempt))
            if future is not None and future.cancel():
                del self._futures[tid, attempt]

    def outstanding(self) -> int:
        """How many attempts have not ended."""
        return len(self._futures)

    def slots(self) -> int:
        """One a thread."""
        return self._max

    def status(self) -> PoolStatus:
        """Queued, running and done tasks; the threads count as one manager's workers."""
        running, waiting = self._running, len(self._futures) - self._running
        manager = ManagerStatus(0, 0, os.uname().nodename, os.getpid(), self._max, self._max, running, waiting, 0.0)
        return PoolStatus(0, self.label, self._started, max(0, waiting), running, self._done, 0, [], [manager], [])

    def scale(self, blocks: int) -> None:
        """Threads have no blocks."""
        raise ConfigurationError(f"{self.label}.scale", blocks, "a ThreadPoolExecutor has no blocks to scale")

    def close(self) -> None:
        """Drop what waits; a task that runs in a thread cannot be stopped and is left to end by itself."""
        self._inner.shutdown(wait=False, cancel_futures=True)

    def _run(self, attempt: Attempt) -> None:
        call: Call = attempt.prepared.call
        started = time.time()
        worker = f"{os.uname().nodename}/{threading.current_thread().name}"
        self._sink.attempt_started(attempt.tid, attempt.attempt, worker, started)
        self._running += 1
        values, failure = _run_task(call, attempt)
        self._running -= 1
        self._done += 1
        with self._lock:
            self._futures.pop((attempt.tid, attempt.attempt), None)
        self._sink.attempts_ended([Ended(attempt.tid, attempt.attempt, values, failure, worker, started, time.time())])


def _run_task(call: Call, attempt: Attempt) -> tuple[list[Value], Raised | None]:
    try:
        objects = {
            id(original): source.result()
            for original, source in zip(attempt.prepared.inputs, attempt.inputs, strict=True)
        }
        args, kwargs = replace_futures((call.args, call.kwargs), objects) if objects else (call.args, call.kwargs)
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
