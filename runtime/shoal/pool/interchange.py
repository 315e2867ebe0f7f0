"""The interchange: the shell of the dispatch machine. It receives, decodes, asks the machine, and sends.

It never looks into a payload. What is no message, or not for the door where it came, is counted and dropped, whoever sent
it; a client that said hello is told. Who goes on sending such things is cut off.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from shoal.arena import give_back
from shoal.dispatch.events import (
    AttemptsEnded,
    AttemptsEndedElsewhere,
    AttemptsReturned,
    AttemptsRunning,
    BlobsMissing,
    CancelRequested,
    Event,
    Key,
    ManagerDrained,
    ManagerGone,
    ManagerHeard,
    ManagerRegistered,
    ManagerSuspected,
    ManagerTimedOut,
    TasksSubmitted,
    ToClient,
    ToManager,
)
from shoal.dispatch.machine import Dispatcher
from shoal.errors import ProtocolError
from shoal.links import Door, PeerGone, Poll
from shoal.pool.clients import PYTHON, ClientSide
from shoal.pool.manners import PATIENCE, Manners
from shoal.pool.orphans import Orphans
from shoal.pool.peers import ClientPeer, ManagerPeer, silence_of
from shoal.pool.routes import Routes
from shoal.stacks import own_stacks
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Cancel,
    Goodbye,
    Heartbeat,
    Hello,
    Leaving,
    Message,
    NeedBlob,
    Output,
    Ready,
    Refused,
    Register,
    Result,
    Results,
    Returned,
    Running,
    Scale,
    Shutdown,
    Stacks,
    StacksRequest,
    StatusRequest,
    Taken,
    Task,
    Tasks,
    Trouble,
    Welcome,
)

__all__ = ["Interchange", "Keeper"]

ROUND = 256
"""Messages taken from one door before the machine is asked and the other door gets its turn."""


class Keeper(Protocol):
    """What an interchange needs from the rest of its pool."""

    def manager_arrived(self, peer: ManagerPeer) -> bool:
        """A manager wants to join; False if its block is not wanted."""
        ...

    def manager_refused(self, message: Register, differs: tuple[str, str, str]) -> None:
        """A manager cannot join: what differs, how it is in the pool, how there."""
        ...

    def manager_heard(self, peer: ManagerPeer) -> None:
        """A manager said how many workers are up."""
        ...

    def manager_left(self, peer: ManagerPeer, lost: bool, reason: str) -> None:
        """A manager is gone."""
        ...

    def manager_timed_out(self, peer: ManagerPeer, reason: str) -> None:
        """A manager was silent for too long; its block must be ended."""
        ...

    def manager_leaves(self, peer: ManagerPeer) -> None:
        """A manager's time is nearly up; it must get nothing more."""
        ...

    def trouble(self, peer: ManagerPeer, trouble: Trouble) -> None:
        """A manager says that something is wrong."""
        ...

    def ordered(self, identity: bytes, message: StatusRequest | Scale | Shutdown) -> None:
        """A client asks or orders something of the pool itself."""
        ...


