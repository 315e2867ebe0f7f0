"""The manager of one node: ``python -P -m shoal.node.manager SPEC``.

It takes tasks from its pool's interchange, hands them to its workers, and sends results back, many in a message where many
are there. It judges its workers by their process state: one that ends is named, replaced, and what it had begun is lost.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import zmq

from shoal.errors import ProtocolError
from shoal.links import Poll, dial, process_started, receive, send
from shoal.node import kin, packets, supply
from shoal.node.bench import DEEP, STALLED_AFTER, Bench
from shoal.node.capture import LONG, Capture, Gathered
from shoal.node.crew import WorkerHandle, raise_file_limit, start_worker
from shoal.node.endings import CANCELLED, Endings
from shoal.outcome import Failure
from shoal.wire.frames import Codec
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Cancel,
    ClientGone,
    Goodbye,
    Heartbeat,
    Message,
    NeedBlob,
    Ready,
    Recall,
    Refused,
    Register,
    Result,
    Results,
    Returned,
    Running,
    RunningAttempt,
    Shutdown,
    Task,
    Tasks,
    Trouble,
)
from shoal.wire.starting import ManagerSpec

__all__ = ["HEARTBEAT", "Manager", "main"]

HEARTBEAT = 2.5
"""Seconds between signs of life."""

START_LIMIT = 60.0
"""Seconds that a worker may take to come up."""

STRIKES = 3
"""Workers that may end in a row before they are ready."""


class Manager:
    """One node of a block.

    Args:
        spec: what it was told at its start.
    """

    def __init__(self, spec: ManagerSpec) -> None:
        self._spec = spec
        self._host = socket.gethostname()
        self._slots = spec.slots or len(os.sched_getaffinity(0))
        self._bench = Bench(self._slots, self._deepen)
        self._codec = Codec()
        self._poll = Poll()
        self._results: list[Result] = []
        self._endings = Endings(self._bench)
        self._captures: dict[int, Capture] = {}
        self._output = Gathered()
        self._ended_names: set[str] = set()
        """What descends from workers of these names is to be ended."""
        self._next_look = 0.0
        self._next_beat = 0.0
        self._strikes = 0
        self._unstarted: dict[int, str] = {}
        self._told_of_unstarted = 0
        self._window = 0
        self._stop: str | None = None
        for index in range(self._slots):
            self._start_worker(index)
        self._context: zmq.Context[Any] = zmq.Context()
        self._pool = dial(self._context, spec.address)
        self._poll.add_socket(self._pool, self._from_pool)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Tasks: self._tasks,
            Blob: lambda m: self._bench.blob(m.digest, m.data),
            Cancel: self._cancel_some,
            ClientGone: lambda m: self._cancel(self._bench.drop(client=m.client)),
            Recall: lambda _: self._send(Returned(self._bench.give_up())),
            Shutdown: self._shutdown,
            Refused: self._refused,
        }

    def run(self) -> int:
        """Work until told to end; returns the exit code."""
        self._watch_pool_process()
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        spec = self._spec
        offer = (self._slots, spec.memory or supply.memory(), supply.gpus() if spec.gpus is None else spec.gpus)
        self._send(Register(PROTOCOL_VERSION, spec.block, self._host, os.getpid(), python, *offer))
        kin.adopt_orphans()
        gc.freeze()
        while self._stop is None:
            self._poll.once(self._timeout())
            self._after()
        return self._end()

    # ------------------------------------------------------------------ the loop

    def _timeout(self) -> float:
        now = time.monotonic()
        due = min(self._next_beat - now, self._output.wait(now))
        endings, bench = self._endings, self._bench
        spare = bool(bench.idle) and not bench.queue
        for worker in bench.workers.values():
            several = len(worker.flight) > 1
            if several and due > STALLED_AFTER and (worker.nudged != worker.mark or (spare and len(worker.open) > 1)):
                due = STALLED_AFTER
            if due > LONG and worker.unannounced():
                due = LONG
            if worker.limit or worker.ending is not None or endings.unwanted:
                due = min(due, endings.wait(worker, now))
        return max(0.0, due)

    def _after(self) -> None:
        """What is due after each round: work for workers, results for the pool, and now and then a look around."""
        bench = self._bench
        bench.hand_out()
        self._send_results()
        self._tell_of_unstarted()
        if bench.missing:
            missing, bench.missing = bench.missing, []
            self._send(NeedBlob(missing))
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 0.4 * STALLED_AFTER
            self._look_around(now)
        if not self._output.wait(now):
            self._send_output(now)

    def _look_around(self, now: float) -> None:
        bench = self._bench
        if now >= self._next_beat:
            self._beat(now)
        self._endings.look(now)
        for worker in bench.stalled(now):
            if worker.nudged != worker.mark:
                worker.nudge()
        bench.hand_out()
        if self._ended_names:
            kin.end(kin.orphans({w.pid for w in bench.workers.values()}, self._ended_names))
            self._ended_names.clear()
        running = []
        for worker in bench.workers.values():
            mark = worker.mark
            if not worker.unannounced() or time.time() - worker.begun_at < LONG:
                continue
            task = worker.current()
            if task is not None:
                worker.announced = mark
                name = f"{self._host}/{worker.pid}"
                running.append(RunningAttempt(task.client, task.tid, task.attempt, name, worker.begun_at))
        if running:
            self._send(Running(running))
        for worker in list(bench.workers.values()):
            if not worker.ready and now - worker.born > START_LIMIT:
                os.kill(worker.pid, signal.SIGKILL)

    def _deepen(self) -> None:
        """More attempts than slots are about to be with workers: say so first, see ``Heartbeat.window``."""
        if self._window == self._slots:
            self._window = self._slots * DEEP
            self._beat(time.monotonic())

    def _beat(self, now: float) -> None:
        bench = self._bench
        self._next_beat = now + HEARTBEAT
        for index in sorted(self._unstarted):
            self._start_worker(index)
        if self._window and not bench.deep and not any(len(w.flight) > 1 for w in bench.workers.values()):
            self._window = self._slots
        bench.deep = False
        kin.collect({w.pid for w in bench.workers.values()})
        self._send(Heartbeat(sum(w.ready for w in bench.workers.values()), self._window))

    # ------------------------------------------------------------------ from the pool

    def _from_pool(self) -> None:
        while (frames := receive(self._pool)) is not None:
            try:
                message = self._codec.decode(frames)
            except ProtocolError as error:
                sys.stderr.write(f"a message of the pool was dropped: {error}\n")
                continue
            handler = self._handlers.get(type(message))
            if handler is not None:
                handler(message)

    def _tasks(self, message: Tasks) -> None:
        self._bench.queue.extend(message.tasks)

    def _cancel_some(self, message: Cancel) -> None:
        keys = {(key[0], key[1], key[2]) for key in message.attempts}
        self._cancel(self._bench.drop(keys))
        self._endings.cancel(keys)
        self._endings.look(time.monotonic())

    def _cancel(self, tasks: list[Task]) -> None:
        for task in tasks:
            failure = Failure(CANCELLED, "cancelled before it began")
            self._results.append(Result(task.client, task.tid, task.attempt, [], failure))

    def _shutdown(self, message: Shutdown) -> None:
        self._stop = message.reason or "told to"

    def _refused(self, message: Refused) -> None:
        sys.stderr.write(
            f"the pool refuses this manager: {message.what} is {message.here} there, {message.there} here\n"
        )
        self._stop = "refused"

    def _send(self, message: Message) -> None:
        send(self._pool, self._codec.encode(message))

    # ------------------------------------------------------------------ from workers

    def _from_worker(self, worker: WorkerHandle) -> None:
        while True:
            try:
                packet = packets.receive(worker.link, socket.MSG_DONTWAIT, writable=False)
                if packet is None:
                    raise ConnectionResetError
                message = self._codec.decode(packet[1])
            except BlockingIOError:
                return
            except (ConnectionError, ProtocolError):
                # It closed its link, or speaks nonsense: its process is of no more use, and its end will be seen.
                self._poll.remove(worker.link.fileno())
                os.kill(worker.pid, signal.SIGKILL)
                return
            if isinstance(message, Results):
                self._from_attempts(worker, message.results)
            elif isinstance(message, Ready):
                self._strikes = 0
                self._bench.ready(worker)
                # Before it gets anything: from now on attempts may begin here.
                self._window = self._window or self._slots
                self._beat(time.monotonic())
            elif isinstance(message, NeedBlob):
                for digest in message.digests:
                    self._bench.send_blob(worker, digest)

    def _from_attempts(self, worker: WorkerHandle, results: list[Result]) -> None:
        for result in results:
            if self._bench.ended(worker, result):
                self._results.append(result)
        if worker.ending is not None or self._endings.unwanted:
            for result in results:
                self._endings.ended(worker, (result.client, result.tid, result.attempt))
        self._captures[worker.pid].settle()

    def _from_pipe(self, worker: WorkerHandle, stream: int) -> None:
        if not self._captures[worker.pid].read(stream):
            self._poll.remove(worker.pipes[stream])

    def _send_results(self) -> None:
        if self._results:
            # What a task printed arrives before its end.
            self._send_output(time.monotonic())
            results, self._results = self._results, []
            self._send(Results(results))

    def _send_output(self, now: float) -> None:
        for message in self._output.take(now):
            self._send(message)

    # ------------------------------------------------------------------ the lives of workers

    def _start_worker(self, index: int) -> None:
        spec = self._spec
        try:
            worker = start_worker(index, spec.folder, f"block-{spec.block}", self._host, time.monotonic())
        except OSError as error:
            self._unstarted[index] = str(error)
            return
        self._unstarted.pop(index, None)
        self._bench.add(worker)
        self._captures[worker.pid] = Capture(worker, self._output.add)
        for stream, pipe in enumerate(worker.pipes):
            self._poll.add(pipe, partial(self._from_pipe, worker, stream))
        self._poll.add(worker.link.fileno(), lambda: self._from_worker(worker))
        self._poll.add(worker.pidfd, lambda: self._worker_ended(worker))

    def _tell_of_unstarted(self) -> None:
        """Name what keeps workers from starting. With each heartbeat it is tried again, unless there is none at all."""
        grave = bool(self._unstarted) + bool(self._unstarted and not self._bench.workers)
        if grave > self._told_of_unstarted:
            reason = next(iter(self._unstarted.values()))
            self._send(Trouble("worker", f"a worker on {self._host} cannot be started: {reason}", fatal=grave > 1))
        self._told_of_unstarted = grave

    def _worker_ended(self, worker: WorkerHandle) -> None:
        self._from_worker(worker)
        self._captures.pop(worker.pid).finish()
        for fd in (worker.link.fileno(), worker.pidfd, *worker.pipes):
            self._poll.remove(fd)
        how = worker.reap()
        begun, back = self._bench.remove(worker)
        name = f"{self._host}/{worker.pid}"
        for task in begun:
            failure = self._endings.failure(worker, task, name, how)
            started = worker.begun_at if worker.flight[task.client, task.tid, task.attempt][1] == worker.mark else 0.0
            self._results.append(Result(task.client, task.tid, task.attempt, [], failure, name, started, time.time()))
        self._cancel(self._bench.drop(self._endings.unwanted_of(back)))
        self._ended_names.add(worker.name)
        if not worker.ready:
            self._strikes += 1
            if self._strikes == STRIKES:
                text = f"{STRIKES} workers in a row ended before they were ready, the last with {how}"
                self._send(Trouble("worker", f"{text}\n{worker.stderr_tail()}", fatal=True))
        elif worker.ending is None:
            self._send(Trouble("worker", f"worker {name} ended: {how}"))
        worker.close()
        if self._strikes < STRIKES:
            self._start_worker(worker.index)

    # ------------------------------------------------------------------ ends

    def _watch_pool_process(self) -> None:
        spec = self._spec
        if not spec.pool_pid:
            return
        try:
            fd = os.pidfd_open(spec.pool_pid)
        except ProcessLookupError:
            kin.end_group()
            return
        if process_started(spec.pool_pid) != spec.pool_started:
            kin.end_group()
        self._poll.add(fd, kin.end_group)

    def _end(self) -> int:
        """End in good order: workers see their links close and have a moment to leave."""
        self._send(Goodbye())
        workers = list(self._bench.workers.values())
        for worker in workers:
            self._poll.remove(worker.link.fileno())
            self._poll.remove(worker.pidfd)
            with suppress(BlockingIOError, ConnectionError):
                worker.send(self._codec, Shutdown())
        deadline = time.monotonic() + 1.0
        for worker in workers:
            while (
                time.monotonic() < deadline
                and os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
            ):
                time.sleep(0.005)
            os.kill(worker.pid, signal.SIGKILL)
            worker.reap()
        kin.end_descendants()
        self._context.destroy(linger=200)
        return 4 if self._stop == "refused" else 0


def main() -> None:
    """Run a manager as its spec file says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Its group gets the signal, too; but not what tasks have started in groups of their own.
    signal.signal(signal.SIGTERM, lambda *_: kin.end_group())
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ManagerSpec)
    os.chdir(spec.cwd)
    raise_file_limit()
    sys.exit(Manager(spec).run())


if __name__ == "__main__":
    main()
