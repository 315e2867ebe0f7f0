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
from pathlib import Path
from typing import Any

import msgspec

from shoal.arena import give_back
from shoal.errors import ConfigurationError, ProtocolError
from shoal.links import Poll, Pulse, dial, process_started
from shoal.node import kin, packets, supply
from shoal.node.bench import DEEP, STALLED_AFTER, Bench
from shoal.node.capture import LONG, Gathered
from shoal.node.crew import WorkerHandle
from shoal.node.dumps import Dumps
from shoal.node.endings import CANCELLED, Endings
from shoal.node.gear import Gear, layout, names_of
from shoal.node.hiring import raise_file_limit
from shoal.node.leaving import Leaving
from shoal.node.memory import MemoryWatch
from shoal.node.outliving import Outliving
from shoal.node.page import DIARY
from shoal.node.staff import Ears, Staff
from shoal.node.word import leave_word
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
    StacksRequest,
    Taken,
    Task,
    Tasks,
)
from shoal.wire.messages import Leaving as Leaves
from shoal.wire.starting import ManagerSpec

__all__ = ["HEARTBEAT", "Manager", "main"]

HEARTBEAT = 2.5
"""Seconds between signs of life."""

_FAR = 1 << 30
"""The window of a manager that talks to its pool through threads of zmq, or a network: results may be lost on their way, and
while it is cut off it goes on. So all that it was sent may have begun."""