class Interchange(ClientSide):
    """Clients on one side, managers on the other.

    Args:
        name: the pool's name.
        doors: those for clients and for managers.
        poll: where they are watched.
        machine: the dispatch machine.
        keeper: the rest of the pool.
    """

    def __init__(self, name: str, doors: tuple[Door, Door], poll: Poll, machine: Dispatcher, keeper: Keeper) -> None:
        super().__init__(name, doors, poll, machine)
        self.managers: dict[int, ManagerPeer] = {}
        self._manners = Manners()
        self._routes = Routes()
        self._keeper = keeper
        self._manager_by_identity: dict[bytes, ManagerPeer] = {}
        self._managers_by_block: dict[int, dict[int, ManagerPeer]] = {}
        self._next_manager = 1
        self.orphans: Orphans | None = None
        """Managers that have outlived the process before this one."""
        self._unread: set[int] = set()
        """Managers that keep results until they are told that these have been read."""
        self.before: Callable[[list[Any]], None] | None = None
        """Is shown what the machine orders, before that is carried out."""
        self._from_client: dict[type[Any], Callable[[ClientPeer, Any], None]] = {
            Tasks: self._tasks,
            Blob: self._blob,
            Cancel: self._cancel,
            Taken: self._taken,
            Goodbye: self._farewell,
        }
        self._from_manager: dict[type[Any], Callable[[ManagerPeer, Any], None]] = {
            Results: self._ended,
            Running: lambda peer, m: self._events.append(AttemptsRunning(peer.number, m.attempts)),
            Returned: self._returned,
            NeedBlob: lambda peer, m: self._events.append(BlobsMissing(peer.number, m.digests)),
            Heartbeat: self._heartbeat,
            Ready: lambda peer, m: peer.worker_up(m.pid, m.page, m.diary),
            Output: lambda _, m: self._output(m),
            Stacks: lambda _, m: self._pass_stacks_on(m),
            Trouble: keeper.trouble,
            Leaving: lambda peer, _: keeper.manager_leaves(peer),
            Goodbye: lambda peer, _: self.drop_manager(peer, False, "it ended"),
        }
        poll.add_link(self._client_door, self.read_clients)
        poll.add_link(self._manager_door, self.read_managers)

    # ------------------------------------------------------------------ receiving

    def read_clients(self) -> None:
        """Take in what clients have sent."""
        for _ in range(ROUND):
            received = self._client_door.receive()
            if received is None:
                self._drop_gone()
                return
            identity, frames = received
            peer = self._client_by_identity.get(identity)
            try:
                message = self._codec.decode(frames)
            except ProtocolError as error:
                self._unreadable(identity, peer, error)
                continue
            handler = self._from_client.get(type(message))
            if handler is not None:
                if peer is not None:
                    handler(peer, message)
                else:
                    self._nonsense(self._client_door, identity)
            elif isinstance(message, Hello):
                self._hello(identity, message)
            elif isinstance(message, StacksRequest):
                self._ask_for_stacks(identity, message)
            elif isinstance(message, StatusRequest | Scale | Shutdown):
                self.flush()
                self._keeper.ordered(identity, message)
            elif not isinstance(message, Heartbeat):
                self._nonsense(self._client_door, identity)
            elif message.answer:
                self.to_client(identity, Goodbye() if peer is None else Heartbeat())

    def _unreadable(self, identity: bytes, peer: ClientPeer | None, error: ProtocolError) -> None:
        """Count it, and tell a client that is known: what it asked for there will not happen."""
        if self._nonsense(self._client_door, identity) and peer is not None:
            text = f"pool '{self._name}' dropped a message of {peer.name}, and the tasks in it: {error}"
            self.to_client(identity, Trouble("protocol", text))

    def read_managers(self) -> None:
        """Take in what managers have sent."""
        for _ in range(ROUND):
            received = self._manager_door.receive()
            if received is None:
                return
            identity, frames = received
            try:
                message = self._codec.decode(frames)
            except ProtocolError:
                self._nonsense(self._manager_door, identity)
                continue
            peer = self._manager_by_identity.get(identity)
            if peer is None and self.orphans is not None and self.orphans.take(identity, message):
                if isinstance(message, Output):
                    self._output(message)
                continue
            handler = self._from_manager.get(type(message))
            if handler is not None:
                if peer is not None:
                    handler(peer, message)
                elif isinstance(message, Heartbeat):
                    # It was given up: it must not go on with what has been given to others.
                    self._to_manager(identity, Shutdown("this pool has given the manager up"))
            elif isinstance(message, Register):
                self._register(identity, message)
            else:
                self._nonsense(self._manager_door, identity)

    def drain_managers(self) -> None:
        """Take in all that managers have sent, as far as it is here: one of them has ended."""
        for _ in range(ROUND):
            self.read_managers()
            if not self._manager_door.ready():
                return

    @property
    def malformed(self) -> int:
        """Messages dropped because they were none, or not for that door."""
        return self._manners.malformed + self._client_door.malformed + self._manager_door.malformed

    def _nonsense(self, door: Door, identity: bytes) -> bool:
        """Somebody sent what is no message, or none for that door; returns whether that was tolerated."""
        if not self._manners.note(identity):
            return True
        at_clients = door is self._client_door
        client = self._client_by_identity.get(identity) if at_clients else None
        manager = None if at_clients else self._manager_by_identity.get(identity)
        who = client.name if client is not None else manager.name if manager is not None else "a stranger"
        reason = f"it sent {PATIENCE} messages that are none of this protocol"
        with suppress(OSError):  # a full disk
            sys.stderr.write(f"{who} is ignored at the {'clients' if at_clients else 'managers'}' door: {reason}\n")
        door.cut(identity)
        if client is not None:
            self.drop_client(client)
        if manager is not None:
            self.drop_manager(manager, True, reason)
        return False

    def flush(self) -> None:
        """Let the machine decide about what came in, and carry out what it orders."""
        while self._events:
            events, self._events = self._events, []
            commands = self.machine.handle_all(events, time.monotonic())
            for result in self.machine.dropped:
                give_back(result.values)
            self._carry_out(commands)
        if self._unread:
            unread, self._unread = self._unread, set()
            for number in unread:
                peer = self.managers.get(number)
                if peer is not None:
                    self._to_manager(peer.identity, Taken(peer.messages))

    def tell(self, event: Event) -> None:
        """Tell the machine something; it is taken in with the next ``flush``."""
        self._events.append(event)

    # ------------------------------------------------------------------ managers

    def _ended(self, peer: ManagerPeer, message: Results) -> None:
        self._events.append(AttemptsEnded(peer.number, message.results))
        if self.sessions is not None:
            peer.messages += 1
            self._unread.add(peer.number)

    def _cancel(self, peer: ClientPeer, message: Cancel) -> None:
        self._events.append(CancelRequested(peer.number, message.attempts))
        if self.orphans is not None:
            self.orphans.cancel([(peer.number, tid, attempt) for _, tid, attempt in message.attempts])

    def await_orphans(self, pids: dict[int, int], tasks: dict[Key, tuple[Task, int]]) -> None:
        """Managers have outlived the process before.

        Args:
            pids: of those that live, by their descriptors.
            tasks: what may have begun there, each with the process that it was sent to; emptied as more becomes known.
        """
        ways = (self._to_manager, self.deliver, self._again, self.machine.blobs.get)
        self.orphans = Orphans(self._name, pids, tasks, self._poll, ways)
        self.orphans.begin()

    def _again(self, tasks: list[Task]) -> None:
        """Attempts that had been sent, and have not begun: they wait again."""
        if self.sessions is not None:
            self.sessions.back([(task.client, task.tid, task.attempt) for task in tasks])
        self._events += [TasksSubmitted(task.client, [task]) for task in tasks]

    def deliver(self, results: list[Result]) -> None:
        """Pass on results of attempts that the machine does not know."""
        clients: dict[int, list[Result]] = {}
        for result in results:
            clients.setdefault(result.client, []).append(result)
        self._events.append(AttemptsEndedElsewhere(results))
        self._carry_out([ToClient(client, Results(own)) for client, own in clients.items()])

    def _returned(self, peer: ManagerPeer, message: Returned) -> None:
        if self.sessions is not None:
            self.sessions.back(message.attempts)
        self._events.append(AttemptsReturned(peer.number, message.attempts))

    def _register(self, identity: bytes, message: Register) -> None:
        if message.holds is not None:
            if self.orphans is not None:
                self.orphans.register(identity, message)
            else:
                self._to_manager(identity, Shutdown("this pool does not know the manager"))
            return
        for what, here, there in (
            ("protocol", str(PROTOCOL_VERSION), str(message.protocol)),
            ("Python", PYTHON, message.python),
        ):
            if here != there:
                self._to_manager(identity, Refused(what, here, there))
                self._keeper.manager_refused(message, (what, here, there))
                return
        if identity in self._manager_by_identity:
            return
        peer = ManagerPeer(
            self._next_manager,
            identity,
            message.block,
            message.host,
            message.pid,
            max(1, message.slots),
            max(0, message.memory),
            max(0, message.gpus),
        )
        if not self._keeper.manager_arrived(peer):
            self._to_manager(identity, Refused("the set of wanted blocks", "another", f"block {message.block}"))
            return
        self._next_manager += 1
        self.managers[peer.number] = peer
        self._manager_by_identity[identity] = peer
        self._managers_by_block.setdefault(peer.block, {})[peer.number] = peer
        self._to_manager(identity, Welcome(self._name, peer.number))
        self._events.append(ManagerRegistered(peer.number, peer.block, peer.slots, peer.name, peer.memory, peer.gpus))

    def _heartbeat(self, peer: ManagerPeer, message: Heartbeat) -> None:
        if message.workers != peer.workers:
            peer.workers = message.workers
            self._keeper.manager_heard(peer)
        self._events.append(ManagerHeard(peer.number, message.window))
        if message.answer:
            self._to_manager(peer.identity, Heartbeat())

    def _output(self, message: Output) -> None:
        client = self.clients.get(message.client)
        told = client is not None and self.to_client(client.identity, message)
        if not told and self.sessions is not None:
            self.sessions.heard(message)

    def _ask_for_stacks(self, identity: bytes, message: StacksRequest) -> None:
        """Ask the managers that are meant; where none is named, the pool's own stacks are part of the answer."""
        number = self._routes.note(identity, message.ticket)
        host = message.worker.rpartition("/")[0]
        for peer in list(self.managers.values()):
            if host in ("", peer.host):
                self._to_manager(peer.identity, StacksRequest(number, message.worker))
        if not message.worker:
            own = (f"{os.uname().nodename}/{os.getpid()} (pool)", own_stacks())
            self.to_client(identity, Stacks(message.ticket, "", [own]))

    def _pass_stacks_on(self, message: Stacks) -> None:
        route = self._routes.find(message.ticket)
        if route is not None:
            self.to_client(route.identity, Stacks(route.ticket, message.host, message.processes))

    def managers_of(self, block: int) -> list[ManagerPeer]:
        """The managers of a block that are here."""
        return list(self._managers_by_block.get(block, {}).values())

    def drop_manager(self, peer: ManagerPeer, lost: bool, reason: str) -> None:
        """A manager is gone; the machine finds what becomes of its attempts."""
        if self._forget_manager(peer, lost, reason):
            self._events.append(ManagerGone(peer.number, reason, peer.begun()))

    def _forget_manager(self, peer: ManagerPeer, lost: bool, reason: str) -> bool:
        if self.managers.pop(peer.number, None) is None:
            return False
        del self._manager_by_identity[peer.identity]
        of_block = self._managers_by_block[peer.block]
        del of_block[peer.number]
        if not of_block:
            del self._managers_by_block[peer.block]
        self._keeper.manager_left(peer, lost, reason)
        return True

    # ------------------------------------------------------------------ sending

    def dismiss(self, message: Shutdown) -> None:
        """Tell all managers to end: those on other hosts hear of it in no other way."""
        for peer in list(self.managers.values()):
            with suppress(PeerGone):
                self._manager_door.send(peer.identity, self._codec.encode(message))

    def _to_manager(self, identity: bytes, message: Message) -> bool:
        """Send to one manager; if it is not there any more, it is dropped, and False returned."""
        try:
            self._manager_door.send(identity, self._codec.encode(message))
        except PeerGone as error:
            peer = self._manager_by_identity.get(identity)
            if peer is not None:
                self.drop_manager(peer, True, f"it closed its connection ({error})")
            return False
        return True

    def _carry_out(self, commands: list[Any]) -> None:
        if self.before is not None:
            self.before(commands)
        undelivered: list[Event] = []
        silent: list[tuple[ManagerPeer, float]] = []
        for command in commands:
            if isinstance(command, ToClient):
                client = self.clients.get(command.client)
                if client is not None:
                    self.to_client(client.identity, command.message)
                continue
            peer = self.managers.get(command.manager)
            if isinstance(command, ToManager):
                message = command.message
                if (peer is None or not self._to_manager(peer.identity, message)) and isinstance(message, Tasks):
                    keys = [(t.client, t.tid, t.attempt) for t in message.tasks]
                    undelivered.append(AttemptsReturned(command.manager, keys, delivered=False))
            elif peer is None:
                continue
            elif isinstance(command, ManagerDrained):
                self._to_manager(peer.identity, Shutdown("drained"))
            elif isinstance(command, ManagerSuspected):
                silent.append((peer, command.silent))
            elif isinstance(command, ManagerTimedOut):
                self._forget_manager(peer, True, command.reason)
                peer.begun()  # closes its files; the machine has answered for its attempts already
                self._keeper.manager_timed_out(peer, command.reason)
        if silent:
            self._keeper.trouble(silent[0][0], Trouble("manager", silence_of(silent)))
        # Before the machine hears that the manager is gone: what never left cannot have begun.
        self._events[:0] = undelivered
