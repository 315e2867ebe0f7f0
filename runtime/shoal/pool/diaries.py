"""The diaries of a manager's workers: how a pool learns what had begun on a node whose manager was killed."""

from __future__ import annotations

import os
import time

from shoal.links import process_started
from shoal.wire.diary import DIARY_SIZE, read_diary

__all__ = ["Diaries"]

_PATIENCE = 0.5
"""Seconds that workers may take to be gone after their manager."""

_SPARE = 8


class Diaries:
    """Those of the workers of one manager of this host.

    Args:
        slots: how many workers it has.
        place: where in a worker's page its diary begins.
    """

    def __init__(self, slots: int, place: int) -> None:
        self._most = 3 * slots + _SPARE
        self._files: dict[int, int] = {}
        self._complete = True
        self._place = place

    def add(self, manager: int, worker: int, number: int) -> None:
        """A worker is up, and has begun nothing so far.

        Args:
            manager: its process.
            worker: that of the worker.
            number: of the file descriptor by which the manager has the worker's page.
        """
        try:
            found = os.open(f"/proc/{manager}/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it is gone, or there are too many files
            self._complete = False
            return
        self._forget(worker)
        self._files[worker] = found
        if len(self._files) > self._most:  # the results of those that ended first have come long since
            ended = [pid for pid in self._files if not process_started(pid)]
            for pid in ended[: len(self._files) - self._most]:
                self._forget(pid)

    def begun(self, manager: int, workers: int) -> frozenset[tuple[int, int, int]] | None:
        """The attempts that have begun there, now that all of it has ended; None where that is not known. It is asked once.

        Args:
            manager: its process; while that lives, more may begin.
            workers: how many were up; of each there must be a diary.
        """
        complete = self._complete and len(self._files) >= workers
        try:
            return self._read() if complete and not process_started(manager) and self._ended() else None
        finally:
            self.close()

    def _ended(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while any(map(process_started, self._files)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def _read(self) -> frozenset[tuple[int, int, int]]:
        found: set[tuple[int, int, int]] = set()
        for file in self._files.values():
            found |= read_diary(os.pread(file, DIARY_SIZE, self._place))
        return frozenset(found)

    def close(self) -> None:
        """Forget them."""
        for worker in list(self._files):
            self._forget(worker)

    def _forget(self, worker: int) -> None:
        file = self._files.pop(worker, None)
        if file is not None:
            os.close(file)
