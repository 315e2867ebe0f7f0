"""Doors and lines: the same promises, whether a Unix socket or an encrypted connection carries the messages."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.links import Door, Line, PeerGone, Poll, UnixDoor, dial, listen
from shoal.links.curve import Gate
from shoal.wire.starting import Address


class Place:
    """A door, the lines that lead there, and a loop that serves them all."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.poll = Poll()
        self.gate = Gate() if kind == "curve" else None
        self.heard: list[tuple[bytes, list[bytes]]] = []
        self.answers: dict[int, list[list[bytes]]] = {}
        self.lines: list[Line] = []
        self.polls: dict[Line, Poll] = {}
        self.door: Door
        self.address: Address
        if self.gate is not None:
            self.poll.add_link(self.gate, self.gate.answer)  # type: ignore[arg-type]

    def open(self) -> None:
        wanted = Address(f"unix://{self.folder / 'door'}") if self.kind == "unix" else None
        self.door, self.address = listen(wanted, self.the_gate, "clients")
        self.poll.add_link(self.door, self.hear)

    def the_gate(self) -> Gate:
        assert self.gate is not None
        return self.gate

    def hear(self) -> None:
        while (received := self.door.receive()) is not None:
            identity, frames = received
            self.heard.append((identity, [bytes(frame) for frame in frames]))

    def line(self, address: Address | None = None) -> Line:
        line = dial(address or self.address)
        number = len(self.lines)
        self.lines.append(line)
        self.answers[number] = []

        def read() -> None:
            while (frames := line.receive()) is not None:
                self.answers[number].append([bytes(frame) for frame in frames])

        poll = self.polls[line] = Poll()
        poll.add_link(line, read)
        return line

    def shut(self, line: Line, linger: float = 0.0) -> None:
        """Close a line."""
        line.close(linger)
        self.polls.pop(line).close()

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Serve until the condition is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s; heard {len(self.heard)} messages"
            self.poll.once(0.005)
            for poll in self.polls.values():
                poll.once(0.005)
        return found

    def close(self) -> None:
        for line in list(self.polls):
            self.shut(line)
        if hasattr(self, "door"):
            self.door.close()
        if self.gate is not None:
            self.gate.close()
        self.poll.close()


