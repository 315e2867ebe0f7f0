"""A bare client of a pool: the wire and nothing else, so that tests see what the pool really does."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from shoal.blocks.providers.local import LocalProvider
from shoal.links import Poll, dial
from shoal.outcome import Payload
from shoal.pool.connection import Connection, remove_connection
from shoal.pool.start import make_spec, spawn_pool
from shoal.serialize import FunctionImage, pack_call, unpack, unpack_failure
from shoal.wire.frames import Codec, Outside, outside
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Blob,
    Hello,
    Message,
    PoolStatus,
    Result,
    Results,
    StatusRequest,
    Task,
    Tasks,
)


class BareClient:
    """Speaks to a pool over one socket; keeps everything that arrives."""

    def __init__(self, connection: Connection, hello: bool = True) -> None:
        self.connection = connection
        self.line = dial(connection.clients)
        self.poll = Poll()
        self.poll.add_link(self.line, lambda: None)
        self.codec = Codec()
        self.inbox: list[Message] = []
        self.results: dict[int, Result] = {}
        self.sent: set[bytes] = set()
        self.next_tid = 0
        if hello:
            self.send(
                Hello(PROTOCOL_VERSION, f"session-{id(self)}", "a test", f"3.{sys.version_info.minor}", os.getpid())
            )

    def send(self, message: Message) -> None:
        self.line.send(self.codec.encode(message))

    def submit(self, function: Callable[..., Any], *args: Any, count: int = 1, **options: Any) -> list[int]:
        """Send ``count`` times the same call; returns the tids."""
        image = FunctionImage(function).snapshot()
        if image.code not in self.sent:
            self.sent.add(image.code)
            self.send(Blob(image.code, image.code_blob))
        tids = list(range(self.next_tid, self.next_tid + count))
        self.next_tid += count
        tasks = []
        for tid in tids:
            body, _ = pack_call(args, {}, function.__name__)
            tasks.append(
                Task(
                    tid,
                    1,
                    image.code,
                    b"",
                    image.captures_blob or None,
                    outside(body),
                    label=function.__name__,
                    **options,
                )
            )
        self.send(Tasks(tasks))
        return tids

    def read(self, seconds: float) -> bool:
        """Read what arrives within some seconds; whether there was something."""
        self.poll.once(seconds)
        some = False
        while (frames := self.line.receive()) is not None:
            some = True
            message = self.codec.decode(frames)
            self.inbox.append(message)
            if isinstance(message, Results):
                for result in message.results:
                    assert result.tid not in self.results, "an attempt has one outcome"
                    self.results[result.tid] = result
        return some

    def wait(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Read until the condition is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"nothing of the sort within {seconds} s; the last messages: {self.inbox[-3:]}"
            self.read(min(left, 0.1))
        return found

    def result(self, tid: int, seconds: float = 10.0) -> Result:
        return self.wait(lambda: self.results.get(tid), seconds)

    def value(self, tid: int, seconds: float = 10.0) -> Any:
        """The value of a task, or its exception raised."""
        result = self.result(tid, seconds)
        if result.failure is not None:
            raise unpack_failure(result.failure)
        return value_of(result)

    def part(self, tid: int, output: int) -> Any:
        """One of the values of a task that has ended."""
        return value_of(self.results[tid], output)

    def status(self) -> PoolStatus:
        ticket = self.next_tid + 1_000_000 + len(self.inbox)
        self.send(StatusRequest(ticket))
        return self.wait(
            lambda: next((m for m in self.inbox if isinstance(m, PoolStatus) and m.ticket == ticket), None)
        )

    def of(self, kind: type) -> list[Any]:
        return [m for m in self.inbox if isinstance(m, kind)]

    def close(self) -> None:
        self.line.close()
        self.poll.close()


def value_of(result: Result, output: int = 0) -> Any:
    payload = result.values[output]
    head = payload.head.data if isinstance(payload.head, Outside) else payload.head
    buffers = [b.data if isinstance(b, Outside) else b for b in payload.buffers]
    return unpack(Payload(head, buffers))


class Pools:
    """Starts embedded pools and clients for one test, and sees to their end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Any] = []
        self.clients: list[BareClient] = []
        self.seen: dict[int, psutil.Process] = {}

    def start(self, workers: int = 2, provider: LocalProvider | None = None, **changes: Any) -> BareClient:
        """A pool of its own name, and a client of it."""
        import msgspec

        name = f"t{os.getpid()}-{len(self.started)}-{self.folder.name[:20]}".replace("[", "-").replace("]", "")
        spec = make_spec(name, provider or LocalProvider(), max_workers_per_node=workers, folder=self.folder / name)
        process, connection = spawn_pool(msgspec.structs.replace(spec, **changes))
        self.started.append((process, connection))
        return self.client(connection)

    def client(self, connection: Connection, hello: bool = True) -> BareClient:
        client = BareClient(connection, hello)
        self.clients.append(client)
        return client

    def family(self, pid: int) -> list[psutil.Process]:
        """A process and all its descendants."""
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]

    def roles(self, client: BareClient) -> dict[str, list[psutil.Process]]:
        """The processes of a client's pool by what they are."""
        found: dict[str, list[psutil.Process]] = {"shoal.pool": [], "shoal.node.manager": [], "shoal.node.worker": []}
        for process in self.family(client.connection.pid):
            with suppress(psutil.NoSuchProcess):  # it may end between two looks; a zombie has
                command = process.cmdline()
                for role in found:
                    if role in command:
                        found[role].append(process)
        return found

    @staticmethod
    def gone(processes: list[psutil.Process], seconds: float = 5.0) -> bool:
        """Whether they all end in time (a zombie has ended)."""
        return eventually(lambda: not any(is_running(p) for p in processes), seconds)

    @staticmethod
    def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
        """Whether the condition becomes true in time."""
        return eventually(condition, seconds)

    def forget(self, client: BareClient) -> None:
        """Its pool was killed: collect it, and what it could not clean up."""
        for process, connection in list(self.started):
            if connection is client.connection:
                process.wait(10)
                remove_connection(connection)
                self.started.remove((process, connection))

    def stop(self, client: BareClient) -> None:
        """End its pool in good order."""
        for process, connection in self.started:
            if connection is client.connection:
                process.terminate()
                process.wait(10)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process, connection in self.started:
            family = self.family(process.pid) if process.poll() is None else []
            process.terminate()
            process.wait(10)
            assert self.gone(family), "a pool that ends leaves no process behind"
            assert not Path(connection.sockets).exists(), "nor its sockets"


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], Any], seconds: float = 15.0) -> bool:
    """Whether the condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        threading.Event().wait(0.02)
    return bool(condition())


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[Pools]:
    """Pools of this test's own."""
    found = Pools(tmp_path)
    yield found
    found.close()


@pytest.fixture
def client(pools: Pools) -> BareClient:
    """A client of a new pool with two workers."""
    return pools.start()