class Manager:
    """One node of a block.

    Args:
        spec: what it was told at its start.
    """

    def __init__(self, spec: ManagerSpec) -> None:
        self._spec = spec
        self._host = socket.gethostname()
        self._slots = spec.slots or len(os.sched_getaffinity(0))
        rules = spec.rules
        self._memory = spec.memory or supply.memory()
        self._gpus = supply.gpus(rules=rules) if spec.gpus is None else spec.gpus
        hidden = bool(rules.accelerators) or spec.gpus is not None
        cpus = layout(rules.cpu_affinity, self._slots, sorted(os.sched_getaffinity(0)))
        gear = Gear(rules, names_of(rules, self._gpus), hidden, cpus, self._host)
        self._bench = Bench(self._slots, self._deepen, gear=gear, lifetime=rules.max_tasks_per_worker)
        self._codec = Codec()
        self._poll = Poll()
        self._results: list[Result] = []
        self._outliving = Outliving(spec.outlive) if spec.outlive and not spec.address.server else None
        self._endings = Endings(self._bench, self._host, rules.grace)
        self._leaving = Leaving(rules, time.monotonic(), self._endings, lambda why: self._send(Leaves(why)))
        self._watch = MemoryWatch(self._bench, self._endings, rules.memory_per_worker)
        self._output = Gathered()
        ears = Ears(self._from_worker, self._output.add, self._results_add, self._cancel, self._send)
        self._staff = Staff(spec, self._host, self._bench, self._endings, self._poll, gear.environment, ears)
        self._next_look = 0.0
        self._next_beat = 0.0
        self._window = 0
        self._stop: str | None = None
        self._pulse: Pulse | None = None
        for index in range(self._slots):
            self._staff.start(index)
        self._pool = dial(spec.address)
        self._poll.add_link(self._pool, self._from_pool)
        self._dumps = Dumps(self._host, self._poll, self._send)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Tasks: self._tasks,
            Blob: lambda m: self._bench.blob(m.digest, m.data),
            Cancel: self._cancel_some,
            ClientGone: lambda m: self._cancel(self._bench.drop(client=m.client)),
            Recall: lambda _: self._send(Returned(self._bench.give_up())),
            StacksRequest: lambda m: self._dumps.ask(m, list(self._bench.workers.values())),
            Shutdown: self._shutdown,
            Refused: self._refused,
            Taken: self._taken,
        }

    def run(self) -> int:
        """Work until told to end; returns the exit code."""
        self._watch_pool_process()
        self._watch_signals()
        self._register()
        kin.adopt_orphans()
        gc.freeze()
        while self._stop is None:
            self._poll.once(self._timeout())
            self._after()
        return self._end()

    def _register(self, holds: list[tuple[int, int, int]] | None = None) -> None:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        offer = (self._slots, self._memory, self._gpus, holds)
        self._send(Register(PROTOCOL_VERSION, self._spec.block, self._host, os.getpid(), python, *offer))
        for worker in self._bench.workers.values():
            self._show_diary(worker)

    def _show_diary(self, worker: WorkerHandle) -> None:
        """Tell a pool on this host where it can read what a worker has begun."""
        if worker.ready and self._pulse is None:
            self._send(Ready(worker.pid, worker.page_fd, DIARY))

    # ------------------------------------------------------------------ the loop

    def _timeout(self) -> float:
        now = time.monotonic()
        due = min(self._next_beat - now, self._output.wait(now), self._watch.wait(now), self._leaving.wait(now))
        if self._alone():
            due = min(due, 0.1)
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
        self._hand_out()
        if bench.wanted or bench.spent:
            self._staff.renew(time.monotonic())
        self._send_results()
        self._staff.tell_of_unstarted()
        if bench.missing and not self._alone():
            missing, bench.missing = bench.missing, []
            self._send(NeedBlob(missing))
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 0.4 * STALLED_AFTER
            self._look_around(now)
        if not self._output.wait(now):
            self._send_output(now)

    def _hand_out(self) -> None:
        """Give workers what they can take; but not while results are still in this process, and would be lost with it.

        For the pool takes attempts as not begun that are far behind those whose results it has.
        """
        if not self._pool.pending:
            self._bench.hand_out()

    def _look_around(self, now: float) -> None:
        bench = self._bench
        if now >= self._next_beat:
            self._beat(now)
        if self._pulse is not None and self._pulse.gone(now):
            with suppress(OSError):  # a full disk
                sys.stderr.write(f"this manager ends, since its pool is gone: {self._pulse.reason}\n")
            kin.end_group()
        if self._outliving is not None and self._outliving.orphaned:
            self._look_for_pool(self._outliving, now)
        self._endings.look(now)
        self._watch.look(now)
        if self._leaving.look(now) or (self._leaving.terminated and not bench.workers):
            self._stop = self._stop or "its time is up"
        self._staff.look(now)
        for worker in bench.stalled(now):
            if worker.nudged != worker.mark:
                worker.nudge()
        self._hand_out()
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

    def _deepen(self) -> None:
        """More attempts than slots are about to be with workers: say so first, see ``Heartbeat.window``."""
        if self._window == self._slots:
            self._window = self._slots * DEEP
            self._bench.deep = True  # no beat is to take it back
            self._beat(time.monotonic())

    def _beat(self, now: float) -> None:
        bench = self._bench
        self._next_beat = now + HEARTBEAT
        if self._window and not bench.deep and not any(len(w.flight) > 1 for w in bench.workers.values()):
            self._window = self._slots
        bench.deep = False
        self._staff.beat()
        asks = self._pulse is not None and self._pulse.asks()
        window = _FAR if self._window and self._spec.address.server else self._window
        self._send(Heartbeat(sum(w.ready for w in bench.workers.values()), window, asks))

    # ------------------------------------------------------------------ from the pool

    def _from_pool(self) -> None:
        if self._pulse is not None:
            self._pulse.heard()
        while (frames := self._pool.receive()) is not None:
            try:
                message = self._codec.decode(frames)
            except ProtocolError as error:
                with suppress(OSError):  # a full disk
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

    def _taken(self, message: Taken) -> None:
        if self._outliving is not None:
            self._outliving.taken(message.count)

    def _shutdown(self, message: Shutdown) -> None:
        self._stop = message.reason or "told to"

    def _refused(self, message: Refused) -> None:
        with suppress(OSError):  # a full disk
            sys.stderr.write(
                f"the pool refuses this manager: {message.what} is {message.here} there, {message.there} here\n"
            )
        self._stop = "refused"

    def _send(self, message: Message) -> None:
        if not self._alone():
            self._pool.send(self._codec.encode(message))

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
                self._staff.give_up(worker)
                return
            if isinstance(message, Results):
                self._from_attempts(worker, message.results)
            elif isinstance(message, Ready):
                self._staff.ready(worker)
                # Before it gets anything: from now on attempts may begin here.
                self._window = self._window or self._slots
                self._show_diary(worker)
                self._beat(time.monotonic())
            elif isinstance(message, NeedBlob):
                for digest in message.digests:
                    self._bench.send_blob(worker, digest)

    def _from_attempts(self, worker: WorkerHandle, results: list[Result]) -> None:
        for result in results:
            if self._bench.ended(worker, result):
                self._results.append(result)
            else:
                give_back(result.values)
        if worker.ending is not None or self._endings.unwanted:
            for result in results:
                self._endings.ended(worker, (result.client, result.tid, result.attempt))
        self._staff.settle(worker)

    def _results_add(self, result: Result) -> None:
        self._results.append(result)

    def _send_results(self) -> None:
        if self._results:
            # What a task printed arrives before its end.
            self._send_output(time.monotonic())
            results, self._results = self._results, []
            if self._outliving is not None:
                self._outliving.sent(results)
            self._send(Results(results))

    def _send_output(self, now: float) -> None:
        for message in self._output.take(now):
            self._send(message)

    # ------------------------------------------------------------------ ends

    def _watch_signals(self) -> None:
        signal.signal(signal.SIGTERM, self._terminated)
        # The handler runs between two waits; writing to this pipe ends the one at hand.
        readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        self._poll.add(readable, lambda: self._woken(readable))

    def _terminated(self, *_: object) -> None:
        """SIGTERM: the batch system warns, or the pool ends this block, in which case there is little time."""
        self._staff.closing = True
        self._leaving.terminate(time.monotonic())

    def _woken(self, fd: int) -> None:
        os.read(fd, 4096)
        self._next_look = 0.0

    def _watch_pool_process(self) -> None:
        spec = self._spec
        if not spec.pool_pid or spec.pool_host != self._host:
            self._pulse = Pulse(spec.orphan_after)
            return
        try:
            fd = os.pidfd_open(spec.pool_pid)
        except ProcessLookupError:
            kin.end_group()
            return
        if process_started(spec.pool_pid) != spec.pool_started:
            kin.end_group()
        self._poll.add(fd, lambda: self._pool_ended(fd))

    def _pool_ended(self, fd: int) -> None:
        """What has not begun here can be sent again. With what has, this goes on if it is to; else it ends."""
        if self._outliving is not None and self._stop is None:
            self._poll.remove(fd)
            self._from_pool()
            self._bench.give_up()
            self._outliving.begin(time.monotonic(), self._pool.connects)
            return
        try:
            self._from_pool()
            keys = self._bench.give_up()
            for worker in self._bench.workers.values():
                os.kill(worker.pid, signal.SIGKILL)
                os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
                keys += [(task.client, task.tid, task.attempt) for task in worker.not_begun()]
            leave_word(self._spec, keys)
        finally:
            kin.end_group()

    def _alone(self) -> bool:
        """Whether nobody listens to this manager, which is still to bring what it has to somebody."""
        return self._outliving is not None and self._outliving.alone_since is not None

    def _look_for_pool(self, outliving: Outliving, now: float) -> None:
        """Tell the next process of the pool what there is, or end if none comes."""
        connected = self._pool.rest(now) == float("inf")
        if outliving.found(self._pool.connects, connected, now):
            unread = outliving.unread()
            holds = [key for worker in self._bench.workers.values() for key in worker.flight]
            holds += [(r.client, r.tid, r.attempt) for results in [*unread, self._results] for r in results]
            self._register(holds)
            for results in unread:
                self._send(Results(results))
        elif outliving.given_up(now):
            kin.end_group()

    def _end(self) -> int:
        """End in good order: what runs is interrupted, and workers have a moment to leave."""
        workers = list(self._bench.workers.values())
        now = time.monotonic()
        self._endings.end_all("its block was ended", now)
        self._send(Goodbye())
        grace = max(1.0, self._spec.rules.grace if any(worker.ending for worker in workers) else 0.0)
        for worker in workers:
            self._poll.remove(worker.link.fileno())
            self._poll.remove(worker.pidfd)
            with suppress(BlockingIOError, ConnectionError):
                worker.send(self._codec, Shutdown())
        deadline = now + grace
        for worker in workers:
            while (
                time.monotonic() < deadline
                and os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
            ):
                time.sleep(0.005)
            os.kill(worker.pid, signal.SIGKILL)
            worker.reap()
        kin.end_descendants()
        self._pool.close(0.2)
        return 4 if self._stop == "refused" else 0


def main() -> None:
    """Run a manager as its spec file says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Its group gets the signal, too; but not what tasks have started in groups of their own.
    signal.signal(signal.SIGTERM, lambda *_: kin.end_group())
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ManagerSpec)
    os.chdir(spec.cwd)
    raise_file_limit()
    try:
        manager = Manager(spec)
    except ConfigurationError as error:
        sys.exit(str(error))
    sys.exit(manager.run())


if __name__ == "__main__":
    main()