@pytest.fixture(params=["unix", "curve"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An open door of either kind."""
    yield from opened(request.param, tmp_path)


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Place]:
    """An open door at a Unix socket."""
    yield from opened("unix", tmp_path)


def opened(kind: str, folder: Path) -> Iterator[Place]:
    place = Place(kind, folder)
    place.open()
    yield place
    place.close()


# --------------------------------------------------------------------------- both kinds


def test_messages_go_both_ways(place: Place) -> None:
    """What a line sends arrives with its identity, and what is sent to that comes back there."""
    place.line().send([b"hello", b"", b"frame" * 1000])
    ((identity, frames),) = place.until(lambda: place.heard)
    assert frames == [b"hello", b"", b"frame" * 1000]
    place.door.send(identity, [b"answer"])
    assert place.until(lambda: place.answers[0]) == [[b"answer"]]


def test_messages_keep_their_order(place: Place) -> None:
    """Small ones and large ones, many more than fit into any buffer, one after the other."""
    line = place.line()
    sent = [[str(n).encode(), *([bytes([n % 256]) * 300_000] if n % 50 == 0 else [])] for n in range(1_000)]
    for frames in sent:
        line.send(list(frames))
    place.until(lambda: len(place.heard) == len(sent))
    assert [frames for _, frames in place.heard] == sent


def test_a_frame_of_many_megabytes_arrives(place: Place) -> None:
    """In one piece or in several, as the codec takes both."""
    data = os.urandom(1 << 20) * 40
    place.line().send([b"head", data])
    ((_, frames),) = place.until(lambda: place.heard)
    assert frames[0] == b"head"
    assert b"".join(frames[1:]) == data


def test_each_line_has_an_identity_of_its_own(place: Place) -> None:
    """Answers go to the line that asked."""
    for number in range(5):
        place.line().send([b"%d" % number])
    place.until(lambda: len(place.heard) == 5)
    assert len({identity for identity, _ in place.heard}) == 5
    for identity, (frame,) in place.heard:
        place.door.send(identity, [b"for " + frame])
    place.until(lambda: all(place.answers.values()))
    assert place.answers == {n: [[b"for %d" % n]] for n in range(5)}


def test_nobody_is_there(place: Place) -> None:
    """Sending to an identity that is not connected says so."""
    with pytest.raises(PeerGone):
        place.door.send(b"\0nobody!"[: 5 if place.kind == "curve" else 8], [b"hello"])


def test_a_peer_that_went_is_gone(place: Place) -> None:
    """Sooner or later sending to it says so, and what it had sent has been heard before."""
    line = place.line()
    line.send([b"hello"])
    ((identity, _),) = place.until(lambda: place.heard)
    line.send([b"farewell"])
    place.shut(line, 5.0)

    def gone() -> bool:
        try:
            place.door.send(identity, [b"are you there"])
        except PeerGone:
            return True
        return False

    place.until(gone)
    assert place.until(lambda: place.heard[1:]) == [(identity, [b"farewell"])]


def test_who_is_cut_is_heard_no_more(place: Place) -> None:
    """Others are."""
    bad, good = place.line(), place.line()
    bad.send([b"nonsense"])
    ((identity, _),) = place.until(lambda: place.heard)
    place.door.cut(identity)
    bad.send([b"more nonsense"])
    good.send([b"sense"])
    place.until(lambda: [frames for _, frames in place.heard[1:]] == [[b"sense"]])


def test_closing_sends_what_is_under_way(place: Place) -> None:
    """A line that is closed with some patience has sent what it was given."""
    line = place.line()
    line.send([b"hello"])
    place.until(lambda: place.heard)
    line.send([b"goodbye"])
    place.shut(line, 5.0)
    assert place.until(lambda: place.heard[1:])[0][1] == [b"goodbye"]


def test_nothing_to_do_takes_no_time(place: Place) -> None:
    """A wait of no time returns with nothing heard; doors and lines that are connected need no mending."""
    line = place.line()
    line.send([b"hello"])
    place.until(lambda: place.heard)
    assert place.door.rest(time.monotonic()) > 1e9
    assert line.rest(time.monotonic()) > 1e9
    place.poll.once(0)
    assert len(place.heard) == 1


# --------------------------------------------------------------------------- Unix sockets alone


def test_a_line_waits_for_its_door(tmp_path: Path) -> None:
    """What is sent before anybody listens arrives, in order, once somebody does."""
    place = Place("unix", tmp_path)
    line = place.line(Address(f"unix://{tmp_path / 'door'}"))
    line.send([b"early"])
    line.send([b"bird"])
    place.polls[line].once(0.02)
    assert line.connects == 0
    place.open()
    place.until(lambda: len(place.heard) == 2)
    assert [frames for _, frames in place.heard] == [[b"early"], [b"bird"]]
    assert line.connects == 1
    place.close()


def test_a_line_connects_again(unix: Place) -> None:
    """When its door closes and another opens at the same place it gets there, and says how often it has connected."""
    line = unix.line()
    line.send([b"hello"])
    unix.until(lambda: unix.heard)
    unix.door.close()
    unix.until(lambda: line.rest(time.monotonic()) < 1e9)
    unix.door = UnixDoor(str(unix.folder / "door"))
    unix.poll.add_link(unix.door, unix.hear)
    unix.until(lambda: line.connects == 2)
    line.send([b"again"])
    assert unix.until(lambda: unix.heard[1:])[0][1] == [b"again"]


def test_an_overdue_line_does_not_wait_for_ever(unix: Place) -> None:
    """A wait without a limit ends when a line has connected again, also where that was due before the wait began."""
    line = unix.line()
    line.send([b"hello"])
    unix.until(lambda: unix.heard)
    unix.door.close()
    unix.until(lambda: line.rest(time.monotonic()) < 1e9)
    door = UnixDoor(str(unix.folder / "door"))
    door.attach(Poll())
    while line.rest(time.monotonic()) > 0:
        time.sleep(0.001)
    unix.polls[line].once(None)
    assert line.connects == 2
    door.close()


def test_what_a_door_sent_before_it_went_is_received(unix: Place) -> None:
    """Also where the line finds out by a failure to send."""
    line = unix.line()
    line.send([b"hello"])
    ((identity, _),) = unix.until(lambda: unix.heard)
    unix.door.send(identity, [b"I stop"])
    unix.door.close()
    line.send([b"work"])
    line.send([b"work", b"more"])
    assert unix.until(lambda: unix.answers[0]) == [[b"I stop"]]


def test_a_malformed_peer_is_cut_off_and_counted(unix: Place) -> None:
    """Where its next message begins, nobody knows; others are served as before."""
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.connect(str(unix.folder / "door"))
    stranger.sendall(struct.pack("<II", 0, 0))
    unix.line().send([b"sense"])
    unix.until(lambda: unix.heard and unix.door.malformed == 1)
    stranger.settimeout(10)
    assert stranger.recv(1) == b"", "its connection is closed"
    stranger.close()


def test_a_peer_that_goes_within_a_message_is_forgotten(unix: Place) -> None:
    """Half a message is none, and no descriptor stays open for it."""
    door: Any = unix.door
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.connect(str(unix.folder / "door"))
    stranger.sendall(struct.pack("<IIQ", 2, 1, 1 << 20) + b"x" * 1000)
    (stream,) = unix.until(lambda: list(door._streams.values()))
    stranger.close()
    unix.until(lambda: not door._streams)
    assert stream.sock.fileno() == -1
    assert unix.heard == []
    assert unix.door.malformed == 0


def test_another_user_is_not_let_in(unix: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets to the socket must be of the same user (or root)."""
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with monkeypatch.context() as patched:
        patched.setattr("shoal.links.unix._CREDENTIALS", Credentials())
        stranger.connect(str(unix.folder / "door"))
        stranger.settimeout(10)
        unix.poll.once(10)
        assert stranger.recv(1) == b"", "its connection is closed"
    stranger.close()
    unix.line().send([b"hello"])
    unix.until(lambda: unix.heard)


class Credentials:
    """Those of somebody else."""

    size = 12

    def unpack(self, data: bytes) -> tuple[int, int, int]:
        pid, user, group = struct.unpack("3i", data)
        assert (pid, user) == (os.getpid(), os.getuid())
        return pid, user + 54321, group


def test_each_peer_has_its_turn(unix: Place) -> None:
    """One that has sent thousands of messages does not keep another waiting behind all of them."""
    busy, other = unix.line(), unix.line()
    for line in (busy, other):
        line.send([b"hello"])
    unix.until(lambda: len(unix.heard) == 2)
    for number in range(3_000):
        busy.send([b"%d" % number])
    other.send([b"me too"])
    unix.heard.clear()
    unix.until(lambda: [frames for _, frames in unix.heard].count([b"me too"]))
    unix.until(lambda: len(unix.heard) == 3_001)
    where = [frames for _, frames in unix.heard].index([b"me too"])
    assert where < 2_900
    assert [f for _, f in unix.heard if f != [b"me too"]] == [[b"%d" % n] for n in range(3_000)]


def test_a_peer_that_does_not_read_holds_nobody_up(unix: Place) -> None:
    """Sending never blocks; what it did not read waits, and reaches it when it reads."""
    slow, quick = unix.line(), unix.line()
    slow.send([b"slow"])
    quick.send([b"quick"])
    unix.until(lambda: len(unix.heard) == 2)
    identities = {frames[0]: identity for identity, frames in unix.heard}
    for number in range(100):
        unix.door.send(identities[b"slow"], [b"%d" % number, b"x" * 100_000])
    unix.door.send(identities[b"quick"], [b"answer"])
    unix.until(lambda: unix.answers[1] == [[b"answer"]])
    unix.until(lambda: len(unix.answers[0]) == 100)
    assert [frames[0] for frames in unix.answers[0]] == [b"%d" % n for n in range(100)]


def test_a_door_that_closes_waits_for_slow_readers_no_longer_than_it_was_told(unix: Place) -> None:
    """Its patience is for all of them together."""
    lines = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
    for line in lines:
        line.connect(str(unix.folder / "door"))
        line.sendall(struct.pack("<II", 1, 1) + b"x")
    unix.until(lambda: len(unix.heard) == 3)
    for identity, _ in unix.heard:
        unix.door.send(identity, [b"head", b"x" * 5_000_000])
    began = time.monotonic()
    unix.door.close(0.3)
    assert 0.25 < time.monotonic() - began < 10
    for line in lines:
        line.close()
