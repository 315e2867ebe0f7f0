"""What reaches a codec from anybody: it becomes a message, or is refused by name, and nothing else happens."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import ProtocolError
from shoal.outcome import Failure, Payload
from shoal.wire import frames as frames_module
from shoal.wire.frames import OUTSIDE, Codec, Outside
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Cancel,
    Heartbeat,
    Hello,
    Input,
    Message,
    Register,
    Result,
    Results,
    Scale,
    Task,
    Tasks,
)

BIG = b"b" * OUTSIDE
TASK = Task(
    3, 1, b"c" * 16, b"", b"small", Payload(b"head", (Outside(BIG),)), [Input(1, 0, Payload(Outside(BIG)))], ("a", "b"),
    "label", 2.0, 1, 3.0, 1 << 30, 1,
)  # fmt: skip
EXAMPLES = [
    Hello(PROTOCOL_VERSION, "run", "name", "3.11", 5),
    Tasks([TASK, TASK]),
    Blob(b"d" * 16, Outside(BIG)),
    Blob(b"d" * 16, b"few"),
    Cancel([(0, 1, 2)]),
    Scale(1, 2),
    Results([Result(1, 2, 1, [Payload(Outside(BIG))], None, "w", 1.0, 2.0), Result(1, 3, 1, [], Failure("E", "m"))]),
    Register(PROTOCOL_VERSION, 0, "host", 7, "3.11", 2, 1 << 30, 1),
    Heartbeat(2, 4),
]
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5), st.binary(max_size=99),
    st.lists(st.integers(0, 3), max_size=2), st.just({}), st.just({"a": 1}),
    st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=9)),
    st.builds(msgspec.msgpack.Ext, st.integers(2, 3), st.binary(min_size=44, max_size=44)),
)  # fmt: skip


def plain_frames(message: Any) -> list[bytes]:
    """The frames of a message as bytes."""
    return [bytes(frame) for frame in Codec().encode(message)]


def takes_or_refuses(frames: list[Any]) -> None:
    """Decode; what is taken can be passed on."""
    codec = Codec()
    try:
        message = codec.decode(frames)
    except ProtocolError:
        return
    assert type(message) in get_args(Message)
    again = codec.decode([bytes(f) for f in codec.encode(message)])
    assert type(again) is type(message)


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_random_bytes(frames):
    """Any bytes in any number of frames."""
    takes_or_refuses(frames)


@dataclasses.dataclass
class Damage:
    """What is done to the bytes of one frame."""

    frame: int
    place: int
    cut: int
    insert: bytes


damages = st.builds(Damage, st.integers(0, 3), st.integers(0, 400), st.integers(0, 9), st.binary(max_size=9))


@given(st.sampled_from(EXAMPLES), st.lists(damages, min_size=1, max_size=3), st.booleans())
def test_valid_messages_with_damaged_bytes(message, done, swap):
    """Bytes cut out, put in, overwritten; frames swapped."""
    frames = plain_frames(message)
    for d in done:
        i = d.frame % len(frames)
        frames[i] = frames[i][: d.place] + d.insert + frames[i][d.place + d.cut :]
    takes_or_refuses(frames[::-1] if swap else frames)


def places(tree: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """The way to each item of nested lists."""
    found = [path] if path else []
    if isinstance(tree, list):
        for index, item in enumerate(tree):
            found += places(item, (*path, index))
    return found


@given(st.sampled_from(EXAMPLES), st.data())
def test_valid_messages_with_a_wrong_item(message, data):
    """Well-formed msgpack of the right shape in which one item is anything: of another type, out of all bounds, missing."""
    frames = plain_frames(message)
    tree = msgspec.msgpack.decode(frames[0])
    *way, last = data.draw(st.sampled_from(places(tree)))
    parent = tree
    for step in way:
        parent = parent[step]
    if data.draw(st.booleans()):
        parent[last] = data.draw(leaves)
    else:
        del parent[last]
    takes_or_refuses([msgspec.msgpack.encode(tree), *frames[1:]])


@given(st.lists(st.integers(1, OUTSIDE - 1), max_size=6))
def test_a_buffer_that_comes_in_pieces_is_put_together(cuts):
    """However a link cuts what the header announces, the message is the same."""
    buffer = bytes(range(256)) * (OUTSIDE // 256)
    header, whole = plain_frames(Blob(b"d", Outside(buffer)))
    edges = [0, *sorted(set(cuts)), len(whole)]
    message = Codec().decode([header, *[whole[a:b] for a, b in itertools.pairwise(edges)]])
    assert isinstance(message, Blob)
    assert bytes(message.data.data) == buffer


@pytest.mark.parametrize("change", ["more", "less", "longer", "shorter", "empty"])
def test_what_does_not_add_up_to_what_is_announced_is_refused(change):
    """A frame too many, one too few, bytes too many or too few, and pieces that hold nothing."""
    header, first, second = plain_frames(Tasks([TASK]))
    frames = {
        "more": [header, first, second, b"x"],
        "less": [header, first],
        "longer": [header, first + b"x", second],
        "shorter": [header, first, second[:-1]],
        "empty": [header, first, b"", second],
    }[change]
    with pytest.raises(ProtocolError):
        Codec().decode(frames)


@pytest.mark.parametrize(
    "message",
    [
        Tasks([msgspec.structs.replace(TASK, tid=-1)]),
        Tasks([msgspec.structs.replace(TASK, attempt=1 << 63)]),
        Cancel([(0, 0, -1)]),
        Tasks([msgspec.structs.replace(TASK, cores=math.nan)]),
        Tasks([msgspec.structs.replace(TASK, cores=math.inf)]),
        Tasks([msgspec.structs.replace(TASK, walltime=math.nan)]),
        Tasks([msgspec.structs.replace(TASK, gpus=-1)]),
        Tasks([msgspec.structs.replace(TASK, memory=-1)]),
        Tasks([msgspec.structs.replace(TASK, code=b"x" * 65)]),
        Results([Result(1, 1, 1, [], None, "w", math.nan, 1.0)]),
        Register(PROTOCOL_VERSION, 0, "h", 1, "3.11", 1 << 40),
        Register(PROTOCOL_VERSION, 0, "h", -1, "3.11", 1),
        Hello(PROTOCOL_VERSION, "s", "n", "3.11", 1 << 40),
        Scale(1, -1),
        Heartbeat(1, 1 << 40),
        Blob(b"d", 5),
        Blob(b"d", [b"x"]),
    ],
    ids=repr,
)
def test_numbers_out_of_bounds_are_refused(message):
    """Numbers that no machine has, and those that are none, do not get in."""
    with pytest.raises(ProtocolError):
        Codec().decode(plain_frames(message))


def test_a_header_above_the_limit_is_refused_undecoded(monkeypatch):
    """Its size is looked at before anything in it."""
    header = plain_frames(Cancel([(1, n, 1) for n in range(100)]))[0]
    monkeypatch.setattr(frames_module, "HEADER_LIMIT", len(header) - 1)
    with pytest.raises(ProtocolError, match="above the limit"):
        Codec().decode([header])


def test_many_small_values_still_travel(monkeypatch):
    """Where inline values would make the header too large, they go into frames of their own; only what then does not fit fails."""
    monkeypatch.setattr(frames_module, "HEADER_LIMIT", 100_000)
    values = [Payload(bytes([n]) * 2000, (b"y" * 2000,)) for n in range(100)]
    inputs = [Input(n, 0, value) for n, value in enumerate(values)]
    for message in (
        Results([Result(0, 1, 1, values)]),
        Tasks([msgspec.structs.replace(TASK, body=Payload(b"z" * 2000), inputs=inputs)]),
    ):
        frames = plain_frames(message)
        assert len(frames[0]) < 100_000
        found = Codec().decode(frames)
        got = found.results[0].values if isinstance(found, Results) else [i.payload for i in found.tasks[0].inputs]
        assert [bytes(p.head.data) for p in got] == [bytes([n]) * 2000 for n in range(100)]
    with pytest.raises(ProtocolError, match=r"too much for one message.*Fix"):
        Codec().encode(Cancel([(1, n, 1) for n in range(100_000)]))


@given(leaves, st.lists(leaves, max_size=2))
def test_the_size_of_a_payload_can_always_be_asked(head, buffers):
    """What came as a payload and holds no buffers at all has a size, too: nobody who keeps account stumbles over it."""
    assert Payload(head, tuple(buffers)).nbytes() >= 0
