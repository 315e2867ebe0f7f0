"""The decorators."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from shoal.apps.app import App, BashApp, JoinApp, PythonApp
from shoal.apps.options import AppOptions, JoinOptions, read_options
from shoal.errors import ConfigurationError

__all__ = ["bash_app", "join_app", "python_app"]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=App[..., Any])


class _MakePython(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> PythonApp[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> PythonApp[P, R]: ...


class _MakeBash(Protocol):
    def __call__(self, function: Callable[P, Any], /) -> BashApp[P]: ...


class _MakeJoin(Protocol):
    def __call__(self, function: Callable[P, Any], /) -> JoinApp[P, Any]: ...


@overload
def python_app(
    function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[AppOptions]
) -> PythonApp[P, R]: ...  # fmt: skip


@overload
def python_app(function: Callable[P, R], /, **options: Unpack[AppOptions]) -> PythonApp[P, R]: ...


@overload
def python_app(**options: Unpack[AppOptions]) -> _MakePython: ...


def python_app(function: Any = None, /, **options: Any) -> Any:
    """Make a function an app, as ``@python_app``, ``@python_app(option=...)`` or ``python_app(f, option=...)``.

    Its calls become tasks. An asynchronous function is awaited where it runs.

    Args:
        function: the function, or anything else that can be called: of a library, a method, a partial, an object.
        options: see :class:`~shoal.apps.AppOptions`: executors, cache, ignore_for_cache, retries, backoff, walltime, label,
            cores, memory, gpus, priority, ranks, session.

    Raises:
        UnknownOption: there is no such option.
        ConfigurationError: ``function`` cannot be called, or an option has a value that cannot work.

    Calls take special keywords besides the function's own, see :mod:`shoal.apps`.
    """
    return _decorate(PythonApp, function, options)


@overload
def bash_app(function: Callable[P, Any], /, **options: Unpack[AppOptions]) -> BashApp[P]: ...


@overload
def bash_app(**options: Unpack[AppOptions]) -> _MakeBash: ...


def bash_app(function: Any = None, /, **options: Any) -> Any:
    """Make a function that returns a command an app whose calls run the command with bash.

    The function runs where the task does, and returns the command as a text; nothing is filled into that text later, so
    build it with an f-string, and quote what is not yours with :func:`shlex.quote`. The value of its task is 0. The command
    is ended with its task, and so is what it has left in the background, unless that was started by ``setsid``.

    Args:
        function: as for :func:`python_app`.
        options: likewise. ``walltime`` is that of the command, and is kept on threads too.

    Raises:
        UnknownOption: there is no such option.
        ConfigurationError: ``function`` cannot be called, or an option has a value that cannot work.
    """
    return _decorate(BashApp, function, options)


@overload
def join_app(function: Callable[P, Any], /, **options: Unpack[JoinOptions]) -> JoinApp[P, Any]: ...


@overload
def join_app(**options: Unpack[JoinOptions]) -> _MakeJoin: ...


def join_app(function: Any = None, /, **options: Any) -> Any:
    """Make a function that calls apps an app, whose task ends with the values of the futures that it returns.

    The function runs on a thread of the session: what it decides can depend on values that were computed before, and no
    worker waits meanwhile. It returns a future, or lists, tuples, sets and dicts with futures in them, however deep.

    Args:
        function: as for :func:`python_app`.
        options: see :class:`~shoal.apps.JoinOptions`: cache, ignore_for_cache, retries, backoff, label, session.

    Raises:
        UnknownOption: there is no such option.
        ConfigurationError: ``function`` cannot be called, or an option has a value that cannot work.
    """
    return _decorate(JoinApp, function, options)


def _decorate(kind: type[A], function: Any, options: dict[str, Any]) -> A | Callable[[Any], A]:
    if function is None:
        read_options(kind.decorator, options)  # a mistake shows where it is written
        return lambda f: _made(kind, f, options)
    return _made(kind, function, options)


def _made(kind: type[A], function: Any, options: dict[str, Any]) -> A:
    if not callable(function) and not isinstance(function, classmethod):
        name = kind.decorator
        raise ConfigurationError(f"{name}(...)", function, f"decorate a function, or write @{name}(retries=2)")
    return kind(function, **options)
