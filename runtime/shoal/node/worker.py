"""The process that executes tasks: ``python -P -m shoal.node.worker LINK PAGE ARENA MANAGER ITS_ARENA NAME``.

It reads packets of tasks from its manager, runs one after the other, and answers with results. On a small shared page it
notes which task it has begun, so that its manager knows that also when the process is gone. The manager can interrupt it:
then it ends, since nobody knows in what state a task was cut off.
"""

from __future__ import annotations

import faulthandler
import gc
import mmap
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CoroutineType
from typing import Any, NoReturn

from shoal.dispatch.blobs import BlobStore
from shoal.errors import ShoalError
from shoal.node import packets
from shoal.node.missing import located, unreadable
from shoal.node.page import BEGUN, DIARY, DONE, LENGTH, MARK, OUTFIT, OUTFITTED, SIGNAL, SIZE, TARGET, TRACE
from shoal.node.process import be_killed_first, bind_to_cores, die_by, die_with_parent
from shoal.node.stdio import Streams, unbuffer_c
from shoal.node.tidy import Tidy
from shoal.node.values import Values
from shoal.outcome import Failure, Payload, split_outputs
from shoal.place import enter_task, enter_worker
from shoal.serialize import Rebuilder, pack_failure
from shoal.stacks import write_on_signal
from shoal.wire.diary import ENTRY, PLACES
from shoal.wire.frames import Codec, Outside
from shoal.wire.messages import Blob, Message, NeedBlob, Ready, Result, Results, Shutdown, Task, Tasks

__all__ = ["ManagerEnded", "TaskInterrupted", "Worker", "main"]

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


class TaskInterrupted(BaseException):
    """The task is to end now: it was cancelled, or ran into its walltime. Its ``finally`` blocks still run."""


_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_Outcome = tuple[list[Payload], list[tuple[int, Failure]], Failure | None]


