"""The pool process: an interchange and its blocks in one loop."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shoal.blocks.provider import Job, JobState
from shoal.blocks.scaling import BlockChange, CancelBlock, CapacityGone, DrainBlock, Scaling, SubmitBlock
from shoal.blocks.scaling import Command as BlockCommand
from shoal.blocks.states import LIVE, BlockState
from shoal.dispatch.events import CapacityExpected, CapacityLost, DrainRequested, Ticked
from shoal.dispatch.machine import AWAY, Dispatcher
from shoal.errors import PoolExists, WorkerStartFailed
from shoal.events import BlockChanged, ManagerLeft, ManagerRegistered, PoolEnded, PoolStarted, WorkerEnded
from shoal.links import Door, Poll, listen
from shoal.pool.connection import Connection, is_alive, read_file, remove_connection, write_connection
from shoal.pool.interchange import Interchange
from shoal.pool.jobs import Jobs, Submitted
from shoal.pool.journal import Journal
from shoal.pool.keeping import keep_marks, keep_sessions, look_after_sessions
from shoal.pool.peers import ManagerPeer
from shoal.pool.spec import PoolSpec
from shoal.pool.status import status_of
from shoal.serialize import pack_failure
from shoal.wire.messages import (
    PoolStatus,
    Register,
    Scale,
    Shutdown,
    StatusRequest,
    Trouble,
)
from shoal.wire.starting import Address, ManagerSpec

if TYPE_CHECKING:
    from shoal.links.curve import Gate

__all__ = ["PoolServer"]

TICK = 1.0
"""Seconds between looks at what only time tells."""

UNEVEN_TICK = 0.05
"""The same while attempts wait behind others although there is room elsewhere."""

PLANNED = 0.02
"""Seconds between looks at when the scaling wants to be asked, while messages come."""

SLOW_START = 30.0
"""Seconds after which a block without a manager is mentioned."""


class PoolServer:
    """One pool.

    Args:
        spec: what it is.
        journal: where its facts go.
    """

    def __init__(self, spec: PoolSpec, journal: Journal) -> None:
        self._spec = spec
        self._folder = Path(spec.folder)
        self._journal = journal
        self._started = time.time()
        self._trouble = ""
        self._stop: str | None = None
        self._slow: set[int] = set()
        self._awake_since = 0.0
        self._starved = False
        self._watches: dict[int, int] = {}
        self._poll = Poll()
        self._scaling = Scaling(spec.provider.min_blocks, spec.provider.max_blocks)
        self._gate: Gate | None = None
        client_door, clients = listen(spec.clients, self._need_gate, "clients", spec.address)
        manager_door, self._managers_at = listen(spec.managers, self._need_gate, "managers", spec.address)
        self._doors: tuple[Door, Door] = (client_door, manager_door)
        self._connection = self._connect(clients)
        self._jobs = Jobs(spec.provider.open())
        self._poll.add(self._jobs.fd, self._provider_answered)
        self._interchange = Interchange(spec.name, self._doors, self._poll, _machine(spec), self)
        if spec.owner_pid:
            keep_marks(spec, self._interchange)
        else:
            keep_sessions(spec, self._interchange, self._again, self._say_so)

    def run(self) -> None:
        """Serve until told to end, or until the owner is gone."""
        try:
            self._serve()
        finally:
            self._end()

    def _serve(self) -> None:
        self._journal.append(
            PoolStarted(
                self._started,
                self._spec.name,
                self._connection.host,
                os.getpid(),
                sys.version.split()[0],
                self._spec.version,
                msgspec.json.encode(self._spec.provider).decode(),
            )
        )
        self._watch_owner()
        self._watch_signals()
        self._carry_out(self._scaling.target_set(self._spec.provider.init_blocks, [], time.monotonic()))
        gc.freeze()
        gc.set_threshold(200_000, 20, 50)  # tens of thousands of tasks come and go in waves, and are no garbage
        ticked = planned = time.monotonic()
        wake: float | None = None
        while self._stop is None:
            now = time.monotonic()
            if now - ticked > AWAY:
                self._awake_since = now
            due = ticked + (UNEVEN_TICK if self._interchange.machine.uneven else TICK)
            if now >= planned:  # not at each message: it is about blocks
                planned = now + PLANNED
                wake = self._scaling.wake_at()
            if wake is not None:
                due = min(due, max(wake, now))
            if now >= due:
                ticked = planned = now
                self._tick(now)
                self._interchange.flush()
                continue
            self._poll.once(due - now)
            self._interchange.flush()

    # ------------------------------------------------------------------ start and end

    def _connect(self, clients: Address) -> Connection:
        spec = self._spec
        other = read_file(Path(spec.connection))
        self._again = other is not None and spec.supervised and other.supervisor == os.getppid()
        if other is not None and is_alive(other):
            # Whoever started it has died before it had the name for sure.
            shutil.rmtree(spec.sockets, ignore_errors=True)
            raise PoolExists(spec.name)
        connection = spec.connection_of(os.getpid(), clients, self._started)
        write_connection(connection, Path(spec.connection))
        return connection

    def _say_so(self, text: str) -> None:
        self._say(Trouble("pool", f"pool '{self._spec.name}' {text}"))

    def _need_gate(self) -> Gate:
        if self._gate is None:
            from shoal.links.curve import Gate  # zmq takes a while to load, and is not needed inside a host

            self._gate = gate = Gate()
            self._poll.add_link(gate, gate.answer)
        return self._gate

    def _watch_owner(self) -> None:
        owner = self._spec.owner_pid
        if not owner:
            return
        if os.getppid() != owner:
            # It ended before this process came to watch it; its pid may be another's by now.
            self._stop = "the session that it belongs to has ended"
            return
        self._poll.add(os.pidfd_open(owner), lambda: self._stop_for("the session that it belongs to has ended"))

    def _watch_signals(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._stop_for("SIGTERM"))
        # The handler runs between two waits; writing to this pipe ends the one at hand.
        readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writable)
        self._poll.add(readable, lambda: self._poll_woken(readable))

    def _poll_woken(self, fd: int) -> None:
        os.read(fd, 4096)

    def _stop_for(self, reason: str) -> None:
        self._stop = self._stop or reason

    def _end(self) -> None:
        error = sys.exception()
        reason = self._stop or (f"its process failed: {type(error).__name__}: {error}" if error else "it ended")
        if error is None:  # else they see that the process has ended, as of one that was killed
            # Now: blocks may take a while to end, and nothing of theirs will be passed on any more.
            self._interchange.broadcast(Shutdown(reason))
            self._interchange.dismiss(Shutdown(reason))
        for fd in self._watches.values():
            self._poll.remove(fd)
        now = time.time()
        for peer in self._interchange.managers.values():
            self._journal.append(ManagerLeft(now, peer.number, False, "the pool ended"))
        for block in self._scaling.blocks.values():
            if block.state in LIVE:
                state = (BlockState.ENDED if block.state is BlockState.RUNNING else BlockState.CANCELLED).value
                self._journal.append(BlockChanged(now, block.number, state, block.job, "the pool ended"))
        self._jobs.close(timeout=5.0)
        if self._interchange.orphans is not None:
            self._interchange.orphans.close()
        if error is None and self._interchange.sessions is not None:
            self._interchange.sessions.close()
        if error is None or not self._spec.supervised:  # else the next process needs all that
            remove_connection(self._connection, Path(self._spec.connection))
        self._journal.append(PoolEnded(time.time(), reason))
        for door in self._doors:
            door.close(0.1)
        if self._gate is not None:
            self._gate.close()

    # ------------------------------------------------------------------ blocks

    def _carry_out(self, commands: list[BlockCommand]) -> None:
        for command in commands:
            match command:
                case SubmitBlock(block):
                    self._submit(block)
                case CancelBlock(block, job):
                    self._unwatch(block)
                    self._drop_managers(block)
                    if job:
                        self._jobs.cancel(job)
                case DrainBlock(block):
                    for peer in self._interchange.managers_of(block):
                        self._interchange.tell(DrainRequested(peer.number))
                case BlockChange(block, state, job, message):
                    self._journal.append(BlockChanged(time.time(), block, state.value, job, message))
                    if state is BlockState.FAILED:
                        self._say(Trouble("block", f"block {block} of pool '{self._spec.name}' failed: {message}"))
                case CapacityGone(reason):
                    first, _, rest = reason.partition("\n")
                    failure = pack_failure(WorkerStartFailed(self._spec.name, first, rest))
                    self._interchange.tell(CapacityLost(failure))
                    self._say(Trouble("block", f"pool '{self._spec.name}' cannot run tasks: {reason}", fatal=True))

    def _submit(self, block: int) -> None:
        try:
            job = self._job(block)
        except OSError as error:
            message = f"what it needs to start could not be written: {error}"
            self._carry_out(self._scaling.failed(block, message, time.monotonic()))
        else:
            self._jobs.submit(block, job)

    def _job(self, block: int) -> Job:
        spec = self._spec
        name = f"block-{block}"
        path = str(self._folder / f"{name}.json")
        told = ManagerSpec(
            spec.name,
            self._managers_at,
            block,
            spec.max_workers_per_node,
            spec.folder,
            spec.cwd,
            os.getpid(),
            self._connection.pid_started,
            spec.memory_per_node,
            spec.gpus_per_node,
            msgspec.structs.replace(spec.rules, walltime=spec.provider.walltime or 0.0),
            self._connection.host,
            spec.orphan_after,
            spec.outlive,
        )
        # Somebody may have tidied up the logs of a pool that lasts.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(told))
        return Job(name, (sys.executable, "-P", "-m", "shoal.node.manager", path), spec.folder)

    def _provider_answered(self) -> None:
        for answer in self._jobs.answers():
            now = time.monotonic()
            if isinstance(answer, Submitted):
                self._watch_job(answer)
                self._carry_out(self._scaling.accepted(answer.block, answer.job, now))
                continue
            block, status = answer
            if status.state in (JobState.ENDED, JobState.FAILED):
                self._interchange.drain_managers()
                self._drop_managers(block, _first_line(status.message))
                message = f"its process ended with {status.message}"
                self._carry_out(self._scaling.ended(block, message, now))

    def _watch_job(self, answer: Submitted) -> None:
        block, job, fd = answer.block, answer.job, answer.watch
        if fd is None:
            return

        def ended() -> None:
            self._unwatch(block)
            for peer in self._interchange.managers_of(block):  # until it is known why it ended, it gets nothing more
                self._interchange.tell(DrainRequested(peer.number, gone=True))
            self._jobs.look(block, job)

        self._watches[block] = fd
        self._poll.add(fd, ended)

    def _unwatch(self, block: int) -> None:
        fd = self._watches.pop(block, None)
        if fd is not None:
            self._poll.remove(fd)

    def _drop_managers(self, block: int, reason: str = "its block was ended") -> None:
        for peer in self._interchange.managers_of(block):
            self._interchange.drop_manager(peer, True, reason)

    def _tick(self, now: float) -> None:
        self._carry_out(self._scaling.ticked(now))
        self._interchange.tell(Ticked())
        look_after_sessions(self._interchange, self._say_so)
        waiting = self._interchange.machine.waiting
        if waiting and not self._scaling.target and not self._starved:
            text = f"{waiting} tasks wait in pool '{self._spec.name}', which has no blocks and is to have none; scale it up"
            self._say(Trouble("block", text))
        self._starved = bool(waiting) and not self._scaling.target
        for block in self._scaling.early():
            if now - max(block.since, self._awake_since) > SLOW_START and block.number not in self._slow:
                self._slow.add(block.number)
                log = self._folder / f"block-{block.number}.err"
                text = (
                    f"block {block.number} of pool '{self._spec.name}' has not come up in {SLOW_START:.0f} s; see {log}"
                )
                self._say(Trouble("block", text))

    # ------------------------------------------------------------------ what the interchange tells (Keeper)

    def manager_arrived(self, peer: ManagerPeer) -> bool:
        """Let a manager join if its block is wanted."""
        before = self._scaling.blocks.get(peer.block)
        if before is None or before.draining or not self._scaling.arrived(peer.block, time.monotonic()):
            return False
        # What its owner says of the nodes counts, whatever they find.
        peer.memory = self._spec.memory_per_node or peer.memory
        peer.gpus = peer.gpus if self._spec.gpus_per_node is None else self._spec.gpus_per_node
        self._carry_out(self._scaling.ticked(time.monotonic()))
        self._journal.append(ManagerRegistered(time.time(), peer.number, peer.block, peer.host, peer.pid, peer.slots))
        return True

    def manager_refused(self, message: Register, differs: tuple[str, str, str]) -> None:
        """A block that has no other manager is of no use; nor would be the next one like it."""
        what, here, there = differs
        text = (
            f"the manager of block {message.block} on {message.host} is refused: its {what} is {there}, that of the pool "
            f"{here}. Fix: have the provider's worker_init activate the environment in which the pool was started"
        )
        if self._interchange.managers_of(message.block):
            self._say(Trouble("manager", text))
        else:
            self._carry_out(self._scaling.failed(message.block, text, time.monotonic()))

    def manager_heard(self, peer: ManagerPeer) -> None:
        """Note that a block has workers."""
        if peer.workers:
            self._scaling.worked(peer.block, time.monotonic())

    def manager_left(self, peer: ManagerPeer, lost: bool, reason: str) -> None:
        """Write it down."""
        block = self._scaling.blocks.get(peer.block)
        self._journal.append(ManagerLeft(time.time(), peer.number, lost and not (block and block.draining), reason))

    def manager_leaves(self, peer: ManagerPeer) -> None:
        """Let it finish what it runs; another block takes the place of its own."""
        self._interchange.tell(DrainRequested(peer.number))
        self._carry_out(self._scaling.leaving(peer.block, time.monotonic()))

    def manager_timed_out(self, peer: ManagerPeer, reason: str) -> None:
        """End the block: its attempts may be run again elsewhere."""
        self._carry_out(self._scaling.failed(peer.block, f"{peer.name} was lost: {reason}", time.monotonic()))

    def trouble(self, peer: ManagerPeer, trouble: Trouble) -> None:
        """Pass it on; a fatal one is the end of the block."""
        if trouble.kind == "worker":
            self._journal.append(WorkerEnded(time.time(), peer.name, trouble.text))
        if trouble.fatal:
            self._carry_out(self._scaling.failed(peer.block, trouble.text, time.monotonic()))
        else:
            self._say(trouble)

    def ordered(self, identity: bytes, message: StatusRequest | Scale | Shutdown) -> None:
        """Answer a question about the pool, scale it, or end it."""
        if isinstance(message, Shutdown):
            self._stop_for(message.reason or "told to")
            return
        if isinstance(message, Scale):
            self._interchange.tell(CapacityExpected())
            self._carry_out(self._scaling.target_set(message.blocks, self._idle_blocks(), time.monotonic()))
        self._interchange.to_client(identity, self.status(message.ticket))

    # ------------------------------------------------------------------ what is where

    def status(self, ticket: int) -> PoolStatus:
        """The pool at this moment."""
        about = (self._spec, self._started, self._trouble)
        return status_of(ticket, about, self._interchange, self._scaling)

    def _idle_blocks(self) -> list[int]:
        busy = {m.block for m in self._interchange.machine.managers.values() if m.outstanding}
        return [number for number in self._scaling.blocks if number not in busy]

    def _say(self, trouble: Trouble) -> None:
        self._trouble = trouble.text
        with suppress(OSError):  # a full disk
            sys.stderr.write(trouble.text + "\n")
        self._interchange.broadcast(trouble)


def _machine(spec: PoolSpec) -> Dispatcher:
    """The dispatch machine of a pool, whose nodes are like this host; what is not said of them the first one tells."""
    gpus = -1 if spec.gpus_per_node is None else spec.gpus_per_node
    most = (spec.max_workers_per_node or len(os.sched_getaffinity(0)), spec.memory_per_node or -1, gpus)
    return Dispatcher(most, suspect_after=spec.suspect_after, lost_after=spec.lost_after)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
