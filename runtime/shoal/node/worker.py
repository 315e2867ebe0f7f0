"""The process that executes tasks: ``python -P -m shoal.node.worker LINK PAGE MANAGER NAME``.

It reads packets of tasks from its manager, runs one after the other, and answers with results. On a small shared page it
notes which task it has begun, so that its manager knows that also when the process is gone.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import CoroutineType
from typing import Any, NoReturn

from shoal.dispatch.blobs import BlobStore
from shoal.errors import ShoalError, TaskUnreadable
from shoal.node import packets
from shoal.node.capture import TaskStream
from shoal.outcome import Failure, Payload, split_outputs
from shoal.place import enter_worker
from shoal.serialize import Rebuilder, pack, pack_failure, unpack, unpack_call
from shoal.wire.frames import Codec, Outside, outside
from shoal.wire.messages import Blob, Message, NeedBlob, Output, Ready, Result, Results, Shutdown, Task, Tasks

__all__ = ["ManagerEnded", "Worker", "be_killed_first", "die_with_parent", "main"]

HOLD = 0.001
"""Results wait for others for at most this much work (seconds)."""

SHORT = 0.0002
"""Results may be held while a task runs that is expected to take less than this (seconds)."""

BULK = 32 * 1024
"""Results of more bytes than this are not held."""

BLOBS = 64 << 20
"""Bytes of blobs kept."""


class ManagerEnded(Exception):
    """The manager has closed the link."""


class Worker:
    """One worker.

    Args:
        link: the SEQPACKET socket to the manager.
        page: the shared page: a mark (64-bit number) and a time (double).
        name: ``host/pid``, for results.
    """

    def __init__(self, link: socket.socket, page: mmap.mmap, name: str) -> None:
        self._link = link
        self._marks = memoryview(page).cast("Q")
        self._times = memoryview(page).cast("d")
        self._name = name
        self._home = os.getcwd()
        self._codec = Codec()
        self._rebuilder = Rebuilder()
        self._blobs = BlobStore(BLOBS)
        self._backlog: deque[tuple[int, Tasks]] = deque()
        self._seen: dict[bytes, float] = {}
        self._held: list[Result] = []
        self._held_since = 0.0
        self._held_bytes = 0
        self._task: Task | None = None
        self._pid = os.getpid()
        # A descriptor of its own, which no task closes with its stdout; whole lines are there also if the worker dies.
        self._log = open(os.dup(1), "w", 1, "utf-8", "backslashreplace")  # noqa: SIM115  open as long as the worker is
        self._stdout = TaskStream("stdout", self._log, self._print)
        self._stderr = TaskStream("stderr", self._log, self._print)
        sys.stdout, sys.stderr = self._stdout, self._stderr
        os.register_at_fork(before=self._before_fork, after_in_child=self._in_child)

    def serve(self) -> None:
        """Work until told to end, or until the manager is gone."""
        self._send(Ready(os.getpid()))
        while True:
            if self._backlog:
                number, tasks = self._backlog.popleft()
            elif (packet := self._receive(bool(self._held))) is not None:
                number, message = packet
                if isinstance(message, Shutdown):
                    return
                if not isinstance(message, Tasks):
                    continue
                tasks = message
            else:
                self._flush()
                continue
            for index, task in enumerate(tasks.tasks):
                self._work(task, (number << 16) + index + 1)

    # ------------------------------------------------------------------ one task

    def _work(self, task: Task, mark: int) -> None:
        expected = self._seen.get(task.code)
        if self._held and (
            expected is None
            or expected > SHORT
            or time.monotonic() - self._held_since > HOLD
            or self._held_bytes > BULK
        ):
            self._flush()
        captures = self._bring(task)
        self._task = task
        started = time.time()
        self._times[1] = started
        self._marks[0] = mark
        self._stdout.begin(task.stream)
        self._stderr.begin(task.stream)
        values, failure = self._execute(task, captures)
        if os.getpid() != self._pid:
            self._end_child(None)
        self._stdout.end()
        self._stderr.end()
        ended = time.time()
        self._task = None
        if failure is None:
            took = ended - started
            self._seen[task.code] = took if expected is None else max(took, 0.8 * expected)
            self._held_bytes += sum(value.nbytes() for value in values)
        if not self._held:
            self._held_since = time.monotonic()
        self._held.append(Result(task.client, task.tid, task.attempt, values, failure, self._name, started, ended))
        self._tidy()

    def _execute(self, task: Task, captures: bytes) -> tuple[list[Payload], Failure | None]:
        """Run the user's code. The one place where whatever it raises is caught, and becomes a failure."""
        built = False
        try:
            function = self._rebuilder.function(task.code, captures)
            inputs = [unpack(_inside(item.payload)) for item in task.inputs if item.payload is not None]
            args, kwargs = unpack_call(_inside(task.body), inputs)
            built = True
            value = function(*args, **kwargs)
            if type(value) is CoroutineType:
                import asyncio  # few tasks need it, and it is slow to load

                value = asyncio.run(value)
            return _packed(task, value), None
        except BaseException as error:  # noqa: BLE001  user code may raise anything, SystemExit and KeyboardInterrupt included
            if os.getpid() != self._pid:
                self._end_child(error)
            if not built and not isinstance(error, ShoalError):
                error = _unreadable(task, error)
            return [], pack_failure(error)

    def _end_child(self, error: BaseException | None) -> NoReturn:
        """End this process, which a task has forked and let go: the link, and what arrives there, is its parent's."""
        code = 1
        try:
            if error is None:
                code = 0
            elif isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
                code = error.code or 0
            else:
                sys.stderr.write("".join(traceback.format_exception(error)))
            self._stdout.end()
            self._stderr.end()
        finally:
            os._exit(code & 0xFF)

    def _before_fork(self) -> None:
        """Leave nothing in the log's buffer, which the child would write once more."""
        if os.getpid() == self._pid:
            with suppress(OSError, RuntimeError):  # another thread may be writing right now
                self._log.flush()

    def _in_child(self) -> None:
        self._stdout.forked()
        self._stderr.forked()

    def _tidy(self) -> None:
        """Undo what the next task must not inherit: another stdout or stderr, or another directory."""
        if sys.stdout is not self._stdout:
            sys.stdout = self._stdout
        if sys.stderr is not self._stderr:
            sys.stderr = self._stderr
        for fd in (1, 2):
            try:
                os.get_inheritable(fd)  # the cheapest question there is
            except OSError:
                os.dup2(self._log.fileno(), fd)
        self._go_home()

    def _go_home(self) -> None:
        """Undo a change of directory, which the next task must not inherit."""
        try:
            if os.getcwd() == self._home:
                return
        except OSError:
            pass  # the directory that the task went to is gone
        os.chdir(self._home)

    def _print(self, stream: str, text: str) -> None:
        task = self._task
        if task is not None:
            self._send(Output(task.client, task.tid, task.attempt, stream, text))

    # ------------------------------------------------------------------ blobs

    def _bring(self, task: Task) -> bytes:
        """Have the task's code loaded; returns its captures."""
        if not self._rebuilder.has(task.code):
            self._rebuilder.add(task.code, self._blob(task.code))
        if task.captured is not None:
            return task.captured
        return self._blob(task.captures) if task.captures else b""

    def _blob(self, digest: bytes) -> bytes:
        """A blob; asked for again if it is not (any more) here. Tasks that come meanwhile wait their turn."""
        asked = False
        while (data := self._blobs.get(digest)) is None:
            if not asked:
                asked = True
                self._flush()
                self._send(NeedBlob([digest]))
            packet = self._receive(False)
            if packet is not None and isinstance(packet[1], Tasks):
                self._backlog.append((packet[0], packet[1]))
        return bytes(data)

    # ------------------------------------------------------------------ the link

    def _receive(self, at_once: bool) -> tuple[int, Message] | None:
        """The next packet; None if there is none and ``at_once`` was asked for. Blobs are put away on the way."""
        try:
            packet = packets.receive(self._link, socket.MSG_DONTWAIT if at_once else 0)
        except BlockingIOError:
            return None
        if packet is None:
            raise ManagerEnded
        number, frames = packet
        message = self._codec.decode(frames)
        if isinstance(message, Blob):
            data = message.data.data if isinstance(message.data, Outside) else message.data
            self._blobs.add(message.digest, data)
        return number, message

    def _flush(self) -> None:
        if self._held:
            results, self._held = self._held, []
            self._held_bytes = 0
            self._send(Results(results))

    def _send(self, message: Message) -> None:
        packets.send(self._link, 0, self._codec.encode(message))