class Worker:
    """One worker.

    Args:
        link: the SEQPACKET socket to the manager.
        page: the shared page, see :mod:`shoal.node.page`.
        name: ``host/pid``, for results.
        values: reads arguments and packs results.
    """

    def __init__(self, link: socket.socket, page: mmap.mmap, name: str, values: Values) -> None:
        self._link = link
        self._page = page
        self._marks = memoryview(page).cast("Q")
        self._begun = 0
        self._times = memoryview(page).cast("d")
        self._name = name
        self._home = os.getcwd()
        self._codec = Codec()
        self._values = values
        self._rebuilder = Rebuilder()
        self._blobs = BlobStore(BLOBS)
        self._backlog: deque[tuple[int, Tasks]] = deque()
        self._seen: dict[bytes, float] = {}
        self._held: list[Result] = []
        self._held_since = 0.0
        self._held_bytes = 0
        self._pid = os.getpid()
        self._streams = Streams(self._marks)
        self._built = False
        """Whether function and arguments of the task at hand could be rebuilt."""
        self._exposed = False
        """A task's own code runs, which may be interrupted."""
        self._struck = False
        """It was."""
        self._used = False
        """A task has run since all was made ready for the next one."""
        self._terminated = False
        """By SIGTERM."""
        signal.signal(SIGNAL, self._signalled)
        signal.signal(signal.SIGTERM, self._end_by_request)
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
        self._tidy = Tidy()

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
                self._streams.mend_input()
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
            self._streams.mend_input()
            self._flush()
        if self._marks[OUTFITTED] == mark:  # before anything of the task is rebuilt
            self._tidy.equip(self._page[OUTFIT : OUTFIT + self._marks[LENGTH]])
        captures = self._bring(task)
        enter_task(task.tid)
        started = time.time()
        self._times[BEGUN] = started
        self._begun += 1
        ENTRY.pack_into(self._page, DIARY + self._begun % PLACES * ENTRY.size, task.client, task.tid, task.attempt)
        self._marks[MARK] = self._values.mark = mark
        values, flaws, failure = self._run(task, captures, mark)
        if os.getpid() != self._pid:
            self._end_child(None)
        self._streams.end()
        if self._struck:
            self._leave()
        self._marks[DONE] = mark
        ended = time.time()
        if failure is None:
            took = ended - started
            self._seen[task.code] = took if expected is None else max(took, 0.8 * expected)
            for value in values:
                self._held_bytes += value.nbytes()
        if not self._held:
            self._held_since = time.monotonic()
        self._held.append(
            Result(task.client, task.tid, task.attempt, values, failure, self._name, started, ended, flaws)
        )
        self._go_home()
        if self._tidy.altered:
            self._tidy.up()

    def _run(self, task: Task, captures: bytes, mark: int) -> _Outcome:
        """Run a task's own code, all of which an interrupt may cut off."""
        try:
            self._exposed = True
            if self._marks[TARGET] == mark:  # it came before this could be interrupted
                self._signalled()
            if task.each:
                outcome = self._each(task, captures)
            else:
                values, error = self._execute(self._whole, task, captures)
                outcome = (values, [], None) if error is None else ([], [], self._failure(task, error))
            self._exposed = False
        except TaskInterrupted:
            return [], [], None
        return outcome

    def _execute(self, step: Callable[[Any, Any], Any], first: Any, second: Any) -> tuple[Any, BaseException | None]:
        """Run a step of the user's code: its value, or its error. The one place where whatever it raises is caught."""
        try:
            return step(first, second), None
        except BaseException as error:  # noqa: BLE001  user code may raise anything, SystemExit and KeyboardInterrupt included
            if os.getpid() != self._pid:
                self._end_child(error)
            return None, error

    def _build(self, task: Task, captures: bytes) -> _Call:
        self._built = False
        function = self._rebuilder.function(task.code, captures)
        args, kwargs = self._values.arguments(task)
        self._built = True
        return function, args, kwargs

    def _whole(self, task: Task, captures: bytes) -> list[Payload]:
        function, args, kwargs = self._build(task, captures)
        value = function(*args, **kwargs)
        return self._packed(task, _awaited(value) if type(value) is CoroutineType else value)

    def _packed(self, task: Task, value: Any) -> list[Payload]:
        """The values of a task's outputs.

        Raises:
            NotPicklable: one of them cannot travel.
            TaskError: the function did not return the mapping that it has to.
        """
        label = task.label or "the task"
        if not task.outputs:
            return [self._values.pack(value, f"the result of {label}", task.lend)]
        items = split_outputs(value, task.outputs, label)
        return [
            self._values.pack(item, f"output '{name}' of {label}", task.lend)
            for name, item in zip(task.outputs, items, strict=True)
        ]

    def _each(self, task: Task, captures: bytes) -> _Outcome:
        """Call the function for each item; a call that fails leaves the others alone."""
        call, error = self._execute(self._build, task, captures)
        if error is not None:
            return [], [], self._failure(task, error)
        function, (items, *_), kwargs = call
        label = task.label or "the task"
        values: list[Payload] = []
        flaws: list[tuple[int, Failure]] = []

        def one(item: Any, what: str) -> Payload:
            value = function(*item, **kwargs)
            return self._values.pack(_awaited(value) if type(value) is CoroutineType else value, what, task.lend)

        for index, item in enumerate(items):
            value, error = self._execute(one, item, f"result {index} of {label}")
            if os.getpid() != self._pid:
                self._end_child(None)
            if self._struck:
                break
            if error is not None:
                flaws.append((index, pack_failure(error)))
            values.append(Payload(b"") if error is not None else value)
        return values, flaws, None

    def _failure(self, task: Task, error: BaseException) -> Failure | None:
        if self._struck:
            return None  # the manager says why
        if not self._built and not isinstance(error, ShoalError):
            error = unreadable(task, error)
        return pack_failure(located(error))

    def _signalled(self, *_: object) -> None:
        """The manager has sent a signal: interrupt the task if it is meant, and else send what is held back behind it."""
        if not self._exposed or os.getpid() != self._pid:
            return
        if self._marks[TARGET] == self._marks[MARK]:
            self._exposed = False
            self._struck = True
            if self._handles_end():
                os.kill(self._pid, signal.SIGTERM)  # the task's own handler does what it likes, for as long as it may
                return
            raise TaskInterrupted
        with suppress(OSError, RecursionError, MemoryError):  # at another time, then
            self._flush()

    def _handles_end(self) -> bool:
        """Whether the task has set a handler for SIGTERM."""
        handler = signal.getsignal(signal.SIGTERM)
        return handler is None or (callable(handler) and handler != self._end_by_request)

    def _end_by_request(self, *_: object) -> None:
        """SIGTERM, from a batch system or by hand: let the task clean up, and end."""
        if not self._exposed or os.getpid() != self._pid:
            with suppress(OSError, RecursionError, MemoryError):
                if os.getpid() == self._pid:
                    self._flush()
            die_by(signal.SIGTERM)
        self._exposed = False
        self._struck = self._terminated = True
        raise TaskInterrupted

    def _leave(self) -> NoReturn:
        """End this process after an interrupt, since nobody knows in what state the task was cut off."""
        try:
            self._flush()
        finally:
            if self._terminated:
                die_by(signal.SIGTERM)
            os._exit(0)

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
            self._streams.flush()
        finally:
            os._exit(code & 0xFF)

    def _go_home(self) -> None:
        """Undo a change of directory, which the next task must not inherit."""
        try:
            if os.getcwd() == self._home:
                return
        except OSError:
            pass  # the directory that the task went to is gone
        os.chdir(self._home)

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
            self._send(Results(self._held))
            # Only now: if it is interrupted on the way, they are sent again, and taken once.
            self._held = []
            self._held_bytes = 0
            self._streams.unblock()  # here, since a look at each task's end would cost too much

    def _send(self, message: Message) -> None:
        packets.send(self._link, 0, self._codec.encode(message))


def _awaited(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    import asyncio  # few tasks need it, and it is slow to load

    return asyncio.run(coroutine)


def main() -> None:
    """Run a worker on the descriptors named in argv."""
    link_fd, page_fd, arena_fd, manager, arena_there = map(int, sys.argv[1:6])
    name = sys.argv[6]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(link_fd, False)
    link = socket.socket(fileno=link_fd)
    page = mmap.mmap(page_fd, SIZE)
    os.set_inheritable(page_fd, False)
    os.lseek(page_fd, TRACE, os.SEEK_SET)
    faulthandler.enable(page_fd, all_threads=False)
    write_on_signal(page_fd)
    sys.path.insert(0, str(Path.cwd()))
    sys.argv = [""]
    enter_worker()
    bind_to_cores()
    os.set_inheritable(arena_fd, False)
    worker = Worker(link, page, f"{name}/{os.getpid()}", Values((manager, arena_there, arena_fd)))
    die_with_parent(manager)
    be_killed_first()
    unbuffer_c()
    gc.freeze()
    try:
        worker.serve()
    except (ManagerEnded, ConnectionError):
        # Nobody is left to work for, and the block's processes are about to be ended: no ceremony.
        os._exit(0)


if __name__ == "__main__":
    main()
