"""The interchange: the shell of the dispatch machine. It receives, decodes, asks the machine, and sends.

It never looks into a payload. A frame that is no message is counted and dropped, whoever sent it; a client that said
hello is told.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import zmq

from shoal.dispatch.events import (
    AttemptsEnded,
    AttemptsReturned,
    AttemptsRunning,
    BlobArrived,
    BlobsMissing,
    CancelRequested,
    ClientJoined,
    ClientLeft,
    Event,
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
from shoal.links import Poll, receive, send
from shoal.pool.peers import ClientPeer, ManagerPeer
from shoal.wire.frames import Codec
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Cancel,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    NeedBlob,
    Output,
    Refused,
    Register,
    Results,
    Returned,
    Running,
    Scale,
    Shutdown,
    StatusRequest,
    Tasks,
    Trouble,
    Welcome,
)

__all__ = ["PYTHON", "Interchange", "Keeper"]

ROUND = 256
"""Messages taken from one door before the machine is asked and the other door gets its turn."""

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Keeper(Protocol):
    """What an interchange needs from the rest of its pool."""

    def manager_arrived(self, peer: ManagerPeer) -> bool:
        """A manager wants to join; False if its block is not wanted."""
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

    def trouble(self, peer: ManagerPeer, trouble: Trouble) -> None:
        """A manager says that something is wrong."""
        ...

    def ordered(self, identity: bytes, message: StatusRequest | Scale | Shutdown) -> None:
        """A client asks or orders something of the pool itself."""
        ...


class Interchange:
    """Clients on one side, managers on the other.

    Args:
        name: the pool's name.
        doors: the bound ROUTERs for clients and for managers.
        poll: where they are watched.
        machine: the dispatch machine.
        keeper: the rest of the pool.
    """

    def __init__(
        self, name: str, doors: tuple[zmq.Socket[Any], zmq.Socket[Any]], poll: Poll, machine: Dispatcher, keeper: Keeper
    ) -> None:
        self.machine = machine
        self.clients: dict[int, ClientPeer] = {}
        self.managers: dict[int, ManagerPeer] = {}
        self.malformed = 0
        """Messages dropped because they were none, or not for that door."""
        self._name = name
        self._client_door, self._manager_door = doors
        self._poll = poll
        self._keeper = keeper
        self._codec = Codec()
        self._events: list[Event] = []
        self._client_by_identity: dict[bytes, ClientPeer] = {}
        self._manager_by_identity: dict[bytes, ManagerPeer] = {}
        self._next_client = 1
        self._next_manager = 1
        self._from_client: dict[type[Any], Callable[[ClientPeer, Any], None]] = {
            Tasks: lambda peer, m: self._events.append(TasksSubmitted(peer.number, m.tasks)),
            Blob: lambda peer, m: self._events.append(BlobArrived(peer.number, m)),
            Cancel: lambda peer, m: self._events.append(CancelRequested(peer.number, m.attempts)),
            Goodbye: lambda peer, _: self.drop_client(peer),
        }
        self._from_manager: dict[type[Any], Callable[[ManagerPeer, Any], None]] = {
            Results: lambda peer, m: self._events.append(AttemptsEnded(peer.number, m.results)),
            Running: lambda peer, m: self._events.append(AttemptsRunning(peer.number, m.attempts)),
            Returned: lambda peer, m: self._events.append(AttemptsReturned(peer.number, m.attempts)),
            NeedBlob: lambda peer, m: self._events.append(BlobsMissing(peer.number, m.digests)),
            Heartbeat: self._heartbeat,
            Output: lambda _, m: self._output(m),
            Trouble: keeper.trouble,
            Goodbye: lambda peer, _: self.drop_manager(peer, False, "it ended"),
        }
        poll.add_socket(self._client_door, self.read_clients)
        poll.add_socket(self._manager_door, self.read_managers)

    # ------------------------------------------------------------------ receiving

    def read_clients(self) -> None:
        """Take in what clients have sent."""
        for _ in range(ROUND):
            frames = receive(self._client_door)
            if frames is None:
                return
            identity = frames[0].bytes
            peer = self._client_by_identity.get(identity)
            try:
                message = self._codec.decode(frames[1:])
            except ProtocolError as error:
                self._unreadable(identity, peer, error)
                continue
            handler = self._from_client.get(type(message))
            if handler is not None:
                if peer is not None:
                    handler(peer, message)
                else:
                    self.malformed += 1
            elif isinstance(message, Hello):
                self._hello(identity, message)
            elif isinstance(message, StatusRequest | Scale | Shutdown):
                self.flush()
                self._keeper.ordered(identity, message)
            elif not isinstance(message, Heartbeat):
                self.malformed += 1

    def _unreadable(self, identity: bytes, peer: ClientPeer | None, error: ProtocolError) -> None:
        """Count it, and tell a client that is known: what it asked for there will not happen."""
        self.malformed += 1
        if peer is not None:
            text = f"pool '{self._name}' dropped a message of {peer.name}, and the tasks in it: {error}"
            self.to_client(identity, Trouble("protocol", text))

    def read_managers(self) -> None:
        """Take in what managers have sent."""
        for _ in range(ROUND):
            frames = receive(self._manager_door)
            if frames is None:
                return
            identity = frames[0].bytes
            try:
                message = self._codec.decode(frames[1:])
            except ProtocolError:
                self.malformed += 1
                continue
            peer = self._manager_by_identity.get(identity)
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
                self.malformed += 1

    def flush(self) -> None:
        """Let the machine decide about what came in, and carry out what it orders."""
        while self._events:
            events, self._events = self._events, []
            self._carry_out(self.machine.handle_all(events, time.monotonic()))

    def tell(self, event: Event) -> None:
        """Tell the machine something; it is taken in with the next ``flush``."""
        self._events.append(event)

    # ------------------------------------------------------------------ clients

    def _hello(self, identity: bytes, message: Hello) -> None:
        for what, here, there in (
            ("protocol", str(PROTOCOL_VERSION), str(message.protocol)),
            ("Python", PYTHON, message.python),
        ):
            if here != there:
                self.to_client(identity, Refused(what, here, there))
                return
        peer = self._client_by_identity.get(identity)
        if peer is None:
            peer = ClientPeer(self._next_client, identity, message.session, message.name, message.pid)
            self._next_client += 1
            self._watch(peer)
            self.clients[peer.number] = peer
            self._client_by_identity[identity] = peer
            self._events.append(ClientJoined(peer.number))
        self.to_client(identity, Welcome(self._name, peer.number))

    def _watch(self, peer: ClientPeer) -> None:
        try:
            peer.pidfd = os.pidfd_open(peer.pid)
        except OSError:
            return  # not a process of this host: its silence shows when something is sent to it
        self._poll.add(peer.pidfd, lambda: self.drop_client(peer))

    def drop_client(self, peer: ClientPeer) -> None:
        """A client is gone; what it has waiting goes with it."""
        if self.clients.pop(peer.number, None) is None:
            return
        del self._client_by_identity[peer.identity]
        if peer.pidfd >= 0:
            self._poll.remove(peer.pidfd)
            os.close(peer.pidfd)
        self._events.append(ClientLeft(peer.number))

    # ------------------------------------------------------------------ managers

    def _register(self, identity: bytes, message: Register) -> None:
        for what, here, there in (
            ("protocol", str(PROTOCOL_VERSION), str(message.protocol)),
            ("Python", PYTHON, message.python),
        ):
            if here != there:
                self._to_manager(identity, Refused(what, here, there))
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
        self._to_manager(identity, Welcome(self._name, peer.number))
        self._events.append(ManagerRegistered(peer.number, peer.block, peer.slots, peer.name, peer.memory, peer.gpus))

    def _heartbeat(self, peer: ManagerPeer, message: Heartbeat) -> None:
        if message.workers != peer.workers:
            peer.workers = message.workers
            self._keeper.manager_heard(peer)
        self._events.append(ManagerHeard(peer.number, message.window))

    def _output(self, message: Output) -> None:
        client = self.clients.get(message.client)
        if client is not None:
            self.to_client(client.identity, message)

    def drop_manager(self, peer: ManagerPeer, lost: bool, reason: str) -> None:
        """A manager is gone; the machine finds what becomes of its attempts."""
        if self._forget_manager(peer, lost, reason):
            self._events.append(ManagerGone(peer.number, reason))

    def _forget_manager(self, peer: ManagerPeer, lost: bool, reason: str) -> bool:
        if self.managers.pop(peer.number, None) is None:
            return False
        del self._manager_by_identity[peer.identity]
        self._keeper.manager_left(peer, lost, reason)
        return True

    # ------------------------------------------------------------------ sending

    def broadcast(self, message: Message) -> None:
        """Tell all clients."""
        for peer in list(self.clients.values()):
            self.to_client(peer.identity, message)

    def to_client(self, identity: bytes, message: Message) -> None:
        """Send to one client; if it is not there any more, it is dropped."""
        try:
            send(self._client_door, [identity, *self._codec.encode(message)])
        except zmq.ZMQError:
            peer = self._client_by_identity.get(identity)
            if peer is not None:
                self.drop_client(peer)

    def _to_manager(self, identity: bytes, message: Message) -> bool:
        """Send to one manager; if it is not there any more, it is dropped, and False returned."""
        try:
            send(self._manager_door, [identity, *self._codec.encode(message)])
        except zmq.ZMQError as error:
            peer = self._manager_by_identity.get(identity)
            if peer is not None:
                self.drop_manager(peer, True, f"it closed its connection ({error})")
            return False
        return True

    def _carry_out(self, commands: list[Any]) -> None:
        undelivered: list[Event] = []
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
                text = f"{peer.name} has been silent for {command.silent:.0f} s; it gets no new tasks"
                self._keeper.trouble(peer, Trouble("manager", text))
            elif isinstance(command, ManagerTimedOut):
                self._forget_manager(peer, True, command.reason)
                self._keeper.manager_timed_out(peer, command.reason)
        # Before the machine hears that the manager is gone: what never left cannot have begun.
        self._events[:0] = undelivered
