"""The provider of a pool, on a thread of its own: its calls may take their time, the interchange does not wait."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from shoal.blocks.provider import Job, JobState, JobStatus, Provider
from shoal.errors import ShoalError

__all__ = ["Jobs", "Submitted"]


class Submitted(msgspec.Struct, frozen=True):
    """A job was taken.

    Args:
        block: for which block.
        job: its id.
        watch: a descriptor that is readable once it has ended, or None.
    """

    block: int
    job: str
    watch: int | None


class Jobs:
    """Calls a provider, one call after the other.

    Args:
        provider: whom to call.
    """

    def __init__(self, provider: Provider) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when ``answers`` has something."""
        self._provider = provider
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._answers: deque[Submitted | tuple[int, JobStatus]] = deque()
        self._live: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="shoal-provider", daemon=True)
        self._thread.start()

    def submit(self, block: int, job: Job) -> None:
        """Ask for a job. Answered by :class:`Submitted`, or by ``(block, status)`` if it was refused."""
        self._calls.put(lambda: self._submit(block, job))

    def look(self, block: int, job: str) -> None:
        """Ask what became of a job. Answered by ``(block, status)``."""
        self._calls.put(lambda: self._answer((block, self._provider.status([job])[job])))

    def cancel(self, job: str) -> None:
        """End a job. Not answered."""
        self._calls.put(lambda: self._cancel([job]))

    def answers(self) -> list[Submitted | tuple[int, JobStatus]]:
        """What came back since the last call."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return []
        found = []
        while self._answers:
            found.append(self._answers.popleft())
        return found

    def close(self, timeout: float) -> None:
        """End all jobs, and wait for that up to ``timeout`` seconds."""
        self._calls.put(lambda: self._cancel(sorted(self._live)))
        self._calls.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _submit(self, block: int, job: Job) -> None:
        try:
            name = self._provider.submit(job)
        except (OSError, ShoalError) as error:
            self._answer((block, JobStatus(JobState.FAILED, f"the provider refused it: {error}")))
            return
        self._live.add(name)
        self._answer(Submitted(block, name, self._provider.watch(name)))

    def _cancel(self, jobs: list[str]) -> None:
        self._live.difference_update(jobs)
        self._provider.cancel(jobs)

    def _answer(self, answer: Submitted | tuple[int, JobStatus]) -> None:
        self._answers.append(answer)
        os.eventfd_write(self.fd, 1)
