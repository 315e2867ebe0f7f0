"""What a task prints: sent on while it runs, or kept in the worker's log."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

__all__ = ["LIMIT", "TaskStream"]

LIMIT = 1 << 20
"""Characters of one stream of one task that are sent on; the rest goes to the worker's log."""

_CHUNK = 8192


class _Bytes(io.RawIOBase):
    """What ``sys.stdout.buffer`` is in a worker: bytes written there take the way of text."""

    def __init__(self, write: Callable[[str], int]) -> None:
        self._write = write

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes of UTF-8."""
        view = bytes(data)
        self._write(view.decode(errors="replace"))
        return len(view)

    def close(self) -> None:
        """It stays open: it is there for the next task, too. Whoever wraps it closes it without meaning to."""


class TaskStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr`` of a worker.

    Whole lines are sent as they are written, the rest on ``flush`` and when the task ends: whoever gathers them into larger
    messages is down the line. Between tasks, and for tasks that do not ask for it, text goes to the worker's log.
    What UTF-8 has no bytes for (lone surrogates, as in names of files) is written as an escape.

    Args:
        name: ``stdout`` or ``stderr``.
        log: the stream to the worker's log, which no task can close.
        send: called with the name and the text.
    """

    def __init__(self, name: str, log: TextIO, send: Callable[[str, str], None]) -> None:
        self._name = name
        self._log = log
        self._send = send
        self._live = False
        self._logged = False
        self._held: list[str] = []
        self._size = 0
        self._left = LIMIT
        self._raw = _Bytes(self.write)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Text travels as UTF-8."""
        return "utf-8"

    @property
    def buffer(self) -> io.RawIOBase:
        """For those who write bytes."""
        return self._raw

    def fileno(self) -> int:
        """Where subprocesses write: the worker's log, unless a task has led it elsewhere for a while."""
        return 1 if self._name == "stdout" else 2

    def writable(self) -> bool:
        """Always."""
        return True

    def begin(self, live: bool) -> None:
        """A task starts; ``live`` if what it prints is to be sent."""
        self._live = live
        self._left = LIMIT

    def end(self) -> None:
        """The task has ended. Never raises: if the link or the log is gone, the next packet will show that."""
        with suppress(OSError):
            if self._live:
                self.flush()
        self._live = False
        if self._logged:
            with suppress(OSError):
                self._log.flush()
            self._logged = False

    def forked(self) -> None:
        """This is a child of the worker now: what its parent holds is its parent's to send."""
        self._held.clear()
        self._size = 0

    def close(self) -> None:
        """Send what is held. It stays open: it is there for the next task, too."""
        self.flush()

    def write(self, text: str) -> int:
        """Write text.

        Raises:
            TypeError: it is no text.
        """
        if type(text) is not str:
            if not isinstance(text, str):
                raise TypeError(f"write() argument must be str, not {type(text).__name__}")
            text = str.__str__(text)
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode()
        if not self._live:
            self._to_log(text)
            return len(text)
        self._held.append(text)
        self._size += len(text)
        if "\n" in text or self._size > _CHUNK:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what is held."""
        if not self._live:
            self._log.flush()
        elif self._held:
            text = "".join(self._held)
            self._held.clear()
            self._size = 0
            self._pass_on(text)

    def _pass_on(self, text: str) -> None:
        if self._left <= 0:
            self._to_log(text)
            return
        if len(text) > self._left:
            self._to_log(text[self._left :])
            text = text[: self._left] + f"\n[{self._name} of this task is cut here, after {LIMIT} characters]\n"
            self._left = 0
        else:
            self._left -= len(text)
        self._send(self._name, text)

    def _to_log(self, text: str) -> None:
        self._logged = True
        self._log.write(text)
