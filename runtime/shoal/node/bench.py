"""The tasks on a node: which worker gets what, and when.

Attempts are handed out in the order in which they came. A worker gets one at a time, unless its function has been seen to
be short: then a few wait in its link, so that it never waits for its manager; should one of them take long after all,
what waits behind it is taken back as soon as another worker is idle. An attempt that needs more than a worker, or has a walltime,
shares its worker with none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil

from shoal.dispatch.blobs import BlobStore
from shoal.node.crew import Key, WorkerHandle
from shoal.node.gear import Gear, Grant
from shoal.wire.frames import Codec
from shoal.wire.messages import Blob, Result, Task

__all__ = ["DEEP", "STALLED_AFTER", "Bench"]

PACKED = 100e-6
"""Attempts that take less than this (seconds) may share a packet."""

PACKET_WORK = 0.001
"""Seconds of expected work in one packet of several attempts."""

PACKET_TASKS = 64
"""Attempts in one packet at most."""

QUEUED_WORK = 0.004
"""Attempts wait in a worker's link for at most this much work (seconds)."""

STALLED_AFTER = 0.02
"""Seconds without progress after which a worker gives what it holds back, and what waits there, if another one is idle."""

COST = 10e-6
"""Seconds that an attempt costs a worker beyond its own time."""

DEEP = PACKET_TASKS * 8
"""Attempts that one worker can have at a time when they are short."""


