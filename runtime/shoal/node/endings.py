"""Attempts that end before their time: cancelled while they run, at their walltime, with too much memory, with their block.

A worker whose attempt has to end is interrupted; it ends itself, so that the ``finally`` blocks of the task run, or the handler
that it has set for SIGTERM. One that does
not (it is in a C call, or the task holds on) is ended by force after a while, with all that it has started. Either way it
is replaced, and what waited there goes to others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from shoal.errors import AppTimeout, MemoryLimitExceeded, ShoalError, WorkerLost
from shoal.node import kin
from shoal.node.bench import STALLED_AFTER, Bench
from shoal.node.crew import Ending, Exit, Key, WorkerHandle
from shoal.outcome import Failure
from shoal.serialize import pack_failure
from shoal.wire.messages import Task

__all__ = ["CANCELLED", "GRACE", "Endings", "described"]

GRACE = 2.0
"""Seconds between an interrupt and the end by force, and between two attempts at that."""

CANCELLED = "concurrent.futures.CancelledError"


class Endings:
    """Which workers are to be ended, and why.

    Args:
        bench: the workers and what they have.
        host: this node's name.
        grace: seconds between an interrupt and the end by force.
    """

    def __init__(self, bench: Bench, host: str = "", grace: float = GRACE) -> None:
        self._bench = bench
        self._host = host
        self._grace = grace
        self.unwanted: set[Key] = set()
        """Attempts with workers that were cancelled and have not ended."""

    def cancel(self, keys: set[Key]) -> None:
        """These were cancelled; those that workers have are interrupted as soon as they are seen to run."""
        self.unwanted |= {key for worker in self._bench.workers.values() for key in worker.flight if key in keys}

    def ended(self, worker: WorkerHandle, key: Key) -> None:
        """An attempt has ended by itself: then its worker goes on."""
        self.unwanted.discard(key)
        if worker.ending is not None and worker.ending.key == key:
            worker.ending = None

    def wait(self, worker: WorkerHandle, now: float) -> float:
        """Seconds until something may be due at this worker."""
        if worker.ending is not None:
            return max(0.0, worker.ending.kill_at - now)
        if worker.limit and worker.flight:
            return max(0.0, worker.deadline - now) if worker.deadline else min(STALLED_AFTER, worker.limit)
        return STALLED_AFTER if self.unwanted else float("inf")

    def look(self, now: float) -> None:
        """Interrupt, or end, the workers for which it is time."""
        for worker in list(self._bench.workers.values()):
            if worker.ending is not None:
                if now >= worker.ending.kill_at:
                    self._kill(worker, now)
            elif self.unwanted or worker.limit:
                self._judge(worker, now)

    def _judge(self, worker: WorkerHandle, now: float) -> None:
        key = worker.running
        if key is None:
            return
        if key in self.unwanted:
            self._interrupt(worker, Ending(key, None, now + self._grace))
        elif worker.limit:
            if not worker.deadline:
                # From when it has begun, as far as the two clocks agree on that.
                elapsed = min(max(0.0, time.time() - worker.begun_at), now - worker.given_at)
                worker.deadline = now + worker.limit - elapsed
            if now >= worker.deadline:
                task = worker.flight[key][0]
                late = AppTimeout(described(task), task.walltime, self._name(worker))
                self._interrupt(worker, Ending(key, late, now + self._grace))

    def exceeded(self, worker: WorkerHandle, used: int, allowed: int, option: str, now: float) -> None:
        """The attempt that a worker runs takes too much memory: end it, at once since there may be none left soon.

        Args:
            worker: which.
            used: bytes that it has.
            allowed: bytes that it may have.
            option: that says so.
            now: as always.
        """
        key = worker.running
        if key is None:
            return
        error = MemoryLimitExceeded(described(worker.flight[key][0]), used, allowed, self._name(worker), option)
        self._bench.take_back([worker])
        worker.ending = Ending(key, error, now)
        self._kill(worker, now)

    def end_all(self, reason: str, now: float) -> None:
        """This block ends: interrupt what runs. It counts as lost.

        Args:
            reason: why, for people.
            now: as always.
        """
        for worker in self._bench.workers.values():
            key = worker.running
            if key is not None and worker.ending is None:
                error = WorkerLost(described(worker.flight[key][0]), f"worker {self._name(worker)}", reason)
                self._interrupt(worker, Ending(key, error, now + self._grace, lost=True))

    def _name(self, worker: WorkerHandle) -> str:
        return f"{self._host}/{worker.pid}"

    def _interrupt(self, worker: WorkerHandle, ending: Ending) -> None:
        self._bench.take_back([worker])
        worker.interrupt(ending)

    def _kill(self, worker: WorkerHandle, now: float) -> None:
        """End a worker by force, with all that descends from it."""
        assert worker.ending is not None
        worker.ending.kill_at = now + GRACE
        below = kin.descendants(worker.pid)
        kin.end([worker.pid, *below])

    def failure(self, worker: WorkerHandle, task: Task, exit: Exit, how: str) -> Failure:
        """Why an attempt that a worker had begun has no value, now that the worker has ended.

        Args:
            worker: it.
            task: the attempt.
            exit: how the process ended.
            how: the same in words.
        """
        key = (task.client, task.tid, task.attempt)
        self.unwanted.discard(key)
        ending = worker.ending
        error: ShoalError | None
        if ending is None or ending.key != key:
            error, lost = WorkerLost(described(task), f"worker {self._name(worker)}", how, exit.trace), True
        else:
            error, lost = ending.error, ending.lost
        if error is None:
            return Failure(CANCELLED, "cancelled while it ran")
        failure = pack_failure(error)
        failure.lost = lost
        return failure

    def unwanted_of(self, tasks: Iterable[Task]) -> set[Key]:
        """Those of the tasks, which are back with the manager and never begun, that were cancelled meanwhile."""
        found = self.unwanted & {(task.client, task.tid, task.attempt) for task in tasks}
        self.unwanted -= found
        return found


def described(task: Task) -> str:
    """A task, for people."""
    return f"task {task.tid} ({task.label})" if task.label else f"task {task.tid}"
