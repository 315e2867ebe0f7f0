"""What the benchmark asks of a system that runs tasks.

A system is one small file in this folder with a class that fits :class:`Peer` and a tuple ``PEERS`` of its instances. The
file is imported where the system is not installed, so the system itself is imported in ``start``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Handle = Any
"""What a system returns for a task: a future, a reference."""


class Peer(Protocol):
    """A system under measurement.

    Attributes:
        name: what it is called on the command line and in the raw results.
        title: the heading of its column.
        requirements: what to install for it into .bench-venv; empty for the standard library.
        dependencies: whether a handle may be the argument of another task.
        processes: whether its workers are processes, so that arguments and results travel.
        slow: whether it gets the smaller number of tasks.
        rounds: at most so many, where its start and end take seconds.
        default: whether it is measured unless the command line says otherwise.
        project: whether it is this project, measured in .venv; all others are measured in .bench-venv.
        variant: what tells it from this project as it comes, for the table of this project alone; else empty.
        cases: names of the cases that it is measured in; empty: all that fit.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    dependencies: bool
    processes: bool
    slow: bool
    rounds: int
    default: bool
    project: bool
    variant: str
    cases: tuple[str, ...]

    def start(self, workers: int) -> None:
        """Start it with this many workers."""
        ...

    def prepare(self, function: Callable[..., Any]) -> Callable[..., Handle]:
        """What submits one call of ``function``; with ``dependencies`` its positional arguments may be handles."""
        ...

    def collect(self, handles: Sequence[Handle]) -> list[Any]:
        """The results, in order, when all are there, in the way that the system's own manual recommends."""
        ...

    def role(self, command: Sequence[str]) -> str:
        """What a process of it is, by its command line: the name under which its CPU time is summed."""
        ...

    def describe(self) -> str:
        """Version and settings, for readers; asked while it runs."""
        ...

    def close(self) -> None:
        """End it, processes included."""
        ...


class FuturesPeer:
    """The usual answers: handles are futures, workers are processes, nothing is installed."""

    requirements: tuple[str, ...] = ()
    dependencies = False
    processes = True
    slow = False
    rounds = 1000
    default = True
    project = False
    variant = ""
    cases: tuple[str, ...] = ()

    def collect(self, handles: Sequence[Handle]) -> list[Any]:
        """Ask each future."""
        return [handle.result() for handle in handles]

    def role(self, command: Sequence[str]) -> str:
        """All but the client."""
        return "others"


def writable(result: Any) -> Any:
    """The result, or a copy of it if it is an array that can only be read: the other systems hand out arrays to write to."""
    flags = getattr(result, "flags", None)
    return result if flags is None or flags.writeable else result.copy()
