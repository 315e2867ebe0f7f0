"""Messages over a stream socket: whole and in order, however they are cut up on the way, and whatever interrupts a sender."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.errors import ProtocolError
from shoal.executors.client import ClientLink
from shoal.links import MAX_FRAME, MAX_HEADER, PeerGone
from shoal.links.stream import Stream
from shoal.outcome import Payload
from shoal.wire.frames import Codec
from shoal.wire.messages import Blob, Task, Tasks

BUFFER = 256 * 1024


@contextmanager
def pair(room: int = 0) -> Iterator[tuple[Stream, Stream]]:
    """Two ends of a connection, with little room in between if so asked."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if room:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    with one, other:
        yield Stream(one), Stream(other)


def taken(stream: Stream) -> list[list[bytes]]:
    """All that can be received now."""
    found = []
    while (frames := stream.receive()) is not None:
        found.append([bytes(frame) for frame in frames])
    return found


def through(sender: Stream, receiver: Stream, found: list[list[bytes]]) -> None:
    """Flush and receive until everything has arrived."""
    while not sender.flush():
        found += taken(receiver)
    found += taken(receiver)
    found += taken(receiver)  # the first may have stopped at what was there when it began


small = st.binary(max_size=40)
sizes = st.one_of(
    st.integers(0, 300), st.integers(8_000, 9_000), st.integers(BUFFER - 40, BUFFER + 40), st.just(3 * BUFFER)
)
large = st.builds(lambda size, seed: bytes([seed]) * size, sizes, st.integers(0, 255))
messages = st.lists(st.lists(small | large, min_size=1, max_size=5), max_size=8)


@settings(max_examples=60, deadline=None)
@given(messages, st.lists(st.integers(0, 2), max_size=20), st.sampled_from([0, 1, 20_000]))
def test_messages_arrive_as_they_were_sent(sent: list[list[bytes]], rhythm: list[int], room: int) -> None:
    """Empty frames, many frames, frames and headers larger than any buffer; received at whatever moments."""
    with pair(room) as (sender, receiver):
        found: list[list[bytes]] = []
        for place, frames in enumerate(sent):
            sender.send(list(frames))
            for _ in range(rhythm[place] if place < len(rhythm) else 0):
                found += taken(receiver)
        through(sender, receiver, found)
        assert found == sent


@settings(max_examples=40, deadline=None)
@given(messages, st.lists(st.integers(1, 70_000), min_size=1, max_size=10))
def test_messages_arrive_however_their_bytes_are_cut(sent: list[list[bytes]], cuts: list[int]) -> None:
    """The bytes of some messages come in pieces of any sizes."""
    with pair() as (sender, receiver):
        raw = b"".join(wire(frames) for frames in sent)
        found: list[list[bytes]] = []
        place = turn = 0
        while place < len(raw):
            cut = max(cuts[turn % len(cuts)], len(raw) // 100)
            place += sender.sock.send(raw[place : place + cut])
            turn += 1
            found += taken(receiver)
        assert found + taken(receiver) == sent


def wire(frames: list[bytes]) -> bytes:
    """A message as it is written in the module's docstring, said here once more."""
    count, table = len(frames), [len(frame) for frame in frames]
    return struct.pack(f"<II{count - 1}Q", count, *table) + b"".join(frames)


def test_many_frames_travel() -> None:
    """More frames than go into one system call, empty ones among them."""
    frames = [b"head", *(b"" if n % 3 else n.to_bytes(4, "little") for n in range(5_000))]
    with pair() as (sender, receiver):
        found: list[list[bytes]] = []
        sender.send(frames)
        through(sender, receiver, found)
        assert found == [frames]


def test_frames_of_any_kind_of_memory_travel() -> None:
    """Arrays of numbers are sent as their bytes."""
    numbers = memoryview(bytearray(struct.pack("<3d", 1, 2, 3))).cast("d")
    with pair() as (sender, receiver):
        assert sender.send([b"head", numbers, bytearray(b"x")])
        assert taken(receiver) == [[b"head", bytes(numbers), b"x"]]


def test_frames_behind_the_first_are_the_receivers_own() -> None:
    """They stay as they are when more is received, and may be written to."""
    with pair() as (sender, receiver):
        sender.send([b"a", b"first" * 1000])
        frames = receiver.receive()
        sender.send([b"b", b"other" * 1000])
        assert frames is not None
        receiver.receive()
        assert bytes(frames[1]) == b"first" * 1000
        frames[1][:1] = b"F"


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("<II", 0, 5),
        struct.pack("<II", 1 << 20, 5),
        struct.pack("<II", 1, MAX_HEADER + 1),
        struct.pack("<IIQ", 2, 1, MAX_FRAME + 1) + b"x",
    ],
    ids=["no-frames", "too-many-frames", "too-large-a-header", "too-large-a-frame"],
)
def test_nonsense_is_no_message(nonsense: bytes) -> None:
    """What cannot be a message is an error at once, before memory is set aside for it."""
    with pair() as (sender, receiver):
        sender.sock.send(nonsense)
        with pytest.raises(ProtocolError):
            receiver.receive()


