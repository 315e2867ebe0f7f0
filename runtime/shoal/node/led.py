"""Files that stdout and stderr of a task are led to, and files that it promised to make."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from shoal.errors import AppTimeout, BadStdStreamFile, MissingOutputs
from shoal.node.special import Plan, Stream

__all__ = ["TAIL", "Opened", "check_outputs", "opened", "redirected"]

TAIL = 4096
"""Bytes of what a task has written to stderr that an error may show."""


class Opened(NamedTuple):
    """A file that a stream goes to.

    Args:
        path: where it is.
        file: open for writing, without a buffer.
        start: its size when the task began.
    """

    path: str
    file: io.FileIO
    start: int

    def tail(self) -> str:
        """The end of what the task has written; empty where it cannot be read."""
        try:
            with Path(self.path).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self.start, size - TAIL))
                return file.read(TAIL).decode(errors="replace")
        except OSError:
            return ""


@contextmanager
def opened(plan: Plan) -> Iterator[tuple[Opened | None, Opened | None]]:
    """Open the files for stdout and stderr; missing folders are made, and one path means one file.

    Raises:
        BadStdStreamFile: one cannot be opened.
    """
    with ExitStack() as stack:
        out = None if plan.stdout is None else _open("stdout", plan.stdout, stack)
        if plan.stderr is None:
            err = None
        elif out is not None and plan.stderr.path == out.path:
            err = out
        else:
            err = _open("stderr", plan.stderr, stack)
        yield out, err


def _open(name: str, stream: Stream, stack: ExitStack) -> Opened:
    try:
        Path(stream.path).parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(io.FileIO(stream.path, stream.mode))
        return Opened(stream.path, file, os.fstat(file.fileno()).st_size)
    except AppTimeout:  # an OSError, too: a pipe that nobody reads
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadStdStreamFile(name, stream.path, reason) from error


@contextmanager
def redirected(plan: Plan) -> Iterator[None]:
    """Lead the stdout and stderr of this process to files: that of Python, of C code and of subprocesses.

    Raises:
        BadStdStreamFile: a file cannot be opened; or this is not the main thread, and other threads print too.
    """
    stream = plan.stdout or plan.stderr
    if stream is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        name = "stderr" if plan.stdout is None else "stdout"
        why = "threads share the streams of their process; run the app on a pool (HighThroughputExecutor)"
        raise BadStdStreamFile(name, stream.path, why)
    with opened(plan) as (out, err), ExitStack() as stack:
        for name, fd, led in (("stdout", 1, out), ("stderr", 2, err)):
            if led is not None:
                stack.enter_context(_led(name, fd, led.file))
        yield


@contextmanager
def _led(name: str, fd: int, file: io.FileIO) -> Iterator[None]:
    before = getattr(sys, name)
    before.flush()
    _flush_c()
    kept = os.dup(fd)
    text = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(os.dup(file.fileno()), "w")), "utf-8", "backslashreplace", line_buffering=True
    )
    try:
        os.dup2(file.fileno(), fd)
        setattr(sys, name, text)
        yield
    finally:
        setattr(sys, name, before)
        _flush_c()
        os.dup2(kept, fd)
        os.close(kept)
        text.close()


def _flush_c() -> None:
    """Let what C code holds in its buffers go where it was meant to go."""
    import ctypes  # slow to load, and few tasks need it

    ctypes.CDLL(None).fflush(None)


def check_outputs(plan: Plan) -> None:
    """Look whether the promised files are there.

    Raises:
        MissingOutputs: some are not.
    """
    missing = tuple([path for path in plan.outputs if not Path(path).exists()])
    if missing:
        raise MissingOutputs(plan.name, missing)
