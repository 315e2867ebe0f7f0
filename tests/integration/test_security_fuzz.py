"""A live pool under a rain of nonsense at both of its doors, while a good client's tasks all finish.

The nonsense is the same each time; SHOAL_FUZZ_SEED gives another.
"""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shoal.links import Poll, dial
from shoal.outcome import Failure, Payload
from shoal.wire.frames import OUTSIDE, Codec, Outside
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Cancel,
    Goodbye,
    Heartbeat,
    Hello,
    Input,
    Leaving,
    NeedBlob,
    Output,
    PoolStatus,
    Register,
    Result,
    Results,
    Returned,
    Running,
    RunningAttempt,
    Stacks,
    StacksRequest,
    StatusRequest,
    Taken,
    Task,
    Tasks,
    Trouble,
)
from shoal.wire.starting import Address

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BIG = b"b" * OUTSIDE
CODE = b"d" * 16
LENT = 44
"""Bytes of a place in shared memory, which a message may name instead of holding a value."""
TASK = Task(
    3, 1, CODE, b"", b"small", Payload(b"head", (Outside(BIG),)), [Input(1, 0, Payload(Outside(BIG)))], ("a", "b"),
    "label", 1.0, 1, 3.0, 0, 0,
)  # fmt: skip
TO_CLIENTS_DOOR = [
    Hello(PROTOCOL_VERSION, "s", "fuzz", PYTHON, os.getpid()),
    Hello(PROTOCOL_VERSION, "s", "fuzz", PYTHON, os.getpid(), True, bytes(range(LENT))),
    Taken(3),
    StacksRequest(1, "nowhere/1"),
    Tasks([TASK, msgspec.structs.replace(TASK, tid=4, walltime=0.0, outputs=(), memory=1 << 20)]),
    Blob(CODE, Outside(BIG)),
    Blob(CODE, b"few"),
    Cancel([(0, 3, 1)]),
    StatusRequest(1),
    Results([Result(1, 2, 1, [Payload(Outside(BIG))], None, "w", 1.0, 2.0), Result(1, 3, 1, [], Failure("E", "m"))]),
    Goodbye(),
]
NO_BLOCK = 77
"""A manager of a block that the pool does not want: its nonsense is heard as that of a stranger."""
TO_MANAGERS_DOOR = [
    Register(PROTOCOL_VERSION, NO_BLOCK, "host", 7, PYTHON, 2, 1 << 30, 1),
    Heartbeat(2, 4),
    Results([Result(1, tid, 1, [Payload(b"")], None, "w", 1.0, 2.0) for tid in range(9)]),
    Running([RunningAttempt(1, 1, 1, "w", 1.0)]),
    Returned([(1, 1, 1), (1, 2, 1)]),
    NeedBlob([CODE]),
    Output(1, 1, 1, "stdout", "text"),
    Stacks(1, "host", [("a", "b")]),
    Leaving("reason"),
    Trouble("worker", "text"),
    Hello(PROTOCOL_VERSION, "s", "fuzz", PYTHON, 1),
    Goodbye(),
]


def item(chance: random.Random) -> Any:
    """Anything that msgpack can say, but no word that is a tag."""
    return chance.choice(
        [
            None, True, -1, 0, 1, 2**31, 2**32, 2**63, 2**64 - 1, -(2**63), 1.5, float("nan"), float("inf"), -1e300,
            "", "\u20ac" * 9, b"", b"\xff" * chance.randrange(70), [], [[]], [1, 2, 3], {}, {"a": 1}, [0] * 50,
            *[msgspec.msgpack.Ext(code, chance.choice([bytes(LENT), chance.randbytes(LENT)])) for code in (2, 3)],
            msgspec.msgpack.Ext(chance.randrange(-9, 9), b"\0" * chance.choice([0, 4, 8])),
        ]
    )  # fmt: skip


def wrong(frames: list[bytes], chance: random.Random) -> list[bytes]:
    """A message with one item of it replaced, doubled or left out; not its tag nor a registration's block."""
    tree = msgspec.msgpack.decode(frames[0])
    parent, depth = tree, 0
    while True:
        first = 1 if depth == 0 else 0
        if depth == 0 and tree[0] == "register":
            first = 3
        if len(parent) <= first:
            return frames
        place = chance.randrange(first, len(parent))
        if isinstance(parent[place], list) and parent[place] and chance.random() < 0.8:
            parent, depth = parent[place], depth + 1
            continue
        what = chance.random()
        if what < 0.7:
            parent[place] = item(chance)
        elif what < 0.85:
            parent.insert(place + 1, item(chance))
        else:
            del parent[place:]
        return [msgspec.msgpack.encode(tree), *frames[1:]]


