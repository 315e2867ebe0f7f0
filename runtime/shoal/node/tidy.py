"""What a task changes of its process, and how that is undone for the next one.

Watched are the environment, as ``os.environ`` shows it, the umask, signal handlers, the signal mask and timers: the functions that
change them note that they were called, so that tasks that call none of them pay nothing. What a module changes while it is
imported stays, as the module does.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import FrameType
from typing import Any

import msgspec

from shoal.node.gear import Outfit

__all__ = ["Tidy"]

_IMPORTING = "<frozen importlib._bootstrap>"
_CHANGING = ("alarm", "pthread_sigmask", "setitimer", "siginterrupt", "signal")
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

_set_handler = signal.signal
_set_mask = signal.pthread_sigmask
_set_timer = signal.setitimer
_set_umask = os.umask


class Tidy:
    """Watches this process. There is one of them, made when all is as each task shall find it."""

    def __init__(self) -> None:
        self.altered = False
        """Whether there is something to undo."""
        self._environment = dict(os.environ)
        self._umask = _set_umask(0o77)
        _set_umask(self._umask)
        self._mask = _set_mask(signal.SIG_BLOCK, ())
        self._cpus = os.sched_getaffinity(0)
        self._bound = False
        _watch_environment(os.environ, self._variable_changed)
        _watch_environment(os.environb, lambda name: self._variable_changed(os.fsdecode(name)))
        for name in _CHANGING:
            setattr(signal, name, self._noting(getattr(signal, name), "signal"))
        os.umask = self._noting(os.umask, "os")
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def equip(self, text: bytes) -> None:
        """Give the attempt that is about to begin what its manager says.

        Args:
            text: a :class:`~shoal.node.gear.Outfit`.
        """
        outfit = msgspec.json.decode(text, type=Outfit)
        os.environ.update(outfit.environment)
        if outfit.cpus:
            self._bound = True
            _bind(set(outfit.cpus))
        self.altered = True

    def up(self) -> None:
        """Undo what was changed."""
        wanted = self._environment
        for name in [name for name in os.environ if name not in wanted]:
            with suppress(KeyError):  # a thread that was left running may change it, too
                del os.environ[name]
        for name, value in wanted.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        _set_umask(self._umask)
        for timer in _TIMERS:
            _set_timer(timer, 0)
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                with suppress(OSError, ValueError):  # those that nobody can change
                    _set_handler(number, handler)
        _set_mask(signal.SIG_SETMASK, self._mask)
        if self._bound:
            self._bound = False
            _bind(self._cpus)
        self.altered = False

    def _variable_changed(self, name: str) -> None:
        if not _importing():
            self.altered = True
        elif name in os.environ:
            self._environment[name] = os.environ[name]
        else:
            self._environment.pop(name, None)

    def _noting(self, function: Callable[..., Any], module: str) -> Callable[..., Any]:
        """The function, which notes that it was called."""

        @wraps(function)
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.altered = True
            return function(*args, **kwargs)

        noting.__module__ = module  # where it is found when it is pickled
        return noting


def _watch_environment(environment: Any, changed: Callable[[Any], None]) -> None:
    """Have ``changed`` called with the name of each variable that is set or removed."""
    kind = type(environment)

    def set_variable(self: Any, name: Any, value: Any) -> None:
        kind.__setitem__(self, name, value)
        changed(name)

    def remove_variable(self: Any, name: Any) -> None:
        kind.__delitem__(self, name)
        changed(name)

    methods = {"__setitem__": set_variable, "__delitem__": remove_variable, "__module__": kind.__module__}
    environment.__class__ = type(kind.__name__, (kind,), methods)


def _importing() -> bool:
    """Whether whoever calls is a module that is being imported."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _bind(cpus: set[int]) -> None:
    """Let all threads of this process run on these cores only."""
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has ended, or the core is gone
            os.sched_setaffinity(int(thread), cpus)
