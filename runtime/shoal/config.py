"""Configuration: declarative specs become a running session; and the session that apps use.

A :class:`Config` is data. :func:`load` turns it into a :class:`~shoal.session.Session` and makes that the current one.
A cell that loads may be run again at any time: the same configuration gives the session that is running, another one
ends it and starts anew.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import secrets
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from shoal.callbacks import call_back
from shoal.engine import RetryPolicy
from shoal.errors import ConfigurationError, DuplicateLabel, NoSession, SessionClosed, SessionReplaced
from shoal.events import EnvironmentSeen, RunStarted
from shoal.executors.executor import Executor
from shoal.executors.htex import HighThroughputExecutor
from shoal.executors.threads import ThreadPoolExecutor
from shoal.futures import TaskFuture
from shoal.memo.spec import Memo
from shoal.options import Backoff
from shoal.place import chosen_sessions, in_task
from shoal.session import INTERNAL, Session
from shoal.spec import Spec

__all__ = ["Config", "clear", "current", "load", "new_session", "share", "shoal_version", "wait_for_current_tasks"]

T = TypeVar("T")

ExecutorSpec = HighThroughputExecutor | ThreadPoolExecutor


class Config(Spec, frozen=True):
    """What a session is made of.

    Args:
        executors: where tasks may run; each with a label of its own.
        run_dir: the folder that gets a folder for each run, with its event log.
        retries: the budget for failures of a task that does not say itself: the sum of the costs of failed attempts (1 each,
            unless ``retry_handler`` says otherwise) up to which another attempt is made.
        retry_handler: ``handler(exception, task_record) -> cost``, called for each failed attempt of a task with a budget.
        backoff: how long to wait before another attempt: seconds, or a :class:`~shoal.options.Backoff`.
        memo: the store of results of apps with ``cache=True``.
        max_outstanding: the number of unfinished tasks from which on submissions are held until there is room.
    """

    executors: Sequence[Any] = msgspec.field(default_factory=lambda: [HighThroughputExecutor()])
    run_dir: str = "shoal-runs"
    retries: float = 0
    retry_handler: Any = None
    backoff: float | Backoff = 0.0
    memo: Memo = Memo()
    max_outstanding: int = 200_000

    def check(self) -> None:
        """Executors with labels that differ, numbers that can be."""
        self.require(bool(self.executors), "executors", "give at least one executor")
        self.require(0 <= self.retries < float("inf"), "retries", "use 0 or more")
        self.require(self.max_outstanding >= 1, "max_outstanding", "use 1 or more")
        seconds = 0.0 if isinstance(self.backoff, Backoff) else self.backoff
        self.require(0 <= seconds < float("inf"), "backoff", "use a number of seconds, 0 or more")
        self.require(self.retry_handler is None or callable(self.retry_handler), "retry_handler", "give a function")
        for executor in self.executors:
            if not (hasattr(executor, "build") and isinstance(getattr(executor, "label", None), str)):
                fix = "give executors such as HighThroughputExecutor() or ThreadPoolExecutor()"
                raise ConfigurationError("Config.executors", executor, fix)
        labels = [executor.label for executor in self.executors]
        for label in labels:
            if labels.count(label) > 1 or label == INTERNAL:
                taken = (
                    f"'{label}' is the session's own"
                    if label == INTERNAL
                    else f"two executors carry the label '{label}'"
                )
                raise DuplicateLabel("Config.executors", label, f"{taken}; rename one")

    def policy(self) -> RetryPolicy:
        """How the session retries."""
        backoff = self.backoff if isinstance(self.backoff, Backoff) else Backoff.of(self.backoff)
        return RetryPolicy(self.retries, backoff, self.retry_handler)


_lock = threading.RLock()
_current: tuple[Config, Session] | None = None
_all: weakref.WeakSet[Session] = weakref.WeakSet()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


def load(config: Config | None = None) -> Session:
    """Start a session, or return the one that runs already with the same configuration.

    Args:
        config: what to start; default: a pool of this host's workers, as long as the session lives.

    Returns:
        The session, which is also a context manager: it waits for all tasks at the end of the block.

    Raises:
        ConfigurationError: the configuration cannot work; the message says what to write.
        PoolNotFound: an executor attaches to a pool that does not exist.

    A session that runs is ended only once the new one is there: a mistake in the configuration costs nothing.
    """
    global _current
    given: object = Config() if config is None else config
    if not isinstance(given, Config):
        raise ConfigurationError("load(config)", given, "give a Config, as in shoal.load(shoal.Config(...))")
    config = given
    with _lock:
        if _current is not None:
            known, session = _current
            if known == config and session.usable():
                return session
        former = _current
        session = _build(config)
        _current = (config, session)
        if former is not None:
            _replace(former[1])
        return session


def new_session(config: Config | None = None) -> Session:
    """Start a session beside the current one.

    Apps use it inside ``with new_session(...) as session:``, or where they are made with ``session=session``; all other apps
    go on using the current one.

    Args:
        config: as for :func:`load`.

    Raises:
        ConfigurationError, PoolNotFound: as for :func:`load`.
    """
    given: object = Config() if config is None else config
    if not isinstance(given, Config):
        raise ConfigurationError(
            "new_session(config)", given, "give a Config, as in shoal.new_session(shoal.Config(...))"
        )
    return _build(given)


def current(start: bool = False) -> Session:
    """The session that apps use.

    Args:
        start: load the default configuration, and say so, if there is none.

    Raises:
        NoSession: there is none, and ``start`` is False.
    """
    if _current is not None and not chosen_sessions():  # as nearly always, and at every call of an app
        session = _current[1]
        if session.open_here:
            return session
    running = _running()
    if running is not None:
        return running
    with _lock:
        running = _running()  # another thread may have loaded one meanwhile
        if running is not None:
            return running
        if not start:
            raise NoSession("no session is loaded; call shoal.load() first")
        session = load()
        slots = sum(executor.slots() for executor in session.executors.values())
        print(f"Shoal: no session was loaded; started the default one with {slots} local workers.", file=sys.stderr)
        return session


def share(value: T, label: str = "shared") -> TaskFuture[T]:
    """Make a value ready for many tasks: it is pickled once, now, and given to tasks as a future is.

    Workers of this host read its large parts (arrays) where they lie: no task makes a copy, and none can write to them. To
    other hosts, and on executors that share no memory, it travels as any value does.

    Args:
        value: any object that can travel. What is changed of it afterwards, tasks do not see.
        label: its name in the graph.

    Returns:
        A future that is done: pass it to apps in the place of the value. The memory is kept as long as the future is.

    Raises:
        NotPicklable: it cannot travel.
    """
    if in_task():
        from shoal.serialize import InlineApp

        return InlineApp(_itself)(value)  # type: ignore[return-value]
    return current(start=True).share(value, label)


def _itself(value: T) -> T:
    return value


def _running() -> Session | None:
    candidates: list[Session] = [_current[1]] if _current is not None else []
    candidates += chosen_sessions()
    return next((one for one in reversed(candidates) if not one.closed and one.owns_process()), None)


def clear() -> None:
    """End the current session, if there is one. Its unfinished futures get :class:`~shoal.errors.SessionClosed`."""
    global _current
    with _lock:
        if _current is not None:
            session = _current[1]
            _current = None
            if session.owns_process():
                session.close()


def wait_for_current_tasks() -> None:
    """Wait until no task of the current session is unfinished.

    Raises:
        NoSession: there is no session.
    """
    current().wait()


def _build(config: Config) -> Session:
    run_id = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)
    executors: list[Executor] = [spec.build() for spec in config.executors]
    started = RunStarted(
        time=time.time(),
        run=run_id,
        python=platform.python_version(),
        shoal=shoal_version(),
        host=os.uname().nodename,
        pid=os.getpid(),
        config=msgspec.json.encode(config, enc_hook=repr).decode(),
    )
    run_dir = Path(config.run_dir).absolute() / run_id
    try:
        session = Session(executors, run_id, run_dir, started, config.policy(), config.memo, config.max_outstanding)
    except OSError as error:
        raise ConfigurationError("Config.run_dir", config.run_dir, f"choose a folder to write to ({error})") from error
    _all.add(session)
    call_back(_note_environment, session)
    return session


def _note_environment(session: Session) -> None:
    """Log what is installed: on the callback thread, since looking takes some tens of milliseconds."""
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()})
    digest = hashlib.blake2b("\n".join(packages).encode(), digest_size=16).digest()
    session.note(EnvironmentSeen(time.time(), digest, packages))


def _replace(session: Session) -> None:
    if not session.owns_process():
        return
    left = session.close(SessionReplaced("another shoal.load() ended the session of this future"))
    if left:
        print(f"Shoal: ended the previous session; {left} of its tasks had not finished.", file=sys.stderr)


def shoal_version() -> str:
    """The version that is installed; ``0`` in a source tree that is not."""
    try:
        return version("shoal")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"


@atexit.register
def _at_exit() -> None:
    """A script that ends with tasks unfinished says so, and leaves no process behind."""
    with _lock:
        left = 0
        for session in list(_all):
            if session.owns_process():
                left += session.close_on_exit(SessionClosed("the interpreter exited before this task ended"))
    if left:
        print(
            f"Shoal: {left} task{'' if left == 1 else 's'} had not finished at exit; "
            "end the program with session.wait() to let them.",
            file=sys.stderr,
        )
