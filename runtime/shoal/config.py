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
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import msgspec

from shoal.callbacks import call_back
from shoal.errors import ConfigurationError, DuplicateLabel, NoSession, SessionClosed, SessionReplaced
from shoal.events import EnvironmentSeen, RunStarted
from shoal.executors.executor import Executor
from shoal.executors.htex import HighThroughputExecutor
from shoal.executors.threads import ThreadPoolExecutor
from shoal.session import Session
from shoal.spec import Spec

__all__ = ["Config", "clear", "current", "load", "shoal_version"]

ExecutorSpec = HighThroughputExecutor | ThreadPoolExecutor


class Config(Spec, frozen=True):
    """What a session is made of.

    Args:
        executors: where tasks may run; each with a label of its own.
        run_dir: the folder that gets a folder for each run, with its event log.
        retries: how many more attempts a failed task gets, unless it says otherwise.
    """

    executors: Sequence[ExecutorSpec] = msgspec.field(default_factory=lambda: [HighThroughputExecutor()])
    run_dir: str = "shoal-runs"
    retries: int = 0

    def check(self) -> None:
        """At least one executor, labels that differ, a whole number of retries."""
        self.require(bool(self.executors), "executors", "give at least one executor")
        self.require(self.retries >= 0, "retries", "use 0 or more")
        labels = [executor.label for executor in self.executors]
        for label in labels:
            if labels.count(label) > 1:
                raise DuplicateLabel("Config.executors", label, f"two executors carry the label '{label}'; rename one")


_lock = threading.RLock()
_current: tuple[Config, Session] | None = None


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


def current(start: bool = False) -> Session:
    """The session that apps use.

    Args:
        start: load the default configuration, and say so, if there is none.

    Raises:
        NoSession: there is none, and ``start`` is False.
    """
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


def _running() -> Session | None:
    known = _current
    return known[1] if known is not None and not known[1].closed and known[1].owns_process() else None


def clear() -> None:
    """End the current session, if there is one. Its unfinished futures get :class:`~shoal.errors.SessionClosed`."""
    global _current
    with _lock:
        if _current is not None:
            session = _current[1]
            _current = None
            if session.owns_process():
                session.close()


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
        config=msgspec.json.encode(config).decode(),
    )
    try:
        session = Session(executors, run_id, Path(config.run_dir).absolute() / run_id, config.retries, started)
    except OSError as error:
        raise ConfigurationError("Config.run_dir", config.run_dir, f"choose a folder to write to ({error})") from error
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
        if _current is None or not _current[1].owns_process():
            return
        left = _current[1].close(SessionClosed("the interpreter exited before this task ended"))
    if left:
        print(
            f"Shoal: {left} tasks had not finished at exit; end the program with session.wait() to let them.",
            file=sys.stderr,
        )
