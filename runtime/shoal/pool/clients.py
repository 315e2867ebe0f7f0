"""The clients' side of an interchange: who is connected, and what becomes of those who leave."""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress

from shoal.arena import Library
from shoal.dispatch.events import BlobArrived, ClientGoneForGood, ClientJoined, ClientLeft, Event, TasksSubmitted
from shoal.dispatch.machine import Dispatcher
from shoal.errors import LoanGone, ProtocolError
from shoal.links import Door, PeerGone, Poll, UnixDoor
from shoal.pool.peers import ClientPeer
from shoal.pool.sessions import Kept, Sessions
from shoal.wire.frames import Codec, Lent
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Goodbye,
    Hello,
    Message,
    NeedBlob,
    Refused,
    Taken,
    Tasks,
    Welcome,
)

__all__ = ["PYTHON", "ClientSide"]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class ClientSide:
    """The clients of a pool.

    Args:
        name: the pool's name.
        doors: those for clients and for managers.
        poll: where they are watched.
        machine: the dispatch machine.
    """

    def __init__(self, name: str, doors: tuple[Door, Door], poll: Poll, machine: Dispatcher) -> None:
        self.machine = machine
        self.clients: dict[int, ClientPeer] = {}
        self.sessions: Sessions | None = None
        """What a lasting pool keeps of its clients' sessions."""
        self._name = name
        self._client_door, self._manager_door = doors
        self._poll = poll
        self._codec = Codec()
        self._events: list[Event] = []
        self._client_by_identity: dict[bytes, ClientPeer] = {}
        self._leaving: list[ClientPeer] = []
        """Clients that are gone, of which the door may have something that they sent before."""
        self._next_client = 1

    def _hello(self, identity: bytes, message: Hello) -> None:
        for what, here, there in (
            ("protocol", str(PROTOCOL_VERSION), str(message.protocol)),
            ("Python", PYTHON, message.python),
        ):
            if here != there:
                self.to_client(identity, Refused(what, here, there))
                return
        peer = self._client_by_identity.get(identity)
        sessions = self.sessions
        if peer is not None:
            self.to_client(identity, Welcome(self._name, peer.number, sessions is not None, self._may_lend(message)))
            return
        kept = sessions.find(message.session) if sessions is not None else None
        if kept is not None and not self._may_have(identity, message, kept):
            return
        number = self._next_client if kept is None else kept.client
        peer = ClientPeer(number, identity, message.session, message.name, message.pid)
        self._watch(peer)
        self.clients[number] = peer
        self._client_by_identity[identity] = peer
        if kept is None:
            self._next_client += 1
            self._events.append(ClientJoined(number))
        self.to_client(identity, Welcome(self._name, number, sessions is not None, self._may_lend(message)))
        if sessions is None:
            return
        if kept is not None:
            for news in sessions.resume(kept, message.name):
                self.to_client(identity, news)
            if message.claims:
                self._events.append(ClientGoneForGood(number))
            missing = self.machine.missing(number)
            if missing:
                self.to_client(identity, NeedBlob(missing))
        if message.resume:
            self.to_client(identity, sessions.held(kept))
        if kept is None and message.session:
            sessions.open(number, message.session, message.name)

    def _may_lend(self, message: Hello) -> bool:
        """Whether all processes here can read what that client lends: they are on its host, and end when it does."""
        if self.sessions is not None or not message.probe or not isinstance(self._manager_door, UnixDoor):
            return False
        try:
            Library().view(Lent(message.probe))
        except (LoanGone, ProtocolError):
            return False
        return True

    def _may_have(self, identity: bytes, message: Hello, kept: Kept) -> bool:
        """Whether a client may have a session that is known; refused while another process is connected with it."""
        other = self.clients.get(kept.client)
        if other is None:
            return True
        if other.pid != message.pid and not _has_ended(other):
            self.to_client(identity, Refused("session", f"{other.name} (pid {other.pid})", message.name))
            return False
        self._unlink(
            other
        )  # it is gone, or the same process by another connection, whose other end is told if it is there
        with suppress(PeerGone):
            refused = Refused("session", f"{message.name} (pid {message.pid})", other.name)
            self._client_door.send(other.identity, self._codec.encode(refused))
        return True

    def restore(self, events: list[Event]) -> None:
        """Take over what the process before knew.

        Args:
            events: what the machine is to be told.
        """
        known = [event.client for event in events if isinstance(event, ClientJoined)]
        self._next_client = max([0, *known]) + 1
        self._events += events

    def _tasks(self, peer: ClientPeer, message: Tasks) -> None:
        tasks = message.tasks if self.sessions is None else self.sessions.accept(peer.number, message.tasks)
        self._events.append(TasksSubmitted(peer.number, tasks))

    def _blob(self, peer: ClientPeer, message: Blob) -> None:
        if self.sessions is not None:
            self.sessions.blob(message)
        self._events.append(BlobArrived(peer.number, message))

    def _taken(self, peer: ClientPeer, message: Taken) -> None:
        if self.sessions is not None:
            self.sessions.taken(peer.number, message.count)

    def _watch(self, peer: ClientPeer) -> None:
        try:
            peer.pidfd = os.pidfd_open(peer.pid)
        except OSError:
            return  # not a process of this host: its silence shows when something is sent to it
        self._poll.add(peer.pidfd, lambda: self._process_ended(peer))

    def _process_ended(self, peer: ClientPeer) -> None:
        """Called in each round of the loop, until it is dropped: from the second on the door knows what it has of it."""
        if peer.gone:
            self._has_gone(peer)
        peer.gone = True

    def _has_gone(self, peer: ClientPeer) -> None:
        """Drop a client that is gone, once what it sent before has been taken in: tasks, and how it took its leave."""
        peer.gone = True
        if not self._client_door.ready():
            self.drop_client(peer)
        elif peer not in self._leaving:
            self._leaving.append(peer)

    def _farewell(self, peer: ClientPeer, message: Goodbye) -> None:
        peer.for_good = True
        self.drop_client(peer, message.keep)

    def _drop_gone(self) -> None:
        """The door has nothing more: what those who are gone sent has been taken in."""
        while self._leaving:
            self.drop_client(self._leaving.pop())

    def drop_client(self, peer: ClientPeer, keep: bool = True) -> None:
        """A client is gone. What it has waiting goes with it, unless the pool keeps sessions, and is to keep this one."""
        for_good = peer.for_good or _has_ended(peer)
        if not self._unlink(peer):
            return
        if not keep or self.sessions is None or not self.sessions.away(peer.number, time.time()):
            self.end_session(peer.number)
        elif for_good:
            self._events.append(ClientGoneForGood(peer.number))

    def _unlink(self, peer: ClientPeer) -> bool:
        """Nothing comes from there any more; returns whether anything could."""
        if self.clients.get(peer.number) is not peer:
            return False
        del self.clients[peer.number]
        del self._client_by_identity[peer.identity]
        if peer.pidfd >= 0:
            self._poll.remove(peer.pidfd)
            os.close(peer.pidfd)
        return True

    def end_session(self, client: int) -> None:
        """Forget a client, who is gone, and what it has waiting."""
        if self.sessions is not None:
            self.sessions.end(client)
        self._events.append(ClientLeft(client))

    def broadcast(self, message: Message) -> None:
        """Tell all clients."""
        for peer in list(self.clients.values()):
            self.to_client(peer.identity, message)

    def to_client(self, identity: bytes, message: Message) -> bool:
        """Send to one client; if it is not there any more, it is dropped, once what it sent has been taken in: then False."""
        try:
            self._client_door.send(identity, self._codec.encode(message))
        except PeerGone:
            peer = self._client_by_identity.get(identity)
            if peer is not None:
                self._has_gone(peer)
            return False
        return True


def _has_ended(peer: ClientPeer) -> bool:
    """Whether the process of a client is gone, as far as can be known."""
    if peer.pidfd < 0:
        return False
    poll = select.poll()
    poll.register(peer.pidfd, select.POLLIN)
    return bool(poll.poll(0))
