"""Cached tasks: found in the store, run once where several are the same, and kept when they have ended.

The engine hands the first attempt of each cached task to :meth:`Memoizer.launch`. On a thread of its own the key is finished
(which reads the values of the task's inputs) and looked up. A result that is found is answered as an attempt that has ended. Else
the task is the *leader* of its key and runs; tasks with the same key that come meanwhile *follow* it and get its result.

The engine calls under its own lock, so nothing here waits for the disk or for users' code while it holds the lock of this
module, and ``run`` and ``answer`` are called without it.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from shoal.callbacks import call_back
from shoal.errors import NotMemoizable, ResultUnreadable
from shoal.executors.executor import Attempt, Call, Ended, Executor
from shoal.memo.digest import content
from shoal.memo.frames import blob, bundle
from shoal.memo.jobs import Jobs, JobThread
from shoal.memo.keeping import Keeper, Result, packed
from shoal.memo.key import PartialKey, finish_key, start_key
from shoal.memo.spec import Memo
from shoal.node.special import PLAN, Plan
from shoal.outcome import Failure, Held, Packed, Payload, Raised
from shoal.place import forks
from shoal.reading import load_value
from shoal.serialize import ShoalWarning, pack
from shoal.serialize.pickling import view

__all__ = ["WORKER", "Memoizer"]

WORKER = "memo"
"""In place of a worker's name, where a result was found or shared."""


class _Task:
    """A cached task that has not ended.

    Attributes:
        key: None until it is finished.
    """

    __slots__ = ("attempt", "executor", "key", "partial")

    def __init__(self, executor: Executor, attempt: Attempt, partial: PartialKey) -> None:
        self.executor, self.attempt, self.partial = executor, attempt, partial
        self.key: bytes | None = None


class _Flight:
    """The tasks of one key.

    Attributes:
        leader: the task that runs, or will unless its result is found; None while the next one is chosen.
        runs: whether it was sent.
        followers: those that wait for it; some may have been cancelled.
    """

    __slots__ = ("followers", "leader", "runs")

    def __init__(self, leader: int) -> None:
        self.leader: int | None = leader
        self.runs = False
        self.followers: deque[int] = deque()


