"""The lives of a manager's workers: started, replaced when they end or have had all that they get, and told of when they fail."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from shoal.arena import close_unless_lent
from shoal.links import Poll
from shoal.node import kin
from shoal.node.bench import Bench
from shoal.node.capture import Capture
from shoal.node.crew import Exit, Key, WorkerHandle
from shoal.node.endings import GRACE, Endings
from shoal.node.hiring import start_worker
from shoal.node.memory import KilledByKernel
from shoal.wire.frames import Codec
from shoal.wire.messages import Message, Result, Shutdown, Task, Trouble
from shoal.wire.starting import ManagerSpec

__all__ = ["Ears", "Staff"]

START_LIMIT = 60.0
"""Seconds that a worker may take to come up."""

STRIKES = 3
"""Workers that may end in a row before they are ready."""


class Ears(NamedTuple):
    """Who hears of what happens.

    Args:
        read: a worker has sent something, or is gone.
        printed: an attempt, ``stdout`` or ``stderr``, and text.
        answer: an attempt has ended.
        cancelled: attempts that no worker has begun were cancelled.
        send: to the pool.
    """

    read: Callable[[WorkerHandle], None]
    printed: Callable[[Key, str, str], None]
    answer: Callable[[Result], None]
    cancelled: Callable[[list[Task]], None]
    send: Callable[[Message], None]


class Staff:
    """The workers of one manager.

    Args:
        spec: of the manager.
        host: this node's name.
        bench: where they get their tasks.
        endings: why some are to end.
        poll: where they are waited for.
        environment: the variables that the worker of an index has besides those of this process.
        ears: who hears of them.
    """

    def __init__(
        self,
        spec: ManagerSpec,
        host: str,
        bench: Bench,
        endings: Endings,
        poll: Poll,
        environment: Callable[[int], dict[str, str]],
        ears: Ears,
    ) -> None:
        self._spec, self._host, self._bench, self._endings, self._poll = spec, host, bench, endings, poll
        self._environment = environment
        self._ears = ears
        self._codec = Codec()
        self._kernel = KilledByKernel()
        self._captures: dict[int, Capture] = {}
        self._ended_names: set[str] = set()
        """What descends from workers of these names is to be ended."""
        self._arenas_left: list[tuple[int, set[int]]] = []
        """Of workers that are gone; a value that one of them lent may still be read, unless it has these marks."""
        self.closing = False
        """Whether workers that end are neither replaced nor told of: this node is about to end."""
        self._strikes = 0
        self._unstarted: dict[int, str] = {}
        self._told_of_unstarted = 0

    # ------------------------------------------------------------------ what is due

    def start(self, index: int) -> None:
        """Start a worker; if that fails it is tried again with each beat."""
        spec = self._spec
        try:
            worker = start_worker(
                index, spec.folder, f"block-{spec.block}", self._host, time.monotonic(), self._environment(index)
            )
        except OSError as error:
            self._unstarted[index] = str(error)
            return
        self._unstarted.pop(index, None)
        self._bench.add(worker)
        self._captures[worker.pid] = Capture(worker, self._ears.printed)
        for stream, pipe in enumerate(worker.pipes):
            self._poll.add(pipe, partial(self._from_pipe, worker, stream))
        self._poll.add(worker.link.fileno(), lambda: self._ears.read(worker))
        self._poll.add(worker.pidfd, lambda: self._ended(worker))

    def beat(self) -> None:
        """What is due with each heartbeat."""
        for index in sorted(self._unstarted):
            self.start(index)
        kin.collect({w.pid for w in self._bench.workers.values()})
        if self._arenas_left:
            self._arenas_left = [left for left in self._arenas_left if not close_unless_lent(*left)]

    def look(self, now: float) -> None:
        """What is due now and then."""
        workers = self._bench.workers.values()
        if self._ended_names:
            kin.end(kin.orphans({w.pid for w in workers}, self._ended_names))
            self._ended_names.clear()
        for worker in list(workers):
            late = now - worker.born > START_LIMIT if not worker.ready else worker.retired_at
            if late and (not worker.ready or now - worker.retired_at > GRACE):
                kin.end([worker.pid, *kin.descendants(worker.pid)])

    def renew(self, now: float) -> None:
        """End the workers that have had all that they get, and start those that follow them."""
        bench = self._bench
        wanted, bench.wanted = bench.wanted, []
        for index in wanted:
            self.start(index)
        spent, bench.spent = bench.spent, []
        for worker in spent:
            worker.retired_at = now
            with suppress(BlockingIOError, ConnectionError):
                worker.send(self._codec, Shutdown("its successor takes over"))

    def tell_of_unstarted(self) -> None:
        """Name what keeps workers from starting. With each heartbeat it is tried again, unless there is none at all."""
        grave = bool(self._unstarted) + bool(self._unstarted and not self._bench.workers)
        if grave > self._told_of_unstarted:
            reason = next(iter(self._unstarted.values()))
            self._ears.send(Trouble("worker", f"a worker on {self._host} cannot be started: {reason}", fatal=grave > 1))
        self._told_of_unstarted = grave

    # ------------------------------------------------------------------ what happens

    def ready(self, worker: WorkerHandle) -> None:
        """A worker is up."""
        self._strikes = 0
        self._bench.ready(worker)

    def settle(self, worker: WorkerHandle) -> None:
        """Attempts of a worker have ended: so has what they printed."""
        self._captures[worker.pid].settle()

    def give_up(self, worker: WorkerHandle) -> None:
        """A worker has closed its link, or speaks nonsense: its process is of no more use, and its end will be seen."""
        self._poll.remove(worker.link.fileno())
        os.kill(worker.pid, signal.SIGKILL)

    def _from_pipe(self, worker: WorkerHandle, stream: int) -> None:
        if not self._captures[worker.pid].read(stream):
            self._poll.remove(worker.pipes[stream])

    def _ended(self, worker: WorkerHandle) -> None:
        self._ears.read(worker)
        self._captures.pop(worker.pid).finish()
        for fd in (worker.link.fileno(), worker.pidfd, *worker.pipes):
            self._poll.remove(fd)
        ended = worker.reap()
        how = self._kernel.explain(ended) if worker.ending is None and not worker.retired else str(ended)
        unsent = {mark for _, mark, _ in worker.flight.values()}
        begun, back = self._bench.remove(worker)
        self._answer_for(worker, begun, ended, how)
        self._ears.cancelled(self._bench.drop(self._endings.unwanted_of(back)))
        self._ended_names.add(worker.name)
        if not worker.ready:
            self._strikes += 1
            if self._strikes == STRIKES:
                text = f"{STRIKES} workers in a row ended before they were ready, the last with {how}"
                self._ears.send(Trouble("worker", f"{text}\n{worker.stderr_tail()}", fatal=True))
        elif worker.ending is None and not worker.retired and not self.closing:
            self._ears.send(Trouble("worker", f"worker {self._host}/{worker.pid} ended: {how}"))
        worker.close()
        self._arenas_left.append((worker.arena, unsent))
        if self._strikes < STRIKES and not (worker.last or worker.retired or self.closing):
            self.start(worker.index)

    def _answer_for(self, worker: WorkerHandle, begun: list[Task], ended: Exit, how: str) -> None:
        """Say what became of the attempts that a worker had begun."""
        name = f"{self._host}/{worker.pid}"
        for task in begun:
            failure = self._endings.failure(worker, task, ended, how)
            started = worker.begun_at if worker.flight[task.client, task.tid, task.attempt][1] == worker.mark else 0.0
            self._ears.answer(Result(task.client, task.tid, task.attempt, [], failure, name, started, time.time()))
