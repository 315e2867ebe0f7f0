"""The session: the running dataflow engine of one process, with its executors and the record of its run."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from shoal.callbacks import drain
from shoal.engine import Engine, RetryPolicy
from shoal.errors import ConfigurationError, ShoalError, UnknownExecutor
from shoal.events import CellRef, Event, PoolJoined, RunEnded, TaskPrinted
from shoal.executors.executor import Call, Ended, Executor
from shoal.executors.lending import shared
from shoal.executors.pooled import PoolExecutor
from shoal.executors.threads import ThreadPoolExecutor, Threads
from shoal.futures import Owner, TaskFuture
from shoal.memo.spec import Memo
from shoal.memoizing import Memoizer
from shoal.options import (
    PLAIN,
    TaskOptions,
    checked_label,
    checked_labels,
    checked_outputs,
    checked_retries,
    checked_seconds,
)
from shoal.outcome import Raised
from shoal.place import chosen_sessions, leave_session, use_session
from shoal.printed import PrintedText
from shoal.record.log import LogReader, LogWriter
from shoal.record.runs import RunView
from shoal.resources import Resources
from shoal.serialize import FunctionImage

__all__ = [
    "INTERNAL",
    "Session",
    "locate_cells",
]

T = TypeVar("T")

INTERNAL = "session"
"""The label of the threads that run the bodies of join apps and lifted items."""

_BODIES = 256
"""Bodies of join apps that run at once: one that waits inside for what it submitted must not stop the others."""

_STORE_PATIENCE = 30.0
"""Seconds that the end of a session waits for results to be written to the store."""


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


_POLICY, _MEMO = RetryPolicy(), Memo()


class Session:
    """A running dataflow engine. Made by :func:`shoal.load`.

    Args:
        executors: built executors, in order; the first is the default among equals.
        run_id: the run's id.
        run_dir: the folder of this run; the event log goes there.
        first_event: what the log begins with.
        policy: how tasks are retried that do not say themselves.
        memo: the store of results of apps with ``cache=True``.
        max_outstanding: the number of unfinished tasks from which on submissions are held.

    Attributes:
        executors: by label.
        run_id, run_dir: as given.
    """

    def __init__(
        self,
        executors: Sequence[Executor],
        run_id: str,
        run_dir: Path,
        first_event: Any,
        policy: RetryPolicy = _POLICY,
        memo: Memo = _MEMO,
        max_outstanding: int = 200_000,
    ) -> None:
        self.executors: dict[str, Executor] = {executor.label: executor for executor in executors}
        self.run_id, self.run_dir = run_id, run_dir
        self._log = LogWriter(run_dir / "events.log")
        self._log.append(first_event)
        self._engine = engine = Engine(self._log, policy, max_outstanding)
        engine.session = self
        engine.internal = self._internal = Threads(ThreadPoolExecutor(label=INTERNAL, max_threads=_BODIES), tasks=False)
        engine.memoizer = self._memoizer = Memoizer(memo, engine.launch_missed, engine.attempts_ended)
        self._view = RunView()
        self._view_lock = threading.Lock()
        self._reader = LogReader(self._log.path)
        self._only = executors[0] if len(executors) == 1 else None
        self._log_names = itertools.count()
        self._keeps = False
        self._start([*executors, self._internal])

    def _start(self, executors: Sequence[Executor]) -> None:
        started: list[Executor] = []
        try:
            for executor in executors:
                executor.start(self._engine, self.run_dir)
                started.append(executor)
                if isinstance(executor, PoolExecutor) and executor.lasts:
                    pool = executor.connection.name
                    self._log.append(PoolJoined(time.time(), executor.label, pool, executor.session))
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
        retries: float | None = None,
        walltime: float | None = None,
        cache: bool = False,
        cell: CellRef | None = None,
        on_output: Callable[[str, str], None] | None = None,
        hold: bool = True,
    ) -> TaskFuture[Any]:
        """Make a task of one call.

        Args:
            function: what to run, or its image (which spares looking at it again).
            args: its positional arguments; futures anywhere among them are awaited and replaced by their values.
            kwargs: its keyword arguments, likewise.
            label: the name shown; default: the function's.
            executors: a label, labels to choose from, or ``"all"``.
            outputs: names of several outputs; the function then returns a mapping with these keys.
            resources: what one attempt needs; default: one core. Executors that do not have it are not chosen.
            retries: attempts beyond the first (the budget that failures take their cost from); default: the session's.
            walltime: seconds that an attempt may run; default: as long as it takes.
            cache: take the value from the store of results if it is there, and keep it there.
            cell: where in a notebook the call stands.
            on_output: called as ``on_output(stream, text)`` with what the task prints, live, on the callback thread. A task
                on threads of this process prints where its submitter does.
            hold: wait here while too many tasks are unfinished (``Config.max_outstanding``).

        Returns:
            The future, at once.

        Raises:
            NoSession: this session has ended.
            ConfigurationError: an option has a value that cannot work.
            UnknownExecutor: no such label.
            NotPicklable: an argument or captured variable cannot travel; nothing was submitted.
            NotMemoizable: an argument of a cached call has no digest.
        """
        if isinstance(function, FunctionImage):
            image = function
        elif callable(function):
            image = FunctionImage(function, label)
        else:
            raise ConfigurationError("submit(function)", function, "give something that can be called")
        options = TaskOptions(
            label="" if label is None else checked_label(label),
            executors=checked_labels(executors),
            outputs=checked_outputs(outputs) if outputs else (),
            resources=resources,
            retries=None if retries is None else checked_retries(retries),
            walltime=0.0 if walltime is None else checked_seconds("walltime", walltime),
            cache=cache,
            hold=hold,
        )
        return self.enter(image, tuple(args), dict(kwargs) if kwargs else {}, options, cell, on_output)

    def enter(
        self,
        image: FunctionImage,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions = PLAIN,
        cell: CellRef | None = None,
        on_output: Callable[[str, str], None] | None = None,
    ) -> TaskFuture[Any]:
        """Make a task of one call whose options were checked before: what apps do.

        Args:
            image: of the function.
            args: its positional arguments.
            kwargs: its keyword arguments.
            options: what is asked of the task.
            cell: as for :meth:`submit`.
            on_output: as for :meth:`submit`.

        Raises:
            ShoalError: as for :meth:`submit`.
        """
        engine = self._engine
        engine.check_process()
        executor = self._only
        if executor is None or options is not PLAIN:
            executor = self._internal if options.join else self._choose(options)
        call = Call(
            image.function, image, args, kwargs, options.label or image.label, options.outputs, options.resources,
            options.walltime, options.each,
        )  # fmt: skip
        key = self._memoizer.request(call, options.ignore_for_cache) if options.cache else None
        return engine.add(call, executor.prepare(call), executor, options, cell or _where(), on_output, key)

    def share(self, value: T, label: str = "shared") -> TaskFuture[T]:
        """Make a value ready for many tasks: see :func:`shoal.share`.

        Args:
            value: any object that can travel.
            label: its name in the graph.

        Raises:
            NotPicklable: it cannot.
            NoSession: this session has ended.
        """
        self._engine.check_process()
        return self._engine.hold(shared(value, f"the value of share({type(value).__name__})"), label)

    def take_over(
        self,
        label: str,
        ended: Future[Ended] | BaseException,
        *,
        outputs: Sequence[str] = (),
        cell: CellRef | None = None,
        on_output: Callable[[str, str], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        executor: str = "",
    ) -> TaskFuture[Any]:
        """Enter a task of an earlier session, which runs elsewhere or is over, as one of this session.

        It is logged, counted and waited for as others are; other tasks may take it as an input.

        Args:
            label: the name shown.
            ended: how it ends, as :meth:`shoal.executors.claims.Claims.future` tells it, then also that it runs and what it
                prints; its values stay as they came. Or the error that it has ended with.
            outputs: names of its outputs, in the order of the values; empty for one.
            cell: where in a notebook the call stood.
            on_output: as for :meth:`submit`.
            cancel: asks for its end, and says whether it will not go on; must return at once, and not ask anything of this
                session. Without it the task cannot be cancelled.
            executor: the label of the executor that it is shown with.

        Raises:
            NoSession: this session has ended.
            ConfigurationError: an option has a value that cannot work.
        """
        names = checked_outputs(outputs) if outputs else ()
        if isinstance(ended, BaseException):
            error, ended = ended, Future()
            ended.set_result(Ended(0, 1, (), Raised(error), final=True))
        return self._engine.take_over(checked_label(label), ended, names, cell, on_output, cancel, executor)

    def _choose(self, options: TaskOptions) -> Executor:
        """The executor for a task: among those asked for that have what it needs, the one with the least to do."""
        wanted = options.executors
        labels = (wanted,) if isinstance(wanted, str) and wanted != "all" else wanted
        if labels == "all":
            candidates = list(self.executors.values())
        else:
            if not labels or not all(label in self.executors for label in labels):
                raise UnknownExecutor("executors", wanted, f"this session has: {', '.join(self.executors)}")
            candidates = [self.executors[label] for label in labels]
        needs = options.resources
        if needs is not None:
            lacks = {executor.label: executor.lacks(needs) for executor in candidates}
            candidates = [executor for executor in candidates if not lacks[executor.label]]
            if not candidates:
                reasons = "; ".join(f"'{label}': {reason}" for label, reason in lacks.items())
                raise ConfigurationError("resources", needs, f"no executor of this session has them ({reasons})")
        if options.walltime:
            candidates = [executor for executor in candidates if executor.keeps_walltime] or candidates
        if len(candidates) == 1:
            return candidates[0]
        usable = [executor for executor in candidates if executor.usable()] or candidates
        return min(usable, key=lambda e: (e.outstanding() + 1) / max(1, e.slots()))

    def log_name(self, label: str, stream: str) -> str:
        """The path of a file of this run for what a task writes: a number of its own, and the label.

        Args:
            label: of the task.
            stream: ``stdout`` or ``stderr``.
        """
        number = next(self._log_names)
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", label)[:60]
        return str(self.run_dir / "tasks" / f"{number // 1000:04d}" / f"{number:06d}_{name}.{stream}")

    def checkpoint(self) -> int:
        """Write the results of cached apps that are not in the store yet; returns how many were written."""
        return self._memoizer.checkpoint()

    # ------------------------------------------------------------------ the session as a whole

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._engine.closed is not None

    @property
    def open_here(self) -> bool:
        """Whether it has not ended, and this is its process."""
        return self._engine.open_here

    @property
    def owner(self) -> Owner:
        """Whose its futures are: the ``owner`` of each."""
        return self._engine

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
        """Wait until no task is unfinished, ``timeout`` seconds at most; returns whether none is.

        Raises:
            SessionError: in a task of this session, or the body of a join app, which would wait for itself.
        """
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

    def cancel(self, tid: int) -> bool:
        """Cancel a task by its number; as ``future.cancel()``."""
        return self._engine.request_cancel(tid)

    def printed(self, tid: int) -> dict[str, str]:
        """What a task's last attempt has printed so far, by stream; read from the run's log.

        Args:
            tid: the number of the task.
        """
        self._log.flush()
        text = PrintedText()
        for event in LogReader(self._log.path).read():
            if type(event) is TaskPrinted and event.tid == tid:
                text.add(event.attempt, event.stream, event.text)
        return {stream: text.read(stream) for stream in ("stdout", "stderr")}

    def note(self, *events: Event) -> None:
        """Add facts to the run's log; they, and those before them, are written when this returns."""
        for event in events:
            self._log.append(event)
        self._log.flush()

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
        with ExitStack() as last:  # Ctrl-C while one thing ends must not keep the next from its end
            last.callback(drain, 1.0)
            last.callback(self._log.close)
            last.callback(self._log.append, RunEnded(time.time(), type(self._engine.closed).__name__))
            last.callback(self._memoizer.close, _STORE_PATIENCE)
            for executor in [self._internal, *reversed(self.executors.values())]:
                last.callback(executor.close)
        return left

    def keep_on_exit(self) -> None:
        """From now on, pools that last go on with what this session has there when its interpreter ends.

        Another process can claim it then (:class:`shoal.executors.claims.Claims`). Notebooks do this; a script that ends takes
        its tasks with it. :meth:`close`, and another ``shoal.load``, end them all the same.
        """
        self._keeps = True

    def close_on_exit(self, reason: ShoalError) -> int:
        """End the session because its interpreter ends.

        Args:
            reason: what its unfinished futures get.

        Returns:
            How many tasks had not ended and do not go on elsewhere.
        """
        kept = 0
        for executor in self.executors.values() if self._keeps and not self.closed else ():
            if isinstance(executor, PoolExecutor) and executor.lasts:
                executor.keep_on_close = True
                kept += executor.there()
        return max(0, self.close(reason) - kept)

    def __enter__(self) -> Self:
        """Use the session for a block of code: apps that are called there use it."""
        use_session(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all tasks, then end; after an exception end at once. A block within a block of the same session ends nothing."""
        leave_session(self)
        if self in chosen_sessions():
            return
        if kind is None:
            self.wait()
        self.close()

    def __repr__(self) -> str:
        """For people."""
        state = "ended" if self.closed else f"{self.pending()} unfinished tasks"
        return f"<Session {self.run_id}: {', '.join(self.executors)}; {state}>"
