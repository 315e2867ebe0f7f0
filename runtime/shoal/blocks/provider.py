"""What a provider is: where blocks come from."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec

__all__ = ["Job", "JobState", "JobStatus", "Provider", "ProviderSpec"]


class Job(msgspec.Struct, frozen=True):
    """What a provider shall run for one block.

    Args:
        name: for the batch system and for people.
        command: the argv of a manager.
        folder: where its output goes, as ``NAME.out`` and ``NAME.err``.
    """

    name: str
    command: tuple[str, ...]
    folder: str


class JobState(Enum):
    """What a provider knows of a job."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"
    UNKNOWN = "unknown"


class JobStatus(msgspec.Struct, frozen=True):
    """A job's state, and how it ended, in words with the tail of its stderr."""

    state: JobState
    message: str = ""


class Provider(Protocol):
    """Asks for jobs and ends them. A pool calls it on one thread of its own; calls may take their time."""

    def submit(self, job: Job) -> str:
        """Ask for a job.

        Returns:
            The provider's id of it.

        Raises:
            OSError, ShoalError: it was refused.
        """
        ...

    def status(self, ids: list[str]) -> dict[str, JobStatus]:
        """What is known of these jobs."""
        ...

    def cancel(self, ids: list[str]) -> None:
        """End these jobs and all of their processes. Unknown or ended ones are no error."""
        ...

    def watch(self, job: str) -> int | None:
        """A file descriptor that is readable once the job's process has ended, or None where only polling can tell.

        The caller watches it, and does not close it; ``cancel``, or a ``status`` that reports the end, closes it.
        """
        ...


class ProviderSpec(Protocol):
    """What the spec of every provider has."""

    @property
    def init_blocks(self) -> int:
        """Blocks asked for at the start."""
        ...

    @property
    def min_blocks(self) -> int:
        """Fewest blocks."""
        ...

    @property
    def max_blocks(self) -> int:
        """Most blocks."""
        ...

    @property
    def walltime(self) -> float | None:
        """Seconds after which a block ends; None if it does not."""
        ...

    def open(self) -> Provider:
        """A provider of this spec."""
        ...
