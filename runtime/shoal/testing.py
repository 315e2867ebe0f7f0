"""Fakes for the tests of programs that use Shoal, and of Shoal itself: no processes, no threads, no time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shoal.containers import find_futures, replace_futures
from shoal.errors import ConfigurationError
from shoal.executors.calling import call_here
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.futures import ValueFuture
from shoal.outcome import Failure, Raised
from shoal.resources import Resources
from shoal.wire.messages import PoolStatus

__all__ = ["ManualExecutor"]


class _PreparedManually:
    """A call as the test sees it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.inputs: Sequence[Any] = find_futures((call.args, call.kwargs))
        self.code = self.captures = self.arguments = b""

    def arguments_with(self, inputs: Sequence[ValueFuture[Any]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        objects = {id(original): source.result() for original, source in zip(self.inputs, inputs, strict=True)}
        args, kwargs = replace_futures((self.call.args, self.call.kwargs), lambda future: objects[id(future)])
        return args, kwargs


class ManualExecutor:
    """An executor whose attempts end when the test says so.

    Args:
        label: its name in the session.

    Attributes:
        launched: every attempt launched, in order.
        dropped: ``(tid, attempt)`` of those that the session gave up.
        begun: those that ``begin`` reported as running.
        stops: whether it can stop what runs.
        missing: why it can run nothing that needs resources; empty if it can.
    """

    kind = "manual"
    keeps_walltime = True

    def __init__(self, label: str = "manual") -> None:
        self.label = label
        self.launched: list[Attempt] = []
        self.dropped: list[tuple[int, int]] = []
        self.begun: set[tuple[int, int]] = set()
        self.stops = False
        self.missing = ""
        self.closed = False
        self._sink: Sink

    def start(self, sink: Sink, folder: Path) -> None:
        """Begin."""
        self._sink = sink

    def prepare(self, call: Call) -> _PreparedManually:
        """Find the futures among the arguments."""
        return _PreparedManually(call)

    def launch_ahead(self, attempt: Attempt) -> bool:
        """False: all is in one process, or in another engine's hands."""
        return False

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Note the attempts."""
        self.launched.extend(attempts)

    def cancel(self, tid: int, attempt: int) -> bool:
        """Note what was given up; refuse what ``begin`` has begun, unless ``stops`` is set."""
        if (tid, attempt) in self.begun and not self.stops:
            return False
        self.dropped.append((tid, attempt))
        return True

    def lacks(self, resources: Resources) -> str:
        """What the test has put into ``missing``."""
        return self.missing

    def run(self, attempt: Attempt) -> None:
        """Call an attempt's function here and now, and report how it ended."""
        call = attempt.prepared.call
        values, failure = call_here(call, lambda: attempt.prepared.arguments_with(attempt.inputs))
        self._sink.attempts_ended([Ended(attempt.tid, attempt.attempt, values, failure, "here", 1.0, 2.0)])

    def run_all(self) -> None:
        """Run what is launched, and what that launches, until nothing is left."""
        while self.launched:
            self.run(self.launched.pop(0))

    def fail(self, attempt: Attempt, failure: Failure | Raised, final: bool = False) -> None:
        """Report that an attempt failed."""
        self._sink.attempts_ended([Ended(attempt.tid, attempt.attempt, (), failure, "here", 1.0, 2.0, final)])

    def begin(self, attempt: Attempt) -> None:
        """Report that an attempt runs."""
        self.begun.add((attempt.tid, attempt.attempt))
        self._sink.attempt_started(attempt.tid, attempt.attempt, "here", 1.0)

    def write(self, attempt: Attempt, stream: str, text: str) -> None:
        """Report that an attempt printed."""
        self._sink.printed(attempt.tid, attempt.attempt, stream, text)

    def outstanding(self) -> int:
        """How many attempts are launched and not taken by the test."""
        return len(self.launched)

    def usable(self) -> bool:
        """Until it is closed."""
        return not self.closed

    def slots(self) -> int:
        """One."""
        return 1

    def status(self) -> PoolStatus:
        """Counts only."""
        return PoolStatus(0, self.label, 0.0, len(self.launched), 0, 0, 0, [], [], [])

    def scale(self, blocks: int) -> None:
        """It has no blocks."""
        raise ConfigurationError(f"{self.label}.scale", blocks, "a ManualExecutor has no blocks to scale")

    def close(self) -> None:
        """Note that it ended."""
        self.closed = True
