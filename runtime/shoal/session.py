"""The session: the running dataflow engine of one process, with its executors and the record of its run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from shoal.callbacks import drain
from shoal.engine import Engine
from shoal.errors import ConfigurationError, ShoalError, UnknownExecutor
from shoal.events import CellRef, Event, RunEnded
from shoal.executors.executor import Call, Executor
from shoal.futures import TaskFuture
from shoal.outcome import clean
from shoal.record.log import LogReader, LogWriter
from shoal.record.runs import RunView
from shoal.resources import Resources
from shoal.serialize import FunctionImage

__all__ = ["Session", "checked_retries", "locate_cells"]


def _nowhere() -> CellRef | None:
    return None


_where: Callable[[], CellRef | None] = _nowhere


def locate_cells(source: Callable[[], CellRef | None]) -> None:
    """Tell sessions how to find the notebook cell that is running, so that each task's record names its cell.

    Args:
        source: called at each submission that does not say its cell; must be quick and must not raise.
    """
    global _where
    _where = source


class Session:
    """A running dataflow engine. Made by :func:`shoal.load`.

    Args:
        executors: built executors, in order; the first is the default among equals.
        run_id: the run's id.
        run_dir: the folder of this run; the event log goes there.
        retries: attempts allowed beyond the first, for tasks that do not say.
        first_event: what the log begins with.

    Attributes:
        executors: by label.
        run_id, run_dir: as given.
    """

    def __init__(
        self, executors: Sequence[Executor], run_id: str, run_dir: Path, retries: int, first_event: Any
    ) -> None:
        self.executors: dict[str, Executor] = {executor.label: executor for executor in executors}
        self.run_id, self.run_dir = run_id, run_dir
        self._retries = retries
        self._log = LogWriter(run_dir / "events.log")
        self._log.append(first_event)
        self._engine = Engine(self._log)
        self._view = RunView()
        self._view_lock = threading.Lock()
        self._reader = LogReader(self._log.path)
        self._only = executors[0] if len(executors) == 1 else None
        self._start(executors)

    def _start(self, executors: Sequence[Executor]) -> None:
        started: list[Executor] = []
        try:
            for executor in executors:
                executor.start(self._engine, self.run_dir)
                started.append(executor)
        except (ShoalError, OSError):
            for executor in started:
                executor.close()
            self._log.close()
            raise

    # ------------------------------------------------------------------ submitting

    def submit(  # noqa: PLR0913 - the options of one call, each a keyword of its own
        self,
        function: Callable[..., Any] | FunctionImage,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        label: str | None = None,
        executors: str | Sequence[str] = "all",
        outputs: Sequence[str] = (),
        resources: Resources | None = None,
        retries: int | None = None,
        cell: CellRef | None = None,
        on_output: Callable[[str, str], None] | None = None,
    ) -> TaskFuture[Any]:
        """Make a task of one call.

        Args:
            function: what to run, or its image (which spares looking at it again).
            args: its positional arguments; futures anywhere among them are awaited and replaced by their values.
            kwargs: its keyword arguments, likewise.
            label: the name shown; default: the function's.
            executors: a label, labels to choose from, or ``"all"``.
            outputs: names of several outputs; the function then returns a mapping with these keys.
            resources: what one attempt needs; default: one core.
            retries: attempts beyond the first; default: the session's.
            cell: where in a notebook the call stands.
            on_output: called as ``on_output(stream, text)`` with what the task prints, live, on the callback thread. A task
                on threads of this process prints where its submitter does.

        Returns:
            The future, at once.

        Raises:
            NoSession: this session has ended.
            ConfigurationError: an option has a value that cannot work.
            UnknownExecutor: no such label.
            NotPicklable: an argument or captured variable cannot travel; nothing was submitted.
        """
        self._engine.check_process()
        if isinstance(function, FunctionImage):
            image = function
        elif callable(function):
            image = FunctionImage(function, label)
        else:
            raise ConfigurationError("submit(function)", function, "give something that can be called")
        name = image.label if label is None else _checked_label(label)
        executor = self._only if executors == "all" and self._only is not None else self._choose(executors)
        call = Call(
            image.function, image, tuple(args), dict(kwargs) if kwargs else {}, name,
            _checked_outputs(outputs) if outputs else (), resources,
            on_output is not None,
        )  # fmt: skip
        budget = self._retries if retries is None else checked_retries(retries)
        return self._engine.add(call, executor.prepare(call), executor, budget, cell or _where(), on_output)

    def _choose(self, wanted: str | Sequence[str]) -> Executor:
        if wanted == "all":
            candidates = list(self.executors.values())
        else:
            try:
                labels = [wanted] if isinstance(wanted, str) else list(wanted)
            except TypeError:
                raise ConfigurationError("executors", wanted, "give a label, a list of labels, or 'all'") from None
            unknown = [label for label in labels if label not in self.executors]
            if unknown or not labels:
                raise UnknownExecutor("executors", wanted, f"this session has: {', '.join(self.executors)}")
            candidates = [self.executors[label] for label in labels]
        if len(candidates) == 1:
            return candidates[0]
        return min(candidates, key=lambda e: (e.outstanding() + 1) / max(1, e.slots()))

    # ------------------------------------------------------------------ the session as a whole

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._engine.closed is not None

    @property
    def trouble(self) -> list[str]:
        """What executors reported for people, oldest first."""
        return self._engine.trouble

    def owns_process(self) -> bool:
        """False in a child that was forked from the session's process."""
        return self._engine.same_process()

    def usable(self) -> bool:
        """Whether it takes tasks and all its executors can run them."""
        return not self.closed and self.owns_process() and all(e.usable() for e in self.executors.values())

    def pending(self) -> int:
        """How many tasks have not ended."""
        return self._engine.pending()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no task is unfinished, ``timeout`` seconds at most; returns whether none is."""
        return self._engine.wait(timeout)

    def view(self) -> RunView:
        """The run as columns, up to date. Read from the log, so it costs nothing while nobody looks.

        Raises:
            NoSession: in a process that was forked from the session's.
        """
        self._engine.check_process()
        with self._view_lock:
            self._log.flush()
            self._view.apply(self._reader.read())
            return self._view

    def note(self, event: Event) -> None:
        """Add a fact to the run's log."""
        self._log.append(event)

    def close(self, reason: ShoalError | None = None) -> int:
        """End the session: unfinished futures get ``reason`` (default :class:`SessionClosed`), executors end.

        Returns:
            How many tasks had not ended.
        """
        if not self.owns_process():
            return 0  # its executors and its log are the parent's
        left = self._engine.close(reason)
        if left is None:
            return 0
        for executor in self.executors.values():
            executor.close()
        self._log.append(RunEnded(time.time(), type(self._engine.closed).__name__))
        self._log.close()
        drain(1.0)
        return left

    def __enter__(self) -> Self:
        """Use the session for a block of code."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all tasks, then end; after an exception end at once."""
        if kind is None:
            self.wait()
        self.close()

    def __repr__(self) -> str:
        """For people."""
        state = "ended" if self.closed else f"{self.pending()} unfinished tasks"
        return f"<Session {self.run_id}: {', '.join(self.executors)}; {state}>"


def _checked_label(label: object) -> str:
    if not isinstance(label, str) or not label:
        raise ConfigurationError("label", label, "give a text")
    return clean(label)


def _checked_outputs(outputs: object) -> tuple[str, ...]:
    if isinstance(outputs, str) or not isinstance(outputs, Sequence):
        raise ConfigurationError("outputs", outputs, "give a list of names, as in outputs=['model', 'score']")
    for name in outputs:
        if not isinstance(name, str) or not name or outputs.count(name) > 1:
            raise ConfigurationError("outputs", outputs, "each output needs a name (a text) of its own")
    return tuple(map(clean, outputs))


def checked_retries(retries: object) -> int:
    """The number of retries.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise ConfigurationError("retries", retries, "use a whole number, 0 or more")
    return retries
