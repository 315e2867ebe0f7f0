"""What a pool reads of the diaries of workers whose manager is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.pool.diaries import Diaries
from shoal.wire.diary import DIARY_SIZE, ENTRY


class Crew:
    """Processes that stand for a manager and its workers, with a page for each worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pages: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def worker(self, *tids: int) -> tuple[int, int]:
        """One that has begun these: its pid, and the descriptor of its page."""
        path = self._folder / f"page-{len(self.pages)}"
        data = bytearray(100 + DIARY_SIZE)
        for place, tid in enumerate(tids):
            ENTRY.pack_into(data, 100 + place * ENTRY.size, 1, tid, 1)
        path.write_bytes(data)
        self.pages.append(os.open(path, os.O_RDONLY))
        return self.process(), self.pages[-1]

    def process(self) -> int:
        self.processes.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        return self.processes[-1].pid

    def kill(self, *pids: int) -> None:
        for process in self.processes:
            if process.pid in pids or not pids:
                process.kill()
                process.communicate()

    def close(self) -> None:
        self.kill()
        for page in self.pages:
            os.close(page)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    found = Crew(tmp_path)
    yield found
    found.close()


def test_all_diaries_are_read_once_everybody_is_gone(crew: Crew) -> None:
    """Also that of a worker whose page its manager has closed long ago."""
    manager = crew.process()
    diaries = Diaries(2, 100)
    for worker, page in (crew.worker(0, 1), crew.worker(), crew.worker(5)):
        diaries.add(os.getpid(), worker, page)
    crew.kill()
    assert diaries.begun(manager, 2) == {(1, 0, 1), (1, 1, 1), (1, 5, 1)}


@pytest.mark.parametrize("alive", ["manager", "worker"])
def test_nothing_is_known_while_somebody_may_go_on(crew: Crew, alive: str) -> None:
    """More may begin there at any moment."""
    manager = crew.process()
    worker, page = crew.worker(0)
    diaries = Diaries(1, 100)
    diaries.add(os.getpid(), worker, page)
    crew.kill(worker if alive == "manager" else manager)
    assert diaries.begun(manager, 1) is None


def test_nothing_is_known_where_a_diary_is_missing(crew: Crew) -> None:
    """One that could not be opened, or that was never announced here."""
    manager = crew.process()
    worker, page = crew.worker(0)
    for missing in (True, False):
        diaries = Diaries(2, 100)
        diaries.add(os.getpid(), worker, page)
        if missing:
            diaries.add(os.getpid(), manager, 1 << 20)
        crew.kill()
        assert diaries.begun(manager, 1 if missing else 2) is None


def test_the_diary_of_a_worker_that_lives_is_kept(crew: Crew) -> None:
    """However many come and go beside it; of those that ended only the last are kept."""
    manager = crew.process()
    lasting, page = crew.worker(7)
    diaries = Diaries(1, 100)
    diaries.add(os.getpid(), lasting, page)
    for tid in range(100, 120):
        worker, page = crew.worker(tid)
        diaries.add(os.getpid(), worker, page)
        crew.kill(worker)
    crew.kill()
    begun = diaries.begun(manager, 1)
    assert begun is not None
    assert (1, 7, 1) in begun
    assert (1, 119, 1) in begun
    assert (1, 100, 1) not in begun