def test_the_end_comes_after_all_that_was_sent() -> None:
    """What was sent before the other side went is received, then that it is gone; half a message is none."""
    with pair() as (sender, receiver):
        sender.send([b"last", b"words"])
        sender.sock.send(wire([b"half a message"])[:9])
        sender.sock.close()
        assert taken_until_gone(receiver) == [[b"last", b"words"]]


def test_who_cannot_send_any_more_can_still_receive() -> None:
    """A peer sends and goes: sending to it fails, and what it sent comes all the same, then its end."""
    with pair() as (one, other):
        other.send([b"farewell"])
        other.sock.close()
        with pytest.raises(PeerGone):
            one.send([b"hello"])
        with pytest.raises(PeerGone):
            one.send([b"hello", b"once more"])
        assert taken_until_gone(one) == [[b"farewell"]]


def taken_until_gone(stream: Stream) -> list[list[bytes]]:
    """All that can be received until the other side's end is seen, which must be at once."""
    found = []
    with suppress(PeerGone):
        for _ in range(3):
            while (frames := stream.receive()) is not None:
                found.append([bytes(frame) for frame in frames])
        pytest.fail("its end is not seen")
    return found


def test_sending_to_nobody_is_no_signal() -> None:
    """A program that has given SIGPIPE its deadly meaning back lives on."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        for send in (lambda s: s.send([b"x"]), lambda s: s.send([b"x", b"y"]), lambda s: s.send_at_once(b"x")):
            with pair() as (one, other):
                other.sock.close()
                with pytest.raises(PeerGone):
                    send(one)
    finally:
        signal.signal(signal.SIGPIPE, before)


# --------------------------------------------------------------------------- sending from a thread that may be interrupted


class Interrupting:
    """A socket whose ``send`` is interrupted before or after it has sent some bytes."""

    def __init__(self, sock: socket.socket, most: int, after: bool) -> None:
        self.sock, self.most, self.after = sock, most, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def send(self, data: bytes, flags: int = 0) -> int:
        if not self.after:
            raise KeyboardInterrupt
        return self.sock.send(data[: self.most], flags)


@pytest.mark.parametrize("most", [0, 1, 7, 8, 9, 1000])
def test_what_left_in_part_is_completed(most: int) -> None:
    """A message of which only some bytes could leave is settled before the next; nothing is torn or sent twice."""
    with pair() as (sender, receiver):
        real = sender.sock
        sender.sock = Interrupting(real, most, after=True)  # type: ignore[assignment]
        assert sender.send_at_once(b"one")
        assert sender.unsettled == (most < 11)
        assert sender.send_at_once(b"another") != sender.unsettled, "not while something is left over"
        sender.sock = real
        sender.settle()
        sender.flush()
        sender.send([b"two"])
        found: list[list[bytes]] = []
        through(sender, receiver, found)
        assert [m for m in found if m != [b"another"]] == [[b"one"], [b"two"]]


def test_an_interrupt_before_anything_left() -> None:
    """The message is sent by the next who settles, once."""
    with pair() as (sender, receiver):
        real = sender.sock
        sender.sock = Interrupting(real, 0, after=False)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            sender.send_at_once(b"one")
        sender.sock = real
        assert sender.unsettled
        sender.send([b"two"])
        found: list[list[bytes]] = []
        through(sender, receiver, found)
        assert found == [[b"one"], [b"two"]]


def test_no_room_at_all_is_settled_later() -> None:
    """Where the other side does not read, a message waits here whole."""
    with pair(1) as (sender, receiver):
        while not sender.unsettled and not sender._out:
            assert sender.send_at_once(b"x" * 500) or sender.unsettled
        assert not sender.send_at_once(b"y")
        sender.settle()
        found: list[list[bytes]] = []
        through(sender, receiver, found)
        assert {bytes(m[0]) for m in found} == {b"x" * 500}


def interrupted_at(step: int, call: Callable[[], object]) -> bool:
    """Call, and raise KeyboardInterrupt in it at its ``step``-th bytecode; whether it came so far."""
    left = step

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_at_any_bytecode_tears_nothing() -> None:
    """The message is sent, or settled later, or was never begun; those that follow it arrive whole and once."""
    step = 0
    went = 0
    while True:
        step += 1
        with pair() as (sender, receiver):
            came = interrupted_at(step, lambda: sender.send_at_once(b"one"))
            sender.settle()
            sender.send([b"two"])
            found: list[list[bytes]] = []
            through(sender, receiver, found)
            assert found in ([[b"one"], [b"two"]], [[b"two"]]), f"interrupted at bytecode {step}"
            assert not sender.unsettled
            went += found[0] == [b"one"]
        if not came:
            break
    assert step > 20, "it was interrupted at all"
    assert 0 < went < step


class Sender:
    """What a link sees of its line: a stream. And a listener that makes a task of each number."""

    connects = 1

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    @property
    def unsettled(self) -> bool:
        return self.stream.unsettled

    def send_at_once(self, frame: bytes) -> bool:
        return self.stream.send_at_once(frame)

    def task_for(self, item: int) -> tuple[Task, list[Blob]]:
        return Task(item, 1, b"code", b"", None, Payload(b"body")), []


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can, so that an exception strikes after any call."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_interrupts_while_tasks_are_submitted_tear_nothing(hasty: None) -> None:
    """A thread that submits is struck by exceptions again and again, where nobody chooses: its messages stay whole and single.

    What it holds meanwhile is let go, so that others can send.
    """
    with pair() as (stream, receiver):
        sender: Any = Sender(stream)
        link = ClientLink(sender, "pool", ("session", "test", False), sender)
        link.welcomed = True
        begun: list[int] = []
        over = threading.Event()

        def submit_many() -> None:
            with suppress(KeyboardInterrupt):  # one may come when the work is over
                while not over.is_set():
                    with suppress(KeyboardInterrupt):
                        while not over.is_set():
                            begun.append(len(begun))
                            link.put_alone(begun[-1])

        thread = threading.Thread(target=submit_many)
        thread.start()
        number = ctypes.c_ulong(thread.ident or 0)
        codec, found = Codec(), []

        def read() -> None:
            with link._sending:
                stream.settle()
                stream.flush()
                link._outbox.clear()
            while (frames := receiver.receive()) is not None:
                message = codec.decode(frames)
                assert isinstance(message, Tasks)
                found.extend(task.tid for task in message.tasks)

        struck = at = 0
        deadline = time.monotonic() + 60
        while struck < 400 or len(found) < 100:
            assert time.monotonic() < deadline, f"struck {struck} times, received {len(found)} messages"
            if len(begun) >= at:
                struck += ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(KeyboardInterrupt))
                at = len(begun) + struck % 3  # every now and then it is let be for a while
            read()
        over.set()
        thread.join(30)
        assert not thread.is_alive()
        assert not link._sending.locked()
        read()
        read()
        assert found == sorted(set(found)), "each at most once, and in order"
        os.close(link._bell)
