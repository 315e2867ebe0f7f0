"""Packets between manager and worker, over real socket pairs."""

from __future__ import annotations

import gc
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import ProtocolError
from shoal.node import packets
from shoal.node.packets import PACKET


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ours, theirs
    ours.close()
    theirs.close()


def open_files():
    return len(os.listdir("/proc/self/fd"))


@given(st.lists(st.integers(0, 3 * PACKET), min_size=1, max_size=6), st.integers(0, 2**64 - 1))
def test_frames_arrive_as_they_were_sent(sizes, number):
    """Whatever the sizes, small in the packet or large in a memory file, the frames and the number arrive."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        frames = [os.urandom(size) for size in sizes]
        packets.send(ours, number, frames)
        got = packets.receive(theirs)
        assert got is not None
        assert got[0] == number
        assert [bytes(frame) for frame in got[1]] == frames


@pytest.mark.parametrize("size", [PACKET // 2, 2 * PACKET], ids=["inside", "file"])
def test_large_frames_are_writable_and_private(pair, size):
    """What arrives beside the header can be written to without anybody else seeing it, and when it is gone no file is left open."""
    gc.collect()  # what other tests have left
    before = open_files()
    given_bytes = bytearray(size)
    packets.send(pair[0], 1, [b"head", given_bytes])
    packets.send(pair[0], 2, [b"head", given_bytes])
    first = packets.receive(pair[1])
    second = packets.receive(pair[1])
    first[1][1][0] = 9
    assert second[1][1][0] == given_bytes[0] == 0
    del first, second
    gc.collect()
    assert open_files() <= before  # fewer, if a thread of another test has only now closed one of its own


def test_a_full_link_says_so_and_nothing_is_lost(pair):
    """When there is no room the sender is told; each packet sent is received once, in order."""
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            packets.send(pair[0], sent, [b"x" * 1000], socket.MSG_DONTWAIT)
            sent += 1
    got = [packets.receive(pair[1])[0] for _ in range(sent)]
    assert got == list(range(sent))
    with pytest.raises(BlockingIOError):
        packets.receive(pair[1], socket.MSG_DONTWAIT)


def test_a_packet_is_received_by_one_of_two_readers(pair):
    """A copy of the receiving end takes packets back: each goes to one side only."""
    twin = pair[1].dup()
    with twin:
        for number in range(10):
            packets.send(pair[0], number, [b"x"])
        here = [packets.receive(pair[1])[0] for _ in range(3)]
        there = [packets.receive(twin, socket.MSG_DONTWAIT)[0] for _ in range(7)]
        assert here + there == list(range(10))


def test_the_end_of_the_other_side_is_told(pair):
    """A closed link gives None, not an error."""
    pair[0].close()
    assert packets.receive(pair[1]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\x00" * 8 + b"\x05\x00\x00\x00" + b"short",
        b"\x00" * 8 + b"\x01\x00\x00\x80",
        bytes(8) + b"\x02\0\0\0" + b"\xff" * 16,
    ],
    ids=["no head", "no table", "no file", "wrong sizes"],
)
def test_what_is_no_packet_is_refused(pair, data):
    """Broken packets are named errors."""
    pair[0].send(data)
    with pytest.raises(ProtocolError):
        packets.receive(pair[1])
