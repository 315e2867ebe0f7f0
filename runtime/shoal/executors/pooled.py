"""The executor of a pool: the client of one that was started with the session, or that it attached to by name."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.errors import ConfigurationError, LoanGone, PoolLost, ShoalError
from shoal.executors.attaching import attach
from shoal.executors.calling import outcome_of
from shoal.executors.claims import Claims
from shoal.executors.client import ClientLink
from shoal.executors.embedded import EmbeddedPool, pidfd_of, plain, who
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.executors.lending import Lender
from shoal.executors.listening import Greeting
from shoal.executors.nodes import NodeSize, node_of
from shoal.executors.packing import (
    PreparedPoolCall,
    far,
    inputs_so_far,
    may_go_ahead,
    needs_packing,
    pack_inputs,
    prepare,
)
from shoal.executors.recovery import Recovery
from shoal.links import dial
from shoal.memo.jobs import JobThread
from shoal.outcome import Failure, Packed, Raised
from shoal.pool.start import make_spec, on_interface, stderr_tail
from shoal.resources import Resources, as_bytes
from shoal.serialize import Snapshot, pack
from shoal.wire.messages import (
    Blob,
    Cancel,
    Goodbye,
    Input,
    Output,
    PoolStatus,
    Result,
    Results,
    Returned,
    Running,
    Scale,
    Shutdown,
    StatusRequest,
    Task,
    Trouble,
)

if TYPE_CHECKING:
    from shoal.executors.htex import HighThroughputExecutor

__all__ = ["PoolExecutor"]

_INLINE_CAPTURES = 4096
"""Captured variables up to this many bytes travel with each task; larger ones once, by digest."""

_AHEAD: Any = object()
"""In the place of inputs: those that are there by the time that the message is made, and references for the others."""

_PACKING = 5.0
"""Seconds that values may take to be packed at the end, of tasks that the pool is to keep."""

_PLENTY = 8
"""Outstanding attempts for each worker from which on messages are gathered rather than sent at once."""


class PoolExecutor(Recovery):
    """The executor behind :class:`HighThroughputExecutor`."""

    kind = "pool"
    keeps_walltime = True

    def __init__(self, spec: HighThroughputExecutor) -> None:
        super().__init__(spec.label)
        self._spec = spec
        self._ahead: dict[tuple[int, int], Attempt | None] = {}
        """Attempts that wait in the pool for values, until they are launched here; None for one that has ended before that."""
        self._unlent: set[tuple[int, int]] = set()
        """Attempts that could not read what was lent to them, and get it in the message."""
        self._lender = Lender(0)
        self._slots = (spec.max_workers_per_node or len(os.sched_getaffinity(0))) * max(1, spec.provider.init_blocks)
        self._node = NodeSize()
        self._packing = JobThread(f"shoal-packing-{spec.label}")

    @property
    def lasts(self) -> bool:
        """Whether its pool goes on when the session ends."""
        return self._pool is None and self.connection.kind == "lasting"

    # ------------------------------------------------------------------ Executor

    def start(self, sink: Sink, folder: Path) -> None:
        """Start the pool, or attach to it. Returns before its workers are up.

        Args:
            sink: where to tell what happens.
            folder: an embedded pool keeps its logs in a folder in there.

        Raises:
            PoolNotFound: no pool of that name to attach to.
            PoolStartFailed: the process cannot be started.
            VersionMismatch: the pool of that name is of another version.
        """
        self._sink = sink
        spec = self._spec
        if spec.pool is None:
            described = make_spec(
                f"{plain(spec.label)}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
                spec.provider,
                max_workers_per_node=spec.max_workers_per_node,
                memory_per_node=spec.memory_per_node,
                gpus_per_node=spec.gpus() if spec.gpus_per_node is None else spec.gpus_per_node,
                owner=who(),
                folder=folder / plain(spec.label),
            )
            described = msgspec.structs.replace(described, rules=spec.rules())
            if spec.address is not None:
                described = on_interface(described, spec.address)
            self._pool = EmbeddedPool(described, spec.restarts)
            self.connection = self._pool.connection
        else:
            self.connection = attach(spec, spec.pool)
        self._node = node_of(self.connection, here=spec.pool is None)
        self._lender = Lender(as_bytes("shared_memory", spec.shared_memory) if self._pool is not None else 0)
        self._link = self._dial()
        self._stands.set()
        self._link.start()

    def prepare(self, call: Call) -> PreparedPoolCall:
        """Pickle the arguments and look at the captured variables, now."""
        return prepare(call, self._lender.place if self._link.lends else None)

    def launch_ahead(self, attempt: Attempt) -> bool:
        """Send an attempt to wait in the pool for values that are made there: they need not come here first."""
        if self._over is not None or not may_go_ahead(attempt.inputs):
            return False
        with self._turn:
            self._ahead[attempt.tid, attempt.attempt] = attempt
            self._link.put(((attempt, _AHEAD),))
        return True

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Give the attempts to the link's thread."""
        if self._over is not None:
            self._fail(attempts, self._over)
            return
        if self._spoilt:
            attempts = self._unspoilt(attempts)
        with self._turn:
            if len(attempts) == 1 and not attempts[0].inputs:
                self._put_one(attempts[0])
            else:
                self._put(self._not_ahead(attempts) if self._ahead else attempts)
        over: ShoalError | None = self._over
        if over is not None:  # it ended meanwhile: what it did not see is answered here
            self._give_up(over)

    def cancel(self, tid: int, attempt: int) -> bool:
        """Ask the pool to end an attempt; one that runs is interrupted, and its worker replaced."""
        with self._turn:
            ahead = self._ahead.pop((tid, attempt), None)
            waited = self._outstanding.pop((tid, attempt), None) or ahead
            if waited is not None and self._link.over is None:
                self._link.order(Cancel([(0, tid, attempt)]))
        return True

    def outstanding(self) -> int:
        """How many attempts have not ended."""
        return len(self._outstanding)

    def there(self) -> int:
        """How many attempts its pool has, or is about to get, those included that wait there for their inputs."""
        return len(
            self._outstanding.keys() | {key for key, attempt in list(self._ahead.items()) if attempt is not None}
        )

    def usable(self) -> bool:
        """Until its pool is gone."""
        return self._over is None

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
        return self._asked(StatusRequest, timeout)

    def scale(self, blocks: int) -> None:
        """Aim at this many blocks; the pool keeps within the provider's ``min_blocks`` and ``max_blocks``.

        Raises:
            ConfigurationError: it is no number of blocks.
        """
        asked: object = blocks  # whatever the caller wrote
        if not isinstance(asked, int) or not 0 <= asked < 1 << 31:
            raise ConfigurationError(f"{self.label}.scale", blocks, "use a whole number of blocks, 0 or more")
        self._asked(lambda ticket: Scale(ticket, blocks), 5.0)

    def claims(self, session: str) -> Claims:
        """Take over another session of its pool, whose client is gone.

        Args:
            session: its id; ``status().sessions`` lists those whose clients are away.

        Raises:
            PoolUnreachable: the pool does not answer.
            SessionInUse: the session's own client is connected.
        """
        return Claims(self.connection, session)

    def close(self) -> None:
        """Leave the pool; an embedded one is told to end, and ended if it does not."""
        with self._turn:
            self._closed = True
            link = self._link
        self._packing.close(_PACKING if self.keep_on_close else 0.0)
        told = link.close(Shutdown("the session ended") if self._pool is not None else Goodbye(self.keep_on_close))
        if self._pool is not None:
            self._pool.close(10.0 if told else 0.0)
        self._lender.close()

    # ------------------------------------------------------------------ Listener, on the link's thread

    def task_for(self, item: tuple[Attempt, list[Input] | None]) -> tuple[Task, list[Blob]] | None:
        """The message of an attempt, with the blobs that the pool has not had from us."""
        (tid, number, prepared, sources), inputs = item
        key = (tid, number)
        if key not in self._outstanding and (inputs is not _AHEAD or key not in self._ahead):
            return None  # dropped before it left
        if inputs is _AHEAD:
            inputs = inputs_so_far(sources, self._lender if self._link.lends else None)
        if inputs is None:
            inputs = pack_inputs(sources, self._lender if self._link.lends else None) if sources else []
        body = prepared.body
        if self._unlent and key in self._unlent:
            body = Lender.plain(body)
            inputs = [Input(i.task, i.output, i.payload and Lender.plain(i.payload)) for i in inputs]
        snapshot: Snapshot = prepared.snapshot
        inline = snapshot.captures_blob if len(snapshot.captures_blob) <= _INLINE_CAPTURES else None
        by_digest = b"" if inline is not None else snapshot.captures
        blobs = []
        if snapshot.code not in self._sent or (by_digest and by_digest not in self._sent):
            blobs = self._new_blobs(snapshot, by_digest)
        needs = prepared.resources
        task = Task(
            tid, number, snapshot.code, by_digest, inline or None, body, inputs, prepared.outputs,
            prepared.label, needs.cores, needs.priority, prepared.walltime, needs.memory, needs.gpus, prepared.each,
            lend=self._link.lends, ranks=needs.ranks,
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
        if self._pool is not None:
            self._pool.worked()
        for result in message.results:
            values, failure = result.values, result.failure
            if failure is None and len(values) == 1 and type(values[0].head) is bytes and not values[0].buffers:
                key = (result.tid, result.attempt)
                if outstanding.pop(key, None) is None and not self._answered_ahead(key):
                    continue
                opened: Sequence[Packed | Failure] = (Packed(values[0]),)
                if result.flaws:
                    opened = (result.flaws[0][1],)
            else:
                found = self._open(result)
                if found is None:
                    continue
                opened, failure = found
            ended.append(
                Ended(result.tid, result.attempt, opened, failure, result.worker, result.started, result.ended)
            )
        if ended:
            self._sink.attempts_ended(ended)

    def _open(self, result: Result) -> tuple[Sequence[Packed | Failure], Failure | None] | None:
        """The values of a result, borrowed where they are lent; None if nobody waits for it, or it is to run once more."""
        key = (result.tid, result.attempt)
        launched = self._outstanding.pop(key, None)
        attempt = launched or self._answered_ahead(key)
        failure = result.failure
        try:  # also what nobody waits for: it must be given back
            values: list[Packed | Failure] = [Packed(self._lender.take_in(payload)) for payload in result.values]
        except LoanGone as error:
            failure, values = Failure.of(error, pack(error).head, lost=True), []
        if attempt is None:
            return None
        if failure is not None and not failure.lost and key not in self._unlent and Lender.is_gone(failure.type_name):
            # It has not begun, since its arguments could not be read: once more, with what was lent in the message.
            self._unlent.add(key)
            with self._turn:
                if launched is not None:
                    self._put([attempt])
                else:
                    self._ahead.pop(key, None)  # as if it had not been sent: it is launched when its inputs are here
            return None
        self._unlent.discard(key)
        if values:
            for index, flaw in result.flaws:
                values[index] = flaw
        return values, failure

    def _answered_ahead(self, key: tuple[int, int]) -> Attempt | None:
        """An attempt has ended before its inputs have come here; None if nobody waits for it."""
        attempt = self._ahead.get(key)
        if attempt is not None:
            self._ahead[key] = None  # it is launched any moment, when what came before it in this message is taken in
        return attempt

    def returned(self, message: Returned) -> None:
        """Attempts that were sent ahead lack values which had left the pool already: they go with them once launched."""
        with self._turn:
            back = [(a, None) for _, tid, n in message.attempts if (a := self._outstanding.get((tid, n))) is not None]
            for _, tid, number in message.attempts:
                self._ahead.pop((tid, number), None)
            if back:
                self._link.put(back)

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
        """Blobs that the pool has forgotten: those of the attempts that it has are all still here."""
        wanted = set(digests)
        found: dict[bytes, Blob] = {}
        for attempt in [*list(self._outstanding.values()), *list(self._ahead.values())]:
            if attempt is None:
                continue
            snapshot = attempt.prepared.snapshot
            for digest, blob in ((snapshot.code, snapshot.code_blob), (snapshot.captures, snapshot.captures_blob)):
                if digest in wanted:
                    found[digest] = Blob(digest, far(blob))
            if len(found) == len(wanted):
                break
        return list(found.values())

    # ------------------------------------------------------------------ inside

    def _dial(self, resume: bool = False) -> ClientLink:
        return ClientLink(
            dial(self.connection.clients),
            self.connection.name,
            Greeting(self.session, who(), resume, self._lender.probe()),
            self,
            process=pidfd_of(self.connection),
            patience=self._spec.start_timeout,
            post_mortem=self._post_mortem,
        )

    def _not_ahead(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Those that the pool does not have already."""
        there = []
        for attempt in attempts:
            key = (attempt.tid, attempt.attempt)
            if key not in self._ahead:
                there.append(attempt)
                continue
            self._outstanding[key] = attempt  # first: its end may come at any moment
            if self._ahead.pop(key) is None:
                del self._outstanding[key]  # it has ended already
        return there

    def _put_one(self, attempt: Attempt) -> None:
        outstanding = self._outstanding
        outstanding[attempt.tid, attempt.attempt] = attempt
        if len(outstanding) == 1:
            self._link.put_alone((attempt, None))
        else:
            self._link.put(((attempt, None),))

    def _put(self, attempts: Iterable[Attempt]) -> None:
        ready = []
        for attempt in attempts:
            key = (attempt.tid, attempt.attempt)
            self._outstanding[key] = attempt
            if attempt.inputs and any(map(needs_packing, attempt.inputs)):
                # packing runs users' code: not here, not on the link's thread, and not behind a callback that takes long
                self._in_packing.add(key)
                self._packing.put(self._pack, attempt)
            else:
                ready.append((attempt, None))
        if len(ready) == 1 == len(self._outstanding):
            self._link.put_alone(ready[0])
        else:
            self._link.put(ready)

    def _pack(self, attempt: Attempt) -> None:
        """Pack the values that were made in this process, on a thread of its own."""
        packed = outcome_of(lambda: pack_inputs(attempt.inputs, self._lender if self._link.lends else None))
        if isinstance(packed, Raised):
            self._in_packing.discard((attempt.tid, attempt.attempt))
            self._answer(Ended(attempt.tid, attempt.attempt, (), packed, final=True))
            return
        with self._turn:
            self._in_packing.discard((attempt.tid, attempt.attempt))
            self._link.put([(attempt, packed.object)])
        if self._over is not None:
            self._give_up(self._over)

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
        if self._pool is None:
            return PoolLost(name, "its process ended", tail)
        return self._pool.post_mortem(self._link.welcomed)
