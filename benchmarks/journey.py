"""What each step of a task's journey costs, measured alone: ``python -m benchmarks.journey``. The table is that of docs/journey.md.

Each step runs many times in a loop in this process, so caches are warm and nobody else wants the processor: these are the least that a
step can cost. The last rows are a pool in earnest: the CPU time of each process, by task.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import tasks
from benchmarks.measure.processes import cpu_seconds
from benchmarks.peers.shoal_sessions import ShoalPool, as_in_a_notebook

ROUNDS = 5
NUMBER = 20_000


def cost(step: Callable[[int], Any], number: int = NUMBER) -> float:
    """Microseconds of one call, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for i in range(number):
            step(i)
        best = min(best, time.perf_counter() - began)
    return 1e6 * best / number


def steps() -> Iterator[tuple[str, float]]:
    """The steps and what they cost."""
    from shoal.dispatch.events import (
        AttemptsEnded,
        BlobArrived,
        ClientJoined,
        ManagerHeard,
        ManagerRegistered,
        TasksSubmitted,
    )
    from shoal.dispatch.machine import Dispatcher
    from shoal.outcome import Payload
    from shoal.serialize import FunctionImage, Rebuilder, pack, pack_call, unpack, unpack_call
    from shoal.wire.frames import Codec
    from shoal.wire.messages import Blob, Result, Results, Task, Tasks

    image = FunctionImage(as_in_a_notebook(tasks.noop))
    snapshot = image.snapshot()
    body, _ = pack_call((), {}, "noop")
    codec = Codec()
    task = Task(0, 1, snapshot.code, b"", None, body, [], (), "noop")
    sent = codec.encode(Tasks([task]))
    value = pack(None)
    result = Result(1, 0, 1, [value], None, "host/1", 1.0, 1.0)
    back = codec.encode(Results([result]))
    yield "look whether the function or a variable that it captures has changed", cost(lambda _: image.snapshot())
    yield "pickle the arguments", cost(lambda _: pack_call((), {}, "noop"))
    yield "a message of one task to bytes", cost(lambda _: codec.encode(Tasks([task])))
    yield "and back (each process on the way does both)", cost(lambda _: codec.decode(sent))

    machine = Dispatcher((2, 0, 0))
    machine.handle_all(
        [
            ClientJoined(1),
            BlobArrived(1, Blob(snapshot.code, b"")),
            ManagerRegistered(1, 0, 2, "m"),
            ManagerHeard(1, 2),
        ],
        0.0,
    )

    def through(i: int) -> None:
        machine.handle_all([TasksSubmitted(1, [Task(i, 1, snapshot.code, b"", None, body)])], 0.0)
        machine.handle_all([AttemptsEnded(1, [Result(1, i, 1, [Payload(b"")], None, "", 1.0, 1.0)])], 0.0)

    numbers = iter(range(1 << 40))
    yield "decide where it runs, and take in its end (the dispatch machine)", cost(lambda _: through(next(numbers)))
    rebuilder = Rebuilder()
    rebuilder.add(snapshot.code, snapshot.code_blob)
    yield (
        "make the function anew in the worker",
        cost(lambda _: rebuilder.function(snapshot.code, snapshot.captures_blob)),
    )
    yield "unpickle the arguments", cost(lambda _: unpack_call(body, ()))
    yield "pickle the value", cost(lambda _: pack(None))
    yield "a message of one result to bytes", cost(lambda _: codec.encode(Results([result])))
    yield "and back", cost(lambda _: codec.decode(back))
    yield "unpickle the value, when somebody asks for it", cost(lambda _: unpack(value))


def pool() -> Iterator[tuple[str, float]]:
    """The CPU time of each process of a pool."""
    peer = ShoalPool()
    peer.start(2)
    try:
        noop = peer.prepare(tasks.noop)
        peer.collect([noop() for _ in range(5000)])
        for title, run, number in (
            ("many at once", lambda: peer.collect([noop() for _ in range(50_000)]), 50_000),
            ("one at a time", lambda: [peer.collect([noop()]) for _ in range(3000)], 3000),
        ):
            before = cpu_seconds(peer)
            began = time.perf_counter()
            run()  # type: ignore[no-untyped-call]
            took = 1e6 * (time.perf_counter() - began) / number
            after = cpu_seconds(peer)
            for role in ("client", "pool", "manager", "workers"):
                yield f"{title}: {role}, CPU time", 1e6 * (after[role] - before[role]) / number
            yield f"{title}: time that passes", took
    finally:
        peer.close()


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path.cwd()
        os.chdir(folder)
        try:
            sys.stdout.write("| step | µs |\n| --- | ---: |\n")
            for part in (steps, pool):
                for title, microseconds in part():
                    sys.stdout.write(f"| {title} | {microseconds:.2f} |\n")
        finally:
            os.chdir(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