def _inside(payload: Payload) -> Payload:
    """The payload with plain buffers, where the codec has left its own marks."""
    head = payload.head
    if not isinstance(head, Outside) and not payload.buffers:
        return payload
    buffers = tuple([b.data if isinstance(b, Outside) else b for b in payload.buffers])
    return Payload(head.data if isinstance(head, Outside) else head, buffers)


def _packed(task: Task, value: Any) -> list[Payload]:
    """The values of a task's outputs.

    Raises:
        NotPicklable: one of them cannot travel.
        TaskError: the function did not return the mapping that it has to.
    """
    label = task.label or "the task"
    if not task.outputs:
        return [outside(pack(value, what=f"the result of {label}"))]
    items = split_outputs(value, task.outputs, label)
    return [
        outside(pack(item, what=f"output '{name}' of {label}")) for name, item in zip(task.outputs, items, strict=True)
    ]


def _unreadable(task: Task, error: BaseException) -> TaskUnreadable:
    described = f"task {task.tid} ({task.label})" if task.label else f"task {task.tid}"
    found = TaskUnreadable(described, f"{type(error).__name__}: {error}")
    found.__cause__ = error
    return found.with_traceback(error.__traceback__)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, also in the middle of a long C call."""
    import ctypes  # slow to load, so only after Ready

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def be_killed_first() -> None:
    """Where memory runs out, the kernel shall end a worker, whose loss is named, and not a pool or a session."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def main() -> None:
    """Run a worker on the descriptors named in argv."""
    link_fd, page_fd, manager, name = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(link_fd, False)
    link = socket.socket(fileno=link_fd)
    page = mmap.mmap(page_fd, mmap.PAGESIZE)
    os.close(page_fd)
    sys.path.insert(0, str(Path.cwd()))
    sys.argv = [""]
    enter_worker()
    worker = Worker(link, page, f"{name}/{os.getpid()}")
    die_with_parent(manager)
    be_killed_first()
    gc.freeze()
    try:
        worker.serve()
    except (ManagerEnded, ConnectionError):
        # Nobody is left to work for, and the block's processes are about to be ended: no ceremony.
        os._exit(0)


if __name__ == "__main__":
    main()
