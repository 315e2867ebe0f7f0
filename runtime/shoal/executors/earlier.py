"""Tasks of earlier sessions as this one sees them: they run elsewhere, and a future tells how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from shoal.errors import ConfigurationError, PoolUnreachable
from shoal.executors.calling import outcome_of
from shoal.executors.executor import Attempt, Call, Ended, Sink
from shoal.outcome import Failure, Raised
from shoal.resources import Resources
from shoal.serialize import FunctionImage
from shoal.wire.messages import PoolStatus

__all__ = ["EarlierTask", "News"]


class News(Future[Ended]):
    """How a task ends that runs elsewhere; and before that, that it runs and what it prints.

    What is told before anybody follows is kept: whoever does then gets all of it, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._telling = threading.Lock()
        self._since: tuple[str, float] | None = None
        self._text: list[tuple[str, str]] = []
        self._started: Callable[[str, float], object] | None = None
        self._printed: Callable[[str, str], object] | None = None

    @property
    def begun(self) -> bool:
        """Whether it is known to run, or to have run."""
        return self._since is not None

    def text(self, stream: str) -> str:
        """What it has printed so far on ``stdout`` or ``stderr``, as far as that came here."""
        return "".join([text for its, text in list(self._text) if its == stream])

    def follow(self, started: Callable[[str, float], object], printed: Callable[[str, str], object]) -> None:
        """Hear what there is so far, and what comes.

        Args:
            started: is told the worker, and since when it runs, in epoch seconds.
            printed: is told the stream and the text.
        """
        with self._telling:
            self._started, self._printed = started, printed
            if self._since is not None:
                started(*self._since)
            for stream, text in self._text:
                printed(stream, text)

    def end(self, how: Ended | BaseException) -> None:
        """It is over, if it was not before: how it ended, or why that will not be known."""
        with suppress(InvalidStateError):  # somebody else was quicker
            if isinstance(how, BaseException):
                self.set_exception(how)
            else:
                self.set_result(how)

    def tell_started(self, worker: str, since: float) -> None:
        """It runs."""
        with self._telling:
            self._since = (worker, since)
            if self._started is not None:
                self._started(worker, since)

    def tell_printed(self, stream: str, text: str) -> None:
        """It has printed something."""
        with self._telling:
            self._text.append((stream, text))
            if self._printed is not None:
                self._printed(stream, text)


class _Nothing(msgspec.Struct):
    """What there is of a call that another process has made."""

    inputs: Sequence[Future[Any]] = ()
    code: bytes = b""
    captures: bytes = b""
    arguments: bytes = b""


def _elsewhere() -> None:
    """Stands for a function that another process has called."""


class EarlierTask:
    """Stands in the place of the executor of one task of an earlier session.

    Args:
        label: of the executor that it is shown with.
        ended: how it ends; with :class:`News` also what happens before.
        outputs: the names of its outputs; empty for one unnamed.
        cancel: asks for its end, and says whether it will not go on; must not wait. Without it, it cannot be cancelled.
        sink: where to tell what happens.
    """

    kind = "earlier"
    keeps_walltime = True

    def __init__(
        self,
        label: str,
        ended: Future[Ended],
        outputs: tuple[str, ...],
        cancel: Callable[[], bool] | None,
        sink: Sink,
    ) -> None:
        self.label = label
        self._ended, self._outputs, self._cancel, self._sink = ended, outputs, cancel, sink
        self._tid = -1

    def call(self, label: str) -> Call:
        """The task's call, as far as it is known.

        Args:
            label: the task's name.
        """
        return Call(_elsewhere, FunctionImage(_elsewhere, label), (), {}, label, self._outputs)

    def prepare(self, call: Call) -> _Nothing:
        """There is nothing to be made ready."""
        return _Nothing()

    def begin(self) -> None:
        """Tell from now on what becomes of the task, if it was launched. Not under any lock."""
        if self._tid < 0:
            return
        if isinstance(self._ended, News):
            self._ended.follow(
                lambda worker, since: self._sink.attempt_started(self._tid, 1, worker, since),
                lambda stream, text: self._sink.printed(self._tid, 1, stream, text),
            )
        elif self._ended.running():
            self._sink.attempt_started(self._tid, 1, self.label, 0.0)
        self._ended.add_done_callback(lambda done: self._sink.attempts_ended([self._end(done)]))

    def _end(self, done: Future[Ended]) -> Ended:
        """How it ended, as the end of an attempt of this session."""
        if done.cancelled():
            return Ended(self._tid, 1, (), Raised(CancelledError("the task was cancelled")), final=True)
        found = outcome_of(done.result)
        if isinstance(found, Raised):
            return Ended(self._tid, 1, (), found, final=True)
        end: Ended = found.object
        failure: Failure | Raised | None = end.failure
        if failure is None and len(end.values) != (len(self._outputs) or 1):
            fix = f"name the {len(end.values)} that the task has"
            failure = Raised(ConfigurationError("outputs", self._outputs, fix))
        values = end.values if failure is None else ()
        return Ended(self._tid, 1, values, failure, end.worker, end.started, end.ended, final=True)

    # ------------------------------------------------------------------ Executor

    def start(self, sink: Sink, folder: Path) -> None:
        """It runs already."""

    def launch_ahead(self, attempt: Attempt) -> bool:
        """False: nothing is launched here."""
        return False

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Take note of the number of the task."""
        self._tid = attempts[0].tid

    def cancel(self, tid: int, attempt: int) -> bool:
        """Ask for its end."""
        return self._cancel is not None and not self._ended.done() and self._cancel()

    def outstanding(self) -> int:
        """Whether it has not ended."""
        return int(not self._ended.done())

    def usable(self) -> bool:
        """Nothing else can be launched here."""
        return False

    def slots(self) -> int:
        """None: nothing else can be launched here."""
        return 0

    def lacks(self, resources: Resources) -> str:
        """It takes no tasks."""
        return "it takes no tasks"

    def status(self) -> PoolStatus:
        """There is none here.

        Raises:
            PoolUnreachable: always.
        """
        raise PoolUnreachable(self.label, 0.0)

    def scale(self, blocks: int) -> None:
        """There are no blocks here.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("scale", blocks, "it belongs to an earlier session")

    def close(self) -> None:
        """What runs elsewhere goes on."""
