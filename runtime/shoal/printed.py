"""The text that a task has printed, for its future."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MOST", "PrintedText"]

MOST = 4 << 20
"""Characters of one stream that are read from a file, from its end: a log may be larger than the memory."""


class PrintedText:
    """What a task printed, by stream; pieces come in order.

    Args:
        stdout, stderr: the files that a stream goes to; empty where its text is captured.
    """

    __slots__ = ("_attempt", "_paths", "_pieces")

    def __init__(self, stdout: str = "", stderr: str = "") -> None:
        self._paths = {"stdout": stdout, "stderr": stderr}
        self._pieces: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._attempt = 0

    def add(self, attempt: int, stream: str, text: str) -> None:
        """Add what an attempt printed; what earlier attempts printed goes."""
        if attempt > self._attempt:
            self._attempt = attempt
            self._pieces = {"stdout": [], "stderr": []}
        if attempt == self._attempt:
            self._pieces[stream].append(text)

    def read(self, stream: str) -> str:
        """All text of a stream so far; empty where its file is not there (yet)."""
        path = self._paths[stream]
        if not path:
            return "".join(self._pieces[stream])  # others are added meanwhile, on another thread
        try:
            if not Path(path).is_file():  # a device has no end, and a pipe is somebody else's
                return ""
            with Path(path).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - MOST))
                return file.read(MOST).decode(errors="replace")
        except OSError:
            return ""
