"""What workers print: read from their pipes as it comes, sent to the pool with the attempt that it belongs to."""

from __future__ import annotations

import codecs
import fcntl
import os
import sys
import termios
from collections.abc import Callable

from shoal.node.crew import Key, WorkerHandle
from shoal.node.page import CHUNK
from shoal.wire.messages import Output

__all__ = ["LIMIT", "LOG_LIMIT", "LONG", "Capture", "Gathered"]

LIMIT = 1 << 20
"""Characters of one stream of one attempt that are sent on; the rest is read and dropped."""

LOG_LIMIT = 16 << 20
"""Bytes that one worker process may add to its log."""

LONG = 0.05
"""Seconds for which output is gathered."""

STREAMS = ("stdout", "stderr")

_decoder = codecs.getincrementaldecoder("utf-8")


class Capture:
    """Both streams of one worker.

    A worker does not begin its next attempt before it has seen its pipes empty. So what is read belongs to the attempt that
    ran just before the reading; if none did, it goes to the worker's log.

    Args:
        worker: whose.
        emit: called with an attempt, ``stdout`` or ``stderr``, and text.
    """

    def __init__(self, worker: WorkerHandle, emit: Callable[[Key, str, str], None]) -> None:
        self._worker = worker
        self._emit = emit
        self._decoders = (_decoder("replace"), _decoder("replace"))
        self._left = [LIMIT, LIMIT]
        """Characters that may still be sent; below 0 if the stream has been cut."""
        self._log_left = LOG_LIMIT
        self.owner: Key | None = None
        """The attempt that printed last."""

    def read(self, stream: int) -> bool:
        """Read what is there of stdout (0) or stderr (1), some of it if it is much; False if nothing will ever come."""
        worker = self._worker
        owner = worker.running
        try:
            data = os.read(worker.pipes[stream], CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        self._take(stream, owner or worker.running, data)
        worker.note_read(stream)
        return True

    def settle(self) -> None:
        """If the attempt that printed last has ended, send what there is of its last character."""
        if self.owner is not None and self._worker.running != self.owner:
            self._change(None)

    def finish(self) -> None:
        """The worker has ended: read what it has left in its pipes."""
        for stream, pipe in enumerate(self._worker.pipes):
            # Not what others who still have the pipe add meanwhile: they may never come to an end.
            size = bytearray(4)
            fcntl.ioctl(pipe, termios.FIONREAD, size)
            for _ in range(0, int.from_bytes(size, sys.byteorder), CHUNK):
                self.read(stream)
        self._change(None)

    def _take(self, stream: int, owner: Key | None, data: bytes) -> None:
        if owner != self.owner:
            self._change(owner)
        if owner is None:
            self._to_log(data)
        elif self._left[stream] >= 0:
            self._send(owner, stream, self._decoders[stream].decode(data))

    def _send(self, owner: Key, stream: int, text: str) -> None:
        left = self._left[stream] - len(text)
        if left < 0:
            name = STREAMS[stream]
            text = f"{text[:left]}\n[{name} of this task is cut here, after {LIMIT} characters]\n"
        self._left[stream] = left
        if text:
            self._emit(owner, STREAMS[stream], text)

    def _change(self, owner: Key | None) -> None:
        for stream, decoder in enumerate(self._decoders):
            rest = decoder.decode(b"", final=True)
            if rest and self.owner is not None and self._left[stream] >= 0:
                self._send(self.owner, stream, rest)
            decoder.reset()
        self._left = [LIMIT, LIMIT]
        self.owner = owner

    def _to_log(self, data: bytes) -> None:
        if self._log_left <= 0:
            return
        self._log_left -= len(data)
        self._worker.log(data)
        if self._log_left <= 0:
            self._worker.log(b"\n[the rest of what is printed outside of tasks is left out]\n")


class Gathered:
    """Text on its way to the pool: what comes within a moment is sent together."""

    def __init__(self) -> None:
        self._texts: dict[tuple[Key, str], list[str]] = {}
        self._due = 0.0

    def add(self, key: Key, stream: str, text: str) -> None:
        """Text that an attempt printed."""
        self._texts.setdefault((key, stream), []).append(text)

    def wait(self, now: float) -> float:
        """Seconds until something is due; infinity if there is nothing."""
        return max(0.0, self._due - now) if self._texts else float("inf")

    def take(self, now: float) -> list[Output]:
        """All that there is, to be sent now."""
        texts, self._texts = self._texts, {}
        if texts:
            self._due = now + LONG
        return [Output(*key, stream, "".join(parts)) for (key, stream), parts in texts.items()]
