"""The high-throughput executor: the client of a pool, embedded (started with the session) or attached to by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path

import zmq

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ConfigurationError, PoolLost, PoolStartFailed, ShoalError
from shoal.executors.calling import outcome_of
from shoal.executors.client import ClientLink
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.executors.nodes import NodeSize, node_of
from shoal.executors.packing import PreparedPoolCall, far, needs_packing, pack_inputs, prepare
from shoal.links import dial
from shoal.memo.jobs import JobThread
from shoal.outcome import Failure, Packed, Raised
from shoal.pool.connection import Connection, read_connection, remove_connection
from shoal.pool.start import make_spec, spawn_pool, stderr_tail
from shoal.resources import Resources, as_bytes
from shoal.serialize import Snapshot, pack
from shoal.spec import Spec
from shoal.wire.messages import (
    Blob,
    Cancel,
    Input,
    Output,
    PoolStatus,
    Results,
    Running,
    Scale,
    Shutdown,
    StatusRequest,
    Task,
    Trouble,
)

__all__ = ["HighThroughputExecutor", "PoolExecutor"]

_INLINE_CAPTURES = 4096
"""Captured variables up to this many bytes travel with each task; larger ones once, by digest."""

_MOST_WORKERS = 1024
"""Workers of one node; each is a process."""

_PLENTY = 8
"""Outstanding attempts for each worker from which on messages are gathered rather than sent at once."""


class HighThroughputExecutor(Spec, frozen=True, tag="htex"):
    """Workers in processes, on this host or on blocks of a batch system, over ZeroMQ.

    Args:
        label: its name in the session.
        max_workers_per_node: workers of each node; default: one a core of the node.
        memory_per_node: what the tasks of a node may take together, in bytes or as a text such as ``"16 GB"``; default: what
            the node has.
        gpus_per_node: accelerators of a node that tasks may take; default: those that it has.
        provider: where blocks come from.
        pool: the name of a running pool to attach to; default: a pool of its own, which ends with the session.
        start_timeout: seconds that the pool may take to answer before its tasks fail.
    """

    label: str = "htex"
    max_workers_per_node: int | None = None
    memory_per_node: int | str | None = None
    gpus_per_node: int | None = None
    provider: LocalProvider = LocalProvider()
    pool: str | None = None
    start_timeout: float = 30.0

    def check(self) -> None:
        """A label that can be read, positive numbers; a running pool has its provider already."""
        self.require(self.label.strip() != "" and self.label.isprintable(), "label", "give it a name")
        workers = self.max_workers_per_node
        many = f"use 1 to {_MOST_WORKERS}, or None for one a core"
        self.require(workers is None or 1 <= workers <= _MOST_WORKERS, "max_workers_per_node", many)
        self.require(self.start_timeout > 0, "start_timeout", "use a number of seconds above 0")
        memory = self.memory_per_node
        some = "use a number of bytes above 0 or a text such as '16 GB', or None for what a node has"
        field = f"{type(self).__name__}.memory_per_node"
        self.require(memory is None or as_bytes(field, memory) > 0, "memory_per_node", some)
        gpus = self.gpus_per_node
        self.require(gpus is None or gpus >= 0, "gpus_per_node", "use 0 or more, or None for those that a node has")
        if self.pool is not None:
            for name in ("max_workers_per_node", "memory_per_node", "gpus_per_node"):
                self.require(getattr(self, name) is None, name, f"leave it out: pool '{self.pool}' has its own")
            self.require(self.provider == LocalProvider(), "provider", f"leave it out: pool '{self.pool}' has its own")

    def build(self) -> PoolExecutor:
        """The executor that this describes."""
        return PoolExecutor(self)


class PoolExecutor:
    """The executor behind :class:`HighThroughputExecutor`."""

    kind = "pool"
    keeps_walltime = True

    def __init__(self, spec: HighThroughputExecutor) -> None:
        self.label = spec.label
        self._spec = spec
        self._sink: Sink
        self._link: ClientLink
        self._process: subprocess.Popen[bytes] | None = None
        self.connection: Connection
        # an attempt stays here, with what it needs, until it is answered: the registry of who waits
        self._outstanding: dict[tuple[int, int], PreparedPoolCall] = {}
        self._snapshots: weakref.WeakValueDictionary[bytes, Snapshot] = weakref.WeakValueDictionary()
        self._sent: set[bytes] = set()
        self._slots = (spec.max_workers_per_node or len(os.sched_getaffinity(0))) * max(1, spec.provider.init_blocks)
        self._closed = False
        self._node = NodeSize()
        self._packing = JobThread(f"shoal-packing-{spec.label}")

    # ------------------------------------------------------------------ Executor

    def start(self, sink: Sink, folder: Path) -> None:
        """Start the pool, or attach to it. Returns before its workers are up.

        Args:
            sink: where to tell what happens.
            folder: an embedded pool keeps its logs in a folder in there.

        Raises:
            PoolNotFound: no pool of that name to attach to.
            PoolStartFailed: the process cannot be started.
        """
        self._sink = sink
        spec = self._spec
        if spec.pool is None:
            self._process, self.connection = spawn_pool(
                make_spec(
                    f"{_plain(spec.label)}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
                    spec.provider,
                    max_workers_per_node=spec.max_workers_per_node,
                    memory_per_node=spec.memory_per_node,
                    gpus_per_node=spec.gpus_per_node,
                    owner=_who(),
                    folder=folder / _plain(spec.label),
                )
            )
        else:
            self.connection = read_connection(spec.pool)
        self._node = node_of(self.connection, here=spec.pool is None)
        self._link = ClientLink(
            dial(zmq.Context.instance(), self.connection.clients),
            self.connection.name,
            (uuid.uuid4().hex, _who()),
            self,
            process=_pidfd(self.connection),
            patience=spec.start_timeout,
            post_mortem=self._post_mortem,
        )
        self._link.start()

    def prepare(self, call: Call) -> PreparedPoolCall:
        """Pickle the arguments and look at the captured variables, now."""
        return prepare(call)

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Give the attempts to the link's thread."""
        if self._link.over is not None:
            self._fail(attempts, self._link.over)
            return
        ready = []
        for attempt in attempts:
            self._outstanding[attempt.tid, attempt.attempt] = attempt.prepared
            if attempt.inputs and any(map(needs_packing, attempt.inputs)):
                # packing runs users' code: not here, not on the link's thread, and not behind a callback that takes long
                self._packing.put(self._pack, attempt)
            else:
                ready.append((attempt, None))
        self._link.put(ready)
        over: ShoalError | None = self._link.over
        if over is not None:  # it ended meanwhile: what it did not see is answered here
            self.lost(over)

    def cancel(self, tid: int, attempt: int) -> bool:
        """Ask the pool to end an attempt; one that runs is interrupted, and its worker replaced."""
        if self._outstanding.pop((tid, attempt), None) is not None and self._link.over is None:
            self._link.order(Cancel([(0, tid, attempt)]))
        return True

    def outstanding(self) -> int:
        """How many attempts have not ended."""
        return len(self._outstanding)

    def usable(self) -> bool:
        """Until its pool is gone."""
        return self._link.over is None

    def slots(self) -> int:
        """Workers expected of the blocks asked for at the start."""
        return self._slots

    def lacks(self, resources: Resources) -> str:
        """Why no node of its pool can ever run such a task, as far as is known here; else empty."""
        return self._node.lacks(resources)

    def status(self, timeout: float = 5.0) -> PoolStatus:
        """The pool's own account of itself.

        Args:
            timeout: seconds to wait for it.

        Raises:
            PoolUnreachable: no answer came.
            PoolLost: the pool is gone.
        """
        return self._link.ask(StatusRequest, timeout)

    def scale(self, blocks: int) -> None:
        """Aim at this many blocks; the pool keeps within the provider's ``min_blocks`` and ``max_blocks``.

        Raises:
            ConfigurationError: it is no number of blocks.
        """
        asked: object = blocks  # whatever the caller wrote
        if not isinstance(asked, int) or not 0 <= asked < 1 << 31:
            raise ConfigurationError(f"{self.label}.scale", blocks, "use a whole number of blocks, 0 or more")
        self._link.ask(lambda ticket: Scale(ticket, blocks), 5.0)

    def close(self) -> None:
        """Leave the pool; an embedded one is told to end, and ended if it does not."""
        self._closed = True
        self._packing.close(0.0)
        embedded = self._process is not None
        told = self._link.close(Shutdown("the session ended") if embedded else None)
        if self._process is not None:
            _wait_or_kill(self._process, 10.0 if told else 0.0)
            remove_connection(self.connection)

    # ------------------------------------------------------------------ Listener, on the link's thread

    def task_for(self, item: tuple[Attempt, list[Input] | None]) -> tuple[Task, list[Blob]] | None:
        """The message of an attempt, with the blobs that the pool has not had from us."""
        (tid, number, prepared, sources), inputs = item
        key = (tid, number)
        if key not in self._outstanding:
            return None  # dropped before it left
        if inputs is None:
            inputs = pack_inputs(sources) if sources else []
        snapshot: Snapshot = prepared.snapshot
        inline = snapshot.captures_blob if len(snapshot.captures_blob) <= _INLINE_CAPTURES else None
        by_digest = b"" if inline is not None else snapshot.captures
        blobs = []
        if snapshot.code not in self._sent or (by_digest and by_digest not in self._sent):
            blobs = self._new_blobs(snapshot, by_digest)
        needs = prepared.resources
        task = Task(
            tid, number, snapshot.code, by_digest, inline or None, prepared.body, inputs, list(prepared.outputs),
            prepared.label, needs.cores, needs.priority, prepared.walltime, needs.memory, needs.gpus, prepared.each,
        )  # fmt: skip
        return task, blobs

    def busy(self) -> bool:
        """Whether many more attempts are outstanding than there are workers."""
        return len(self._outstanding) > _PLENTY * self._slots

    def unsendable(self, task: Task, error: Exception) -> None:
        """A message that cannot be encoded fails alone."""
        self._answer(Ended(task.tid, task.attempt, (), Raised(error), final=True))

    def results(self, message: Results) -> None:
        """Attempts ended."""
        outstanding = self._outstanding
        ended = []
        for result in message.results:
            if outstanding.pop((result.tid, result.attempt), None) is None:
                continue
            values: list[Packed | Failure] = [Packed(payload) for payload in result.values]
            for index, flaw in result.flaws:
                values[index] = flaw
            ended.append(
                Ended(result.tid, result.attempt, values, result.failure, result.worker, result.started, result.ended)
            )
        if ended:
            self._sink.attempts_ended(ended)

    def running(self, message: Running) -> None:
        """Attempts run."""
        for a in message.attempts:
            self._sink.attempt_started(a.tid, a.attempt, a.worker, a.started)

    def output(self, message: Output) -> None:
        """A task printed."""
        self._sink.printed(message.tid, message.attempt, message.stream, message.text)

    def trouble(self, message: Trouble) -> None:
        """The pool has a problem that people should see."""
        self._sink.reported(self.label, message.text)

    def blobs(self, digests: list[bytes]) -> list[Blob]:
        """Blobs that the pool has forgotten: those of outstanding attempts are all still here."""
        wanted = set(digests)
        found: dict[bytes, Blob] = {}
        for prepared in list(self._outstanding.values()):
            snapshot = prepared.snapshot
            for digest, blob in ((snapshot.code, snapshot.code_blob), (snapshot.captures, snapshot.captures_blob)):
                if digest in wanted:
                    found[digest] = Blob(digest, far(blob))
            if len(found) == len(wanted):
                break
        return list(found.values())

    def lost(self, error: ShoalError) -> None:
        """The pool is gone: everything outstanding is answered."""
        while self._outstanding:
            try:
                (tid, number), _ = self._outstanding.popitem()
            except KeyError:
                break
            self._answer(Ended(tid, number, (), Failure.of(error, pack(error).head, lost=True), final=True))
        if not self._closed:
            self._sink.reported(self.label, str(error))

    # ------------------------------------------------------------------ inside

    def _pack(self, attempt: Attempt) -> None:
        """Pack the values that were made in this process, on a thread of its own."""
        packed = outcome_of(lambda: pack_inputs(attempt.inputs))
        if isinstance(packed, Raised):
            self._answer(Ended(attempt.tid, attempt.attempt, (), packed, final=True))
            return
        self._link.put([(attempt, packed.object)])
        over: ShoalError | None = self._link.over
        if over is not None:
            self.lost(over)

    def _answer(self, ended: Ended) -> None:
        self._outstanding.pop((ended.tid, ended.attempt), None)
        self._sink.attempts_ended([ended])

    def _fail(self, attempts: Sequence[Attempt], error: ShoalError) -> None:
        failure = Raised(error)
        self._sink.attempts_ended([Ended(a.tid, a.attempt, (), failure, final=True) for a in attempts])

    def _new_blobs(self, snapshot: Snapshot, captures: bytes) -> list[Blob]:
        blobs = []
        for digest, blob in ((snapshot.code, snapshot.code_blob), (captures, snapshot.captures_blob)):
            if digest and digest not in self._sent:
                self._sent.add(digest)
                blobs.append(Blob(digest, far(blob)))
        return blobs

    def _post_mortem(self) -> ShoalError:
        """Why the pool's process ended, for those whose tasks it held."""
        name, tail = self.connection.name, stderr_tail(self.connection.folder)
        if self._process is None:
            return PoolLost(name, "its process ended", tail)
        code = self._process.wait()
        reason = f"its process ended with exit code {code}" if code >= 0 else f"its process was ended by signal {-code}"
        return PoolLost(name, reason, tail) if self._link.welcomed else PoolStartFailed(name, reason, tail)


def _plain(label: str) -> str:
    """A label as part of a pool's name and of a folder's."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", label).strip("-_")[:20] or "pool"


def _who() -> str:
    """This client's name for people: the script, or the notebook's kernel."""
    name = os.environ.get("JPY_SESSION_NAME") or sys.argv[0]
    return Path(name).name or "python"


def _pidfd(connection: Connection) -> int:
    """A descriptor that is readable once the pool's process has ended; -1 if it runs on another host."""
    if connection.host != os.uname().nodename:
        return -1
    try:
        return os.pidfd_open(connection.pid)
    except OSError:
        return -1


def _wait_or_kill(process: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for a pool that was told to end. Killing its process ends its managers and workers too."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
