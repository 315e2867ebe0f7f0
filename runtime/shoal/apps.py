"""Apps: functions whose calls become tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

from shoal.config import current
from shoal.errors import ConfigurationError, ShoalError, UnknownOption
from shoal.futures import TaskFuture
from shoal.place import in_task
from shoal.serialize import FunctionImage, InlineApp
from shoal.session import checked_retries

__all__ = ["PythonApp", "python_app"]

P = ParamSpec("P")
R = TypeVar("R")


class PythonApp(Generic[P, R]):
    """A function whose calls become tasks. Made by :func:`python_app`.

    Calling it returns a :class:`~shoal.futures.TaskFuture` at once. The plain function stays at ``__wrapped__``. Inside a
    task an app runs in place, and its future is finished when it returns.

    Args:
        function: the function.
        executors: a label, labels to choose from, or ``"all"``.
        retries: attempts beyond the first; None for the session's.
    """

    def __init__(
        self, function: Callable[P, R], executors: str | Sequence[str] = "all", retries: int | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self._image = FunctionImage(function, getattr(function, "__name__", None))
        self._executors = executors if isinstance(executors, str) else tuple(executors)
        self._retries = None if retries is None else checked_retries(retries)

    @property
    def __shoal_function__(self) -> Callable[P, R]:
        """The plain function; tells the capture rule that this object is an app."""
        return self.__wrapped__  # type: ignore[no-any-return, attr-defined]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]:
        """Submit one call to the current session; inside a task, run it in place.

        Raises:
            ShoalError: the call cannot become a task; nothing was submitted.
        """
        if in_task():
            return InlineApp(self.__wrapped__)(*args, **kwargs)  # type: ignore[return-value, attr-defined]
        try:
            return self._submit(args, kwargs)
        except ShoalError as error:
            raise error.with_traceback(None) from None  # the caller's line and the sentence, not our insides

    def _submit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskFuture[R]:
        return current(start=True).submit(self._image, args, kwargs, executors=self._executors, retries=self._retries)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """As a method: the instance becomes the first argument."""
        call: Callable[..., Any] = self
        return call if instance is None else functools.partial(call, instance)

    def __repr__(self) -> str:
        """For people."""
        return f"<python_app {self._image.label}>"


@overload
def python_app(function: Callable[P, R]) -> PythonApp[P, R]: ...


@overload
def python_app(
    *, executors: str | Sequence[str] = "all", retries: int | None = None
) -> Callable[[Callable[P, R]], PythonApp[P, R]]: ...


def python_app(
    function: Callable[P, R] | None = None, **options: Any
) -> PythonApp[P, R] | Callable[[Callable[P, R]], PythonApp[P, R]]:
    """Make a function an app, as ``@python_app`` or ``@python_app(option=...)``.

    Args:
        function: the function; its calls become tasks.
        options: ``executors``: a label, labels to choose from, or ``"all"`` (default).
            ``retries``: attempts beyond the first; default: the session's.

    Raises:
        UnknownOption: there is no such option.
        ConfigurationError: ``function`` cannot be called.
    """
    for name, value in options.items():
        if name not in ("executors", "retries"):
            raise UnknownOption(f"python_app.{name}", value, "there is no such option; it has: executors, retries")
    if function is None:
        return lambda f: python_app(f, **options)
    if not callable(function):
        raise ConfigurationError(
            "python_app(...)", function, "decorate a function, or write @python_app(executors=[...])"
        )
    return PythonApp(function, **options)