class Bench:
    """What a manager has to do, and the workers that do it.

    Args:
        slots: how many one-core attempts run at once.
        deepen: called before workers get more attempts than one each, unless ``deep`` is set.
        blob_limit: bytes of blobs kept.
        gear: the accelerators and cores that attempts get.
        lifetime: attempts after which a worker is replaced; 0 for never.
    """

    def __init__(
        self,
        slots: int,
        deepen: Callable[[], None],
        blob_limit: int = 256 << 20,
        gear: Gear | None = None,
        lifetime: int = 0,
    ) -> None:
        self.slots = slots
        self._gear = gear or Gear()
        self._lifetime = lifetime
        self._lent: dict[int, list[WorkerHandle]] = {}
        """Workers, by index, that get nothing while the attempt of another uses their cores; one each, and its successor."""
        self.measured: set[WorkerHandle] = set()
        """Workers whose attempt has said how much memory it needs."""
        self.spent: list[WorkerHandle] = []
        """Workers that have had all that they get, and have to be ended now."""
        self.wanted: list[int] = []
        """Indices of workers whose successors have to be started now."""
        self._waiting: dict[int, WorkerHandle] = {}
        """Successors, by index, that are ready before their turn."""
        self._renewing = False
        """Whether a worker is being replaced since an attempt needs other accelerators than those that it has seen."""
        self._deepen = deepen
        self.queue: deque[Task] = deque()
        self.workers: dict[int, WorkerHandle] = {}
        self.idle: list[WorkerHandle] = []
        self.busy_cores = 0
        self.blobs = BlobStore(blob_limit)
        self.missing: list[bytes] = []
        """Blobs to ask the pool for."""
        self.deep = False
        """Whether a worker has got more than one attempt at a time since this was last reset."""
        self._parked: dict[bytes, list[Task]] = {}
        self._seen: dict[bytes, float] = {}
        self._codec = Codec()

    # ------------------------------------------------------------------ workers

    def add(self, worker: WorkerHandle) -> None:
        """A worker has been started; it gets nothing before it is ready."""
        self.workers[worker.pid] = worker
        worker.left = self._lifetime

    def ready(self, worker: WorkerHandle) -> None:
        """A worker is up."""
        worker.ready = True
        self._renewing = False
        if self._lifetime and any(w.index == worker.index and w.last and not w.retired for w in self.workers.values()):
            self._waiting[worker.index] = worker
        else:
            self._is_idle(worker)

    def remove(self, worker: WorkerHandle) -> tuple[list[Task], list[Task]]:
        """A worker's process has ended.

        Returns:
            The attempts that it may have begun, and those that it cannot have begun (they wait again).
        """
        del self.workers[worker.pid]
        if worker in self.idle:
            self.idle.remove(worker)
        self.busy_cores -= worker.cores
        self._release(worker)
        if self._waiting.get(worker.index) is worker:
            del self._waiting[worker.index]
        elif worker.last:
            self._succeed(worker)
        back = worker.take_back() + worker.not_begun()
        self._put_back(back)
        return [task for task, _, _ in worker.flight.values()], back

    # ------------------------------------------------------------------ tasks

    def hand_out(self) -> None:
        """Give workers what they can take."""
        queue = self.queue
        while queue:
            task = queue[0]
            if not self._has_blobs(task):
                queue.popleft()
                continue
            cores = 1 if task.cores == 1.0 else max(1, ceil(task.cores))
            if self.idle and self.busy_cores + cores <= self.slots:
                worker = self._equipped(task, cores) if task.gpus or cores > 1 or task.ranks else self.idle.pop()
                if worker is None:
                    return
                if not self._give(worker):
                    self.idle.append(worker)
                    self._release(worker)
                    return
                worker.cores = cores
                self.busy_cores += cores
                continue
            steady = self._behind(task) if cores == 1 else None
            if steady is None or not self._give(steady):
                return

    def ended(self, worker: WorkerHandle, result: Result) -> bool:
        """An attempt ended; False if the worker did not have it."""
        found = worker.ended((result.client, result.tid, result.attempt))
        if found is None:
            return False
        if result.failure is None:
            code = found[0].code
            took = result.ended - result.started
            old = self._seen.get(code)
            if old is None and len(self._seen) > 10_000:
                self._seen.clear()
            # Long ones count at once, short ones pull the average down slowly.
            self._seen[code] = took if old is None or took > old else old + 0.2 * (took - old)
        if not worker.flight:
            self.busy_cores -= worker.cores
            worker.cores = 0
            worker.load = 0.0
            if worker.special:
                self._settle(worker)
            else:
                self.idle.append(worker)
        return True

    def take_back(self, workers: list[WorkerHandle]) -> None:
        """Take back what waits in the links of these workers; it waits here again."""
        back: list[Task] = []
        for worker in workers:
            if len(worker.open) > 1:
                back += worker.take_back()
        self._put_back(back)

    def give_up(self) -> list[Key]:
        """Empty the queue, and forget what was in it: the pool has it again."""
        self.take_back(list(self.workers.values()))
        parked = [task for waiting in self._parked.values() for task in waiting]
        self._parked.clear()
        keys = [(task.client, task.tid, task.attempt) for task in [*self.queue, *parked]]
        self.queue.clear()
        return keys

    def drop(self, keys: set[Key] | None = None, client: int = 0) -> list[Task]:
        """Take attempts out that no worker has begun: those named, or all of a client. Returns them."""

        def wanted(task: Task) -> bool:
            return task.client == client if keys is None else (task.client, task.tid, task.attempt) in keys

        self.take_back([w for w in self.workers.values() if any(wanted(task) for task, _, _ in w.flight.values())])
        dropped = [task for task in self.queue if wanted(task)]
        if dropped:
            self.queue = deque(task for task in self.queue if not wanted(task))
        for digest, waiting in list(self._parked.items()):
            dropped += [task for task in waiting if wanted(task)]
            self._parked[digest] = [task for task in waiting if not wanted(task)]
        return dropped

    def blob(self, digest: bytes, data: object) -> None:
        """A blob came from the pool."""
        self.blobs.add(digest, data)
        waiting = self._parked.pop(digest, None)
        if waiting:
            self.queue.extendleft(reversed(waiting))

    def send_blob(self, worker: WorkerHandle, digest: bytes) -> None:
        """A worker asks for a blob (again)."""
        data = self.blobs.get(digest)
        if data is None:
            worker.known.discard(digest)
            self.missing.append(digest)
        else:
            worker.send(self._codec, Blob(digest, data))

    # ------------------------------------------------------------------ stalls

    def stalled(self, now: float) -> list[WorkerHandle]:
        """The workers that have several attempts and make no progress; if another is idle, it gets what waits there."""
        found = []
        spare = bool(self.idle) and not self.queue
        for worker in self.workers.values():
            if len(worker.flight) <= 1:
                continue
            mark = worker.mark
            if mark != worker.seen_mark:
                worker.seen_mark, worker.seen_at = mark, now
            elif now - worker.seen_at >= STALLED_AFTER:
                found.append(worker)
                if spare:
                    self.take_back([worker])
        return found

    # ------------------------------------------------------------------ inside

    def _has_blobs(self, task: Task) -> bool:
        for digest in (task.code, task.captures) if task.captures else (task.code,):
            if digest not in self.blobs:
                if digest not in self._parked:
                    self._parked[digest] = []
                    self.missing.append(digest)
                self._parked[digest].append(task)
                return False
        return True

    def _expected(self, task: Task) -> float:
        """Seconds that it will take if it is known to be short, else 0.0: then it comes alone."""
        if task.walltime or task.memory or task.gpus or task.ranks:
            return 0.0
        seen = self._seen.get(task.code)
        return seen + COST if seen is not None and seen < PACKET_WORK and task.cores <= 1.0 else 0.0

    def _behind(self, task: Task) -> WorkerHandle | None:
        """The busy worker behind whose work a short attempt may wait."""
        if not self._expected(task):
            return None
        steady = [w for w in self.workers.values() if w.flight and w.steady and w.load < QUEUED_WORK]
        return min(steady, key=_load) if steady else None

    def _give(self, worker: WorkerHandle) -> bool:
        """Send a worker the next attempts; False if its link is full."""
        queue = self.queue
        first = queue[0]
        load = self._expected(first)
        tasks, loads = [first], [load]
        if load and load < PACKED and len(queue) > 1:
            sharers = len(self.workers) if worker.flight else len(self.idle) + 1
            most = min(PACKET_TASKS, ceil(len(queue) / sharers), worker.left or PACKET_TASKS)
            total = load
            for place in range(1, most):
                task = queue[place]
                load = self._expected(task)
                total += load
                if not load or load >= PACKED or total > PACKET_WORK or task.code != first.code:
                    break
                if task.captures != first.captures:
                    break
                tasks.append(task)
                loads.append(load)
        if worker.flight or len(tasks) > 1:
            if not self.deep:
                self._deepen()
            self.deep = True
        if first.memory:
            self._measure(worker, first)
        try:
            self._send_blobs(worker, first)
            worker.give(self._codec, tasks, loads)
        except (BlockingIOError, ConnectionError):
            # Full: its results will come and bring us here again. Gone: its end will be seen, and handled there.
            return False
        worker.steady = bool(loads[0]) and (worker.steady or len(worker.flight) == len(tasks))
        if worker.left:
            self._use_up(worker, len(tasks))
        for _ in tasks:
            queue.popleft()
        return True

    def _send_blobs(self, worker: WorkerHandle, task: Task) -> None:
        for digest in (task.code, task.captures) if task.captures else (task.code,):
            if digest not in worker.known:
                worker.send(self._codec, Blob(digest, self.blobs.get(digest)))

    # ------------------------------------------------------------------ what needs more than a worker

    def _equipped(self, task: Task, cores: int) -> WorkerHandle | None:
        """An idle worker that has what an attempt needs; None if there is none now."""
        idle = self.idle
        bound = cores > 1 and bool(self._gear.cpus)
        if bound and len(idle) < cores:
            return None
        devices: tuple[str, ...] = ()
        if task.gpus:
            found = self._gear.choose(task.gpus, idle[::-1])
            if found is None:
                return None
            worker, devices = found
            if not devices:
                if not self._renewing:
                    self._renewing = True
                    idle.remove(worker)
                    self._retire(worker)
                return None
        else:
            worker = idle[-1]
        idle.remove(worker)
        slots = (worker.index, *self._borrow(worker, cores - 1)) if bound else ()
        if devices or slots or task.ranks:
            grant = Grant(devices, slots, task.ranks)
            worker.equip(grant, self._gear.take(grant))
            worker.special = True
        return worker

    def _borrow(self, worker: WorkerHandle, count: int) -> list[int]:
        """Take idle workers out whose cores another one uses; near ones, which may have a cache in common with it."""
        near = sorted(self.idle, key=lambda w: abs(w.index - worker.index))[:count]
        for lender in near:
            self.idle.remove(lender)
            self._lent[lender.index] = [lender]
        return [lender.index for lender in near]

    def _measure(self, worker: WorkerHandle, task: Task) -> None:
        worker.note_memory(task.memory)
        self.measured.add(worker)
        worker.special = True

    def _use_up(self, worker: WorkerHandle, count: int) -> None:
        """A worker that is to be replaced some time has got attempts; at the last one its successor is started."""
        worker.left -= count
        if worker.left <= 0:
            worker.left = 0
            worker.steady = False
            worker.special = worker.last = True
            self.wanted.append(worker.index)

    def _settle(self, worker: WorkerHandle) -> None:
        """An attempt that needed more than a worker, or was the worker's last, has ended."""
        self._release(worker)
        worker.special = False
        if worker.last:
            self._retire(worker)
        else:
            self._is_idle(worker)

    def _release(self, worker: WorkerHandle) -> None:
        self.measured.discard(worker)
        if worker.grant is None:
            return
        grant, worker.grant = worker.grant, None
        self._gear.give_back(grant)
        for index in grant.slots[1:]:
            for lender in self._lent.pop(index, ()):
                if lender.pid in self.workers:
                    self._is_idle(lender)

    def _is_idle(self, worker: WorkerHandle) -> None:
        """A worker may get an attempt, unless its cores are lent."""
        lent = self._lent.get(worker.index)
        if lent is not None:
            lent.append(worker)
        else:
            self.idle.append(worker)

    def _retire(self, worker: WorkerHandle) -> None:
        """A worker gets nothing more; the one after it may begin."""
        worker.retired = True
        self.spent.append(worker)
        if not worker.last:
            self.wanted.append(worker.index)
        self._succeed(worker)

    def _succeed(self, former: WorkerHandle) -> None:
        successor = self._waiting.pop(former.index, None)
        if successor is not None:
            self._is_idle(successor)

    def _put_back(self, tasks: list[Task]) -> None:
        """They wait again, before all others, in the order in which they came."""
        self.queue.extendleft(reversed(tasks))


def _load(worker: WorkerHandle) -> float:
    return worker.load
