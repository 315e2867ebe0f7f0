"""The Protocol between a session and its executors.

The session calls ``prepare`` in the thread that submits, once a task; then ``launch`` for each attempt, from any
thread. The executor tells the :class:`Sink` what became of attempts, from threads of its own. Every attempt that was
launched is answered by exactly one :class:`Ended`, whatever dies, unless the session dropped it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from shoal.futures import ValueFuture
from shoal.outcome import Failure, Raised, Value
from shoal.resources import Resources
from shoal.serialize import FunctionImage
from shoal.wire.messages import PoolStatus

__all__ = ["Attempt", "Call", "Ended", "Executor", "Prepared", "Sink"]


class Call(NamedTuple):
    """One invocation, as the user made it.

    Args:
        function: the plain function.
        image: its image, for executors that send it away.
        args, kwargs: its arguments, futures among them.
        label: the app's name.
        outputs: names of its outputs; empty for one unnamed.
        resources: what an attempt needs; None for one core.
        walltime: seconds that an attempt may run; 0.0 for as long as it takes.
        each: call the function for each item of the first argument, a list of argument tuples, and make one output of each;
            a call that fails is a Failure among ``Ended.values``, and the others keep their values.
    """

    function: Callable[..., Any]
    image: FunctionImage
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    label: str
    outputs: tuple[str, ...]
    resources: Resources | None = None
    walltime: float = 0.0
    each: bool = False


class Prepared(Protocol):
    """A call made ready for one executor; what it holds besides is the executor's own matter.

    Attributes:
        inputs: the futures among the arguments, each once.
        code, captures, arguments: digests for the log; empty where not taken.
    """

    inputs: Sequence[Future[Any]]
    code: bytes
    captures: bytes
    arguments: bytes


class Attempt(NamedTuple):
    """An attempt to launch.

    Args:
        tid, attempt: which.
        prepared: what the executor's ``prepare`` made.
        inputs: a future of the session for each of ``prepared.inputs``, in the same order; all have their values.
    """

    tid: int
    attempt: int
    prepared: Any
    inputs: Sequence[ValueFuture[Any]]


class Ended(NamedTuple):
    """How an attempt ended.

    Args:
        tid, attempt: which.
        values: one an output; empty on failure. With ``Call.each``, a call that failed is a Failure among them.
        failure: why there is no value; None on success.
        worker: who ran it; empty if it never started.
        started, ended: epoch seconds where it ran; 0.0 if it never started.
        final: the failure would repeat in any attempt.
    """

    tid: int
    attempt: int
    values: Sequence[Value | Failure | Raised]
    failure: Failure | Raised | None = None
    worker: str = ""
    started: float = 0.0
    ended: float = 0.0
    final: bool = False


class Sink(Protocol):
    """Where an executor tells what happened."""

    def attempts_ended(self, ended: Sequence[Ended]) -> None:
        """These attempts are over."""
        ...

    def attempt_started(self, tid: int, attempt: int, worker: str, time: float) -> None:
        """An attempt has been running for a moment."""
        ...

    def printed(self, tid: int, attempt: int, stream: str, text: str) -> None:
        """A task printed ``text`` on ``stdout`` or ``stderr``."""
        ...

    def reported(self, label: str, text: str) -> None:
        """Something is wrong in the executor that a person should know now."""
        ...


class Executor(Protocol):
    """Runs attempts.

    Attributes:
        label: its name in the session.
        kind: ``threads`` or ``pool``, for the log.
        keeps_walltime: whether it can end a task that runs longer than it may.
    """

    label: str
    kind: str
    keeps_walltime: bool

    def start(self, sink: Sink, folder: Path) -> None:
        """Begin. Returns quickly: what takes time goes on in the background, and fails through the sink.

        Args:
            sink: where to tell what happens.
            folder: the run's folder, for logs of its own.

        Raises:
            ShoalError: it cannot begin at all.
        """
        ...

    def prepare(self, call: Call) -> Prepared:
        """Make a call ready: the arguments as they are now are what the task will see.

        Raises:
            NotPicklable: an argument or a captured variable cannot travel.
        """
        ...

    def launch_ahead(self, attempt: Attempt) -> bool:
        """Take an attempt some of whose inputs are still being made, by attempts that were given to this executor before.

        It is launched all the same once they have their values. Never blocks.

        Returns:
            Whether it was taken; else there is nothing to be gained here.
        """
        ...

    def launch(self, attempts: Sequence[Attempt]) -> None:
        """Run these attempts. Never blocks, never raises."""
        ...

    def cancel(self, tid: int, attempt: int) -> bool:
        """Nobody wants this attempt any more. Never blocks.

        Returns:
            True if it will not run, or is being interrupted, or is not (any more) here: no :class:`Ended` need come. False
            if it runs and cannot be stopped here: then it goes on, and its end will be told.
        """
        ...

    def outstanding(self) -> int:
        """How many launched attempts have not ended."""
        ...

    def usable(self) -> bool:
        """Whether it can run attempts: False once what it stands on is gone for good."""
        ...

    def slots(self) -> int:
        """How many attempts it runs at once, at most; for placement."""
        ...

    def lacks(self, resources: Resources) -> str:
        """Why it could never run a task that needs these resources (``2 gpus: it has none``); empty if it can."""
        ...

    def status(self) -> PoolStatus:
        """What it is doing now.

        Raises:
            PoolUnreachable: it does not answer.
        """
        ...

    def scale(self, blocks: int) -> None:
        """Aim at this many blocks.

        Raises:
            ConfigurationError: it has no blocks, or not so many.
        """
        ...

    def close(self) -> None:
        """End it and what it started. Unfinished attempts need no answer any more."""
        ...
