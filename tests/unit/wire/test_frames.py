"""Messages to frames and back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoal.errors import ProtocolError
from shoal.outcome import Failure, Payload, TracebackLine
from shoal.wire.frames import OUTSIDE, Codec, Outside, outside
from shoal.wire.messages import Hello, Input, Result, Results, Task, Tasks

blobs = st.binary(max_size=64)
payloads = st.builds(Payload, blobs, st.lists(blobs, max_size=3).map(tuple))
failures = st.builds(
    Failure, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9),
    st.lists(st.builds(TracebackLine, st.text(max_size=5), st.integers(0, 99), st.text(max_size=5)), max_size=2), blobs,
)  # fmt: skip
tasks = st.builds(
    Task, tid=st.integers(0, 2**40), attempt=st.integers(1, 9), code=blobs, captures=blobs,
    captured=st.none() | blobs, body=payloads,
    inputs=st.lists(st.builds(Input, st.integers(0, 9), st.integers(0, 3), st.none() | payloads), max_size=2),
    outputs=st.lists(st.text(max_size=5), max_size=2).map(tuple), label=st.text(max_size=9),
)  # fmt: skip
results = st.builds(
    Result, client=st.integers(0, 9), tid=st.integers(0, 2**40), attempt=st.integers(1, 9),
    values=st.lists(payloads, max_size=2), failure=st.none() | failures,
)  # fmt: skip


@given(st.builds(Tasks, st.lists(tasks, max_size=4)) | st.builds(Results, st.lists(results, max_size=4)))
def test_a_message_survives_the_wire(message: Tasks | Results) -> None:
    """What is decoded equals what was encoded."""
    codec = Codec()
    assert codec.decode(codec.encode(message)) == message


def test_large_buffers_travel_in_frames_of_their_own_without_a_copy() -> None:
    """The very object that was given is the frame."""
    big, small = b"x" * OUTSIDE, b"y" * (OUTSIDE - 1)
    codec = Codec()
    frames = codec.encode(Results([Result(0, 1, 1, [outside(Payload(b"head", (big, small)))])]))
    assert len(frames) == 2
    assert frames[1] is big
    message = codec.decode(frames)
    assert isinstance(message, Results)
    far, near = message.results[0].values[0].buffers
    assert isinstance(far, Outside)
    assert far.data is big
    assert near == small


def test_a_large_head_travels_outside_too() -> None:
    """A pickled megabyte of bytes is no part of the header."""
    codec = Codec()
    frames = codec.encode(Results([Result(0, 1, 1, [outside(Payload(b"h" * OUTSIDE))])]))
    assert len(frames) == 2
    assert len(frames[0]) < 100


@given(st.lists(st.binary(max_size=200), max_size=3))
@example([b"\x91\xa4\x00\x00\x00\x80"])  # a tag that is not UTF-8
def test_bytes_that_are_no_message_are_refused_by_name(frames: list[bytes]) -> None:
    """Whatever arrives, the codec raises ProtocolError or returns a message; nothing else escapes."""
    try:
        Codec().decode(frames)
    except ProtocolError:
        pass


def test_a_reference_to_a_frame_that_is_not_there_is_refused() -> None:
    """A header cannot point outside its own message."""
    codec = Codec()
    header = codec.encode(Results([Result(0, 1, 1, [Payload(Outside(b"x"))])]))[0]
    with pytest.raises(ProtocolError):
        codec.decode([header])


def test_a_truncated_message_is_refused() -> None:
    """Every prefix of a message is refused."""
    codec = Codec()
    header = codec.encode(Hello(1, "run", "name", "3.11", 5))[0]
    for length in range(len(header)):
        with pytest.raises(ProtocolError):
            codec.decode([header[:length]])