def damaged(frames: list[bytes], chance: random.Random) -> list[bytes]:
    """A message with some of its bytes or frames changed, behind its tag; or mere noise."""
    kind = chance.random()
    frames = list(frames)
    if kind < 0.3:
        return [chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(1, 4))]
    if kind < 0.6:
        frames[0] = frames[0][: chance.randrange(len(frames[0]))]
    elif kind < 0.8:
        frames.append(chance.randbytes(9))
    else:
        frames[-1] = frames[-1][:-1]
    return frames


def rain(
    address: Address, messages: list[Any], chance: random.Random, lines: int, each: int, heard: Callable[[], Any]
) -> None:
    """Over several lines: messages of all kinds, most of them wrong in some way. They are open until all is ``heard``."""
    codec = Codec()
    opened = [dial(address) for _ in range(lines)]
    poll = Poll()
    for line in opened:
        poll.add_link(line, lambda: None)
        hello = [bytes(f) for f in codec.encode(messages[0])]
        line.send(hello)
        while line.receive() is None:  # over TCP it takes a while until both sides know each other
            poll.once(1.0)
        for _ in range(each):
            frames = [bytes(f) for f in codec.encode(chance.choice(messages))]
            kind = chance.random()
            line.send(wrong(frames, chance) if kind < 0.7 else damaged(frames, chance) if kind < 0.9 else frames)
            poll.once(0.0)
            while line.receive() is not None:
                pass  # what comes back is nothing to this test
    heard()
    for line in opened:
        line.close(1.0)
    poll.close()


def noise(address: Address, chance: random.Random, times: int) -> None:
    """Bytes that are not even of the transport."""
    for _ in range(times):
        unix = address.url.startswith("unix://")
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as raw:
            if unix:
                raw.connect(address.url.removeprefix("unix://"))
            else:
                host, _, port = address.url.removeprefix("tcp://").partition(":")
                raw.connect((host, int(port)))
            with suppress(OSError):  # cut off half-way
                head = chance.choice([b"", b"\1\0\0\0", b"\2\0\0\0", b"\xff" * 8 + b"\0\x7f", b"GET / HTTP/1.1\r\n"])
                raw.sendall(head + chance.randbytes(chance.randrange(1, 3000)))


def negate(x):
    return -x


@pytest.mark.parametrize(
    "changes", [{}, {"clients": None, "managers": None}, {"owner_pid": 0}], ids=["unix", "tcp", "lasting"]
)
def test_a_pool_under_a_rain_of_nonsense_does_its_work(pools, changes):
    """Noise, damaged and wrong messages at both doors: the pool and its manager live on, and 2,000 tasks have their results."""
    chance = random.Random(int(os.environ.get("SHOAL_FUZZ_SEED", "20261")))
    client = pools.start(workers=2, **changes)
    assert client.value(client.submit(negate, 0)[0]) == 0
    before = {p.pid for role in ("shoal.pool", "shoal.node.manager") for p in pools.roles(client)[role]}
    told = msgspec.json.decode((Path(client.connection.folder) / "block-0.json").read_bytes())
    managers = msgspec.convert(told["address"], Address)
    tids: list[int] = []
    for part in range(10):
        tids += client.submit(negate, part, count=200)
        rain(client.connection.clients, TO_CLIENTS_DOOR, chance, 6, 12, client.status)
        rain(managers, TO_MANAGERS_DOOR, chance, 6, 12, client.status)
        noise(client.connection.clients, chance, 5)
        noise(managers, chance, 5)
        client.read(0.0)
    client.wait(lambda: all(tid in client.results for tid in tids), 60)
    assert [client.value(tid) for tid in tids] == [-part for part in range(10) for _ in range(200)]
    status = client.status()
    assert status.malformed > 200
    assert [m.block for m in status.managers] == [0]
    assert {p.pid for role in ("shoal.pool", "shoal.node.manager") for p in pools.roles(client)[role]} == before
    assert isinstance(status, PoolStatus)
    folder = Path(client.connection.folder)
    for log in (*folder.glob("*.err"), *folder.glob("*worker*.log")):
        assert "Traceback" not in log.read_text(errors="replace"), log