class Memoizer:
    """The cached tasks of one session.

    Args:
        spec: what is kept, where, when.
        run: launches an attempt whose result is not known; must neither block nor raise.
        answer: takes attempts that have ended.
        jobs: where the work is done; default: a thread of its own.
        warn: is told, once each, what goes wrong that stops nothing.
    """

    def __init__(
        self,
        spec: Memo,
        run: Callable[[Executor, Attempt], None],
        answer: Callable[[Sequence[Ended]], None],
        jobs: Jobs | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._spec, self._run, self._answer = spec, run, answer
        self._jobs: Jobs = JobThread("shoal-memo") if jobs is None else jobs
        self._warn = warn or _warn
        self._keeper = Keeper(spec, self._warn)
        self._lock = threading.Lock()
        self._tasks: dict[int, _Task] = {}
        self._flights: dict[bytes, _Flight] = {}
        self._payloads: dict[int, list[Payload]] = {}
        self._contents: weakref.WeakKeyDictionary[Future[Any], bytes] = weakref.WeakKeyDictionary()
        self._told: set[str] = set()
        self._closed = False
        self._birth = forks()
        if spec.checkpoint_mode == "periodic":
            self._jobs.every(spec.checkpoint_period, self._keeper.save_all)

    # ------------------------------------------------------------------ called by whoever submits

    def request(self, call: Call, ignore: Sequence[str] = ()) -> PartialKey:
        """Begin the key of a call, with its arguments as they are now.

        Args:
            call: as the user made it.
            ignore: names of arguments that make no difference.

        Raises:
            NotMemoizable: names the argument, or the captured variable, that has no digest.
            ConfigurationError: the folder of the store is not safe to read from.
        """
        self._keeper.open()
        partial = start_key(
            call.function, call.args, call.kwargs, call.label, outputs=call.outputs, ignore=ignore,
            environment=self._spec.environment, records=call.image.notes,
        )  # fmt: skip
        plan = call.kwargs.get(PLAN)
        if not isinstance(plan, Plan):
            return partial
        streams = tuple([s.path for s in (plan.stdout, plan.stderr) if s is not None and not s.chosen])
        files = tuple(dict.fromkeys((*partial.files, *plan.outputs)))
        return PartialKey(partial.parts, partial.futures, partial.label, files, streams)

    def checkpoint(self) -> int:
        """Write the results that are not in the store yet; returns how many were written."""
        return 0 if self._birth != forks() else self._keeper.save_all()

    def close(self, timeout: float) -> bool:
        """Take no more tasks, answer none, write what is to be written.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether all is written.
        """
        if self._birth != forks():
            return True
        with self._lock:
            self._closed = True
            self._tasks.clear()
            self._flights.clear()
            self._payloads.clear()
        if self._spec.checkpoint_mode != "manual":
            self._jobs.put(self._keeper.save_all)
        return self._jobs.close(timeout)

    # ------------------------------------------------------------------ called by the engine, under its lock

    def launch(self, executor: Executor, attempt: Attempt, partial: PartialKey) -> None:
        """Find the result of a task or run it. Never blocks."""
        with self._lock:
            if self._closed:
                return
            self._tasks[attempt.tid] = _Task(executor, attempt, partial)
        self._jobs.put(self._decide, attempt.tid)

    def task_ended(self, tid: int, outcome: Result | None) -> list[Ended]:
        """Take in that a task is over for good.

        Args:
            tid: which; one that is not known here is passed over.
            outcome: its values or its failure; None if it was cancelled, or the session closed.

        Returns:
            The ends of those that waited for it.
        """
        with self._lock:
            payloads = self._payloads.pop(tid, None)
            task = self._tasks.pop(tid, None)
            flight = None if task is None or task.key is None else self._flights.get(task.key)
            if task is None or task.key is None or flight is None or flight.leader != tid:
                return []  # its key was not known yet, or it waited for another: that was all there is of it
            flight.leader = None
            if outcome is None:
                if flight.runs:  # else it is being looked up, and whoever does that chooses the next
                    self._jobs.put(self._settle, task.key, None)
                return []
            del self._flights[task.key]
            if payloads is not None:
                outcome = [Packed(payload) for payload in payloads]
            followers = [self._tasks.pop(follower) for follower in flight.followers if follower in self._tasks]
            if self._keeper.add(task.key, task.partial, outcome):
                self._jobs.put(self._keeper.ready, task.key)
        return [_ended(follower.attempt, outcome) for follower in followers]

    def forget(self, tid: int) -> None:
        """A task was cancelled: unless it is a leader that runs, whose end is still to come, it gets no answer."""
        with self._lock:
            task = self._tasks.get(tid)
            if task is None:
                return
            flight = None if task.key is None else self._flights.get(task.key)
            if flight is None or flight.leader != tid:
                del self._tasks[tid]
            elif not flight.runs:
                del self._tasks[tid]
                flight.leader = None

    # ------------------------------------------------------------------ called by the thread that reports an end

    def take_in(self, ended: Sequence[Ended]) -> None:
        """Pack the values of cached tasks that were made in this process, before anybody can change them.

        Called before the futures are settled, and without the engine's lock.
        """
        if not self._tasks:
            return
        for end in ended:
            task = self._tasks.get(end.tid)
            if task is not None and end.failure is None and any(type(value) is Held for value in end.values):
                payloads = packed(end.values)  # type: ignore[arg-type]
                if payloads is not None:
                    with self._lock:
                        if end.tid in self._tasks:
                            self._payloads[end.tid] = payloads

    # ------------------------------------------------------------------ on the thread

    def _decide(self, tid: int) -> None:
        """Finish a task's key; look it up, unless a task with the same key is on its way."""
        task = self._tasks.get(tid)
        if task is None:
            return
        key = self._key_of(task)
        if key is None:
            with self._lock:
                known = self._tasks.pop(tid, None)
            if known is not None:
                self._run(task.executor, task.attempt)
            return
        with self._lock:
            if tid not in self._tasks:
                return
            task.key = key
            flight = self._flights.get(key)
            if flight is not None:
                flight.followers.append(tid)
                return
            self._flights[key] = _Flight(tid)
        self._settle(key, self._keeper.find(key, task.partial))

    def _settle(self, key: bytes, found: Result | None) -> None:
        """Answer the tasks of a key, or run the first of them."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                return
            if found is not None:
                del self._flights[key]
                waiting = [flight.leader, *flight.followers]
                tasks = [self._tasks.pop(tid) for tid in waiting if tid is not None and tid in self._tasks]
            else:
                while flight.leader is None and flight.followers:
                    tid = flight.followers.popleft()
                    flight.leader = tid if tid in self._tasks else None
                if flight.leader is None:
                    del self._flights[key]
                    return
                flight.runs = True
                tasks = [self._tasks[flight.leader]]
        if found is None:
            self._run(tasks[0].executor, tasks[0].attempt)
        else:
            self._answer([_ended(task.attempt, found) for task in tasks])

    def _key_of(self, task: _Task) -> bytes | None:
        """The finished key; None where a value among the inputs has no digest, or none can be made."""
        try:
            attempt, partial = task.attempt, task.partial
            given = zip(attempt.prepared.inputs, attempt.inputs, strict=True) if partial.futures else ()
            sources = {id(future): source for future, source in given}
            return finish_key(partial, [self._content(sources.get(id(f), f)) for f in partial.futures])
        except BaseException as error:  # noqa: BLE001 - reads and digests users' values: that must not end the thread
            self._tell(f"{task.partial.label} runs without being cached: {type(error).__name__}: {error}")
            return None

    def _content(self, future: Future[Any]) -> bytes:
        """The encoding of a future's value."""
        outputs = getattr(future, "outputs", None)
        if isinstance(outputs, Mapping) and outputs:
            names = [blob(b"output", name.encode()) + self._content(output) for name, output in outputs.items()]
            return bundle(b"outputs", names)
        outcome = getattr(future, "outcome", None)
        if isinstance(outcome, Packed):
            known = self._contents.get(future)
            if known is None:
                known = self._contents[future] = _content_packed(outcome.payload)
            return known
        value = future.result(0)
        try:
            return content(value)
        except NotMemoizable:
            return _packed_bytes(pack(value))

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._warn(text)


def _ended(attempt: Attempt, result: Result) -> Ended:
    if isinstance(result, Failure | Raised):
        return Ended(attempt.tid, attempt.attempt, (), result, WORKER, final=True)
    return Ended(attempt.tid, attempt.attempt, tuple(result), worker=WORKER)


def _content_packed(payload: Payload) -> bytes:
    """By content, as if the value had been given itself; by its bytes where it cannot be read here."""
    try:
        return content(load_value(payload, "an input"))
    except (ResultUnreadable, NotMemoizable):
        return _packed_bytes(payload)


def _packed_bytes(payload: Payload) -> bytes:
    return bundle(b"packed", [blob(b"part", bytes(view(part))) for part in (payload.head, *payload.buffers)])


def _warn(text: str) -> None:
    call_back(_show, text)


def _show(text: str) -> None:
    warnings.warn(text, ShoalWarning, stacklevel=1)
