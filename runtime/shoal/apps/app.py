"""What an app is: a function, its options, and calls that become tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import FunctionType, MethodType
from typing import Any, ClassVar, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, overload

import msgspec

from shoal.apps.mapping import Chunks
from shoal.apps.options import read_options
from shoal.config import current
from shoal.errors import ShoalError
from shoal.futures import TaskFuture, ValueFuture
from shoal.node.bash import bash_function
from shoal.node.called import join_function, python_function
from shoal.node.special import KEY, PLAN, Special, Specials, name_of
from shoal.options import TaskOptions
from shoal.place import in_task
from shoal.resources import Resources
from shoal.serialize import FunctionImage, InlineApp
from shoal.session import Session

__all__ = ["App", "BashApp", "BoundApp", "JoinApp", "PythonApp"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class App(Generic[P, R]):
    """A function whose calls become tasks. Made by a decorator: :func:`python_app`, :func:`bash_app`, :func:`join_app`.

    Calling it returns a :class:`~shoal.futures.TaskFuture` at once. The plain function stays at ``__wrapped__``. In a task it
    runs in place, and its future is finished when it returns.

    Args:
        function: the function.
        options: as for the decorator.

    Raises:
        UnknownOption: there is no such option.
        ConfigurationError: an option has a value that cannot work.
    """

    decorator: ClassVar[str]
    kind: ClassVar[str]

    __wrapped__: Callable[P, Any]
    __name__: str

    def __init__(self, function: Callable[P, Any], **options: Any) -> None:
        plain, self._binds = _unwrapped(function)
        updated = ("__dict__",) if type(plain) is FunctionType else ()
        functools.update_wrapper(self, plain, updated=updated)
        self.__wrapped__ = plain
        self.__name__ = name_of(plain)
        self._options, self._session = read_options(self.decorator, options)
        self._label = self._options.label or self.__name__
        walltime = self._options.walltime
        self._specials = Specials(plain, self.kind, self._label, walltime)
        self._watched, self._first = self._specials.watched, self._specials.first
        self._worker = self._inline = _WORKERS[self.kind](plain, self._binds)
        self._image = FunctionImage(plain, self.__name__)
        self._worker_image = FunctionImage(self._worker, self.__name__)

    @property
    def __shoal_function__(self) -> Callable[..., Any]:
        """What runs where a task calls this app; tells the capture rule that this object is one."""
        return self._inline

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]: ...

    @overload
    def __call__(self, /, *args: Any, **kwargs: Any) -> TaskFuture[R]: ...

    def __call__(self, /, *args: Any, **kwargs: Any) -> TaskFuture[R]:
        """Submit one call to the session; inside a task, run it in place.

        Arguments may be futures, also nested in others; special keywords are read as :mod:`shoal.apps` tells.

        Raises:
            ShoalError: the call cannot become a task; nothing was submitted.
        """
        if in_task():
            return InlineApp(self._inline)(*args, **kwargs)  # type: ignore[return-value]
        try:
            session = self._session or current(start=True)
            if len(args) > self._first or (kwargs and not self._watched.isdisjoint(kwargs)):
                return self._enter_specially(session, self._specials.read(args, kwargs, session.log_name))
            return session.enter(self._image, args, kwargs, self._options)
        except ShoalError as error:
            raise error.with_traceback(None) from None  # the caller's line and the sentence, not our insides

    def map(
        self, /, *iterables: Iterable[Any], chunksize: int | Literal["auto"] = "auto", **fixed: Any
    ) -> list[ValueFuture[R]]:
        """Call the app for the elements of iterables, side by side as the built-in ``map`` does.

        Args:
            iterables: give the positional arguments; the shortest ends it, so at least one must be finite. Elements may be
                futures, or hold some.
            chunksize: how many calls make one task. ``"auto"``: one, but for more than 10,000 elements as many as give about
                that number of tasks. Calls of apps with ``retries`` or ``cache``, with files of their own, and those of bash
                and join apps are one task each. Where the session retries, a chunk in which a call failed is run again as a whole.
            fixed: keyword arguments of every call, special ones included. A ``walltime`` is one call's.

        Returns:
            A future for each element, in order. In a chunk each call has a value or an error of its own.

        Raises:
            ConfigurationError: ``chunksize`` is no number above 0, or there is nothing to go through.
            ShoalError: as for a call; the elements before have been submitted then.
        """
        chunks = Chunks(self.decorator, iterables, chunksize)
        if in_task() or chunks.single:
            return [self(*item, **fixed) for item in chunks.items]
        try:
            session = self._session or current(start=True)
            special = self._specials.read((), fixed, session.log_name)
            if self.kind != "python" or not chunks.allowed(self._options, special):
                return [self(*item, **fixed) for item in chunks.items]
            image, kwargs, options = self._read(special)
            futures: list[ValueFuture[R]] = []
            for items in chunks.lists():
                asked = chunks.options(options, len(items))
                futures.extend(session.enter(image, (items,), kwargs, asked).outputs.values())
        except ShoalError as error:
            raise error.with_traceback(None) from None
        return futures

    # ------------------------------------------------------------------ special keywords

    def _enter_specially(self, session: Session, special: Special) -> TaskFuture[R]:
        image, kwargs, options = self._read(special)
        return session.enter(image, special.args, kwargs, options)

    def _read(self, special: Special) -> tuple[FunctionImage, dict[str, Any], TaskOptions]:
        """The function, keyword arguments and options of a call whose special keywords have been read."""
        plan, options, kwargs = special.plan, self._options, special.kwargs
        changes: dict[str, Any] = {}
        if special.label:
            changes["label"] = special.label
        if special.resources:
            changes["resources"] = msgspec.structs.replace(options.resources or Resources(), **special.resources)
        if special.files:
            changes["files"] = special.files
        # the command of a bash app is ended by the worker's half, on threads too
        walltime = 0.0 if self.kind == "bash" else special.walltime
        if walltime != options.walltime:
            changes["walltime"] = walltime
        if plan.stdout or plan.stderr:
            changes["paths"] = tuple([stream.path if stream else "" for stream in (plan.stdout, plan.stderr)])
        image = self._image
        if self.kind == "bash" or plan.is_needed():
            image = self._worker_image
            kwargs = {**kwargs, PLAN: plan}
            if options.cache:
                plan = plan.ignoring(options.ignore_for_cache)
                kwargs[PLAN], kwargs[KEY] = plan.without_after(), plan.key(options.ignore_for_cache)
                changes["ignore_for_cache"] = (*options.ignore_for_cache, PLAN)
        return image, kwargs, msgspec.structs.replace(options, **changes) if changes else options

    # ------------------------------------------------------------------ being a function

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(
        self: App[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> BoundApp[Q, R]: ...  # fmt: skip

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the instance becomes the first argument."""
        if self._binds == "class":
            return BoundApp(self, owner if owner is not None else type(instance))
        return self if instance is None or not self._binds else BoundApp(self, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """As functions are: by name where plain pickle asks, and the same object in a copy."""
        return str(getattr(self, "__qualname__", self.__name__))

    def __repr__(self) -> str:
        """For people."""
        return f"<{self.decorator} {self.__name__}>"


class PythonApp(App[P, R]):
    """A Python function whose calls become tasks. Made by :func:`python_app`."""

    decorator = "python_app"
    kind = "python"


class BashApp(App[P, int]):
    """A function that makes a command, which becomes a task. Made by :func:`bash_app`."""

    decorator = "bash_app"
    kind = "bash"

    def __init__(self, function: Callable[P, Any], **options: Any) -> None:
        super().__init__(function, **options)
        self._first = -1  # each call has a plan, which tells the walltime; in a task there is none
        if self._options.walltime:
            self._inline = bash_function(self.__wrapped__, self._binds, self._options.walltime)


class JoinApp(App[P, R]):
    """A function that makes tasks, whose values its own task ends with. Made by :func:`join_app`."""

    decorator = "join_app"
    kind = "join"

    def __init__(self, function: Callable[P, Any], **options: Any) -> None:
        super().__init__(function, **options)
        self._image = self._worker_image  # what the body returns is looked at


_WORKERS: dict[str, Callable[[Callable[..., Any], str], Callable[..., Any]]] = {
    "python": python_function,
    "bash": bash_function,
    "join": join_function,
}


class BoundApp(Generic[P, R]):
    """An app as a method of an object: its first argument is given.

    Attributes:
        __func__: the app.
        __self__: the object.
    """

    def __init__(self, app: App[..., R], instance: object) -> None:
        functools.update_wrapper(self, app, updated=())
        self.__func__, self.__self__ = app, instance
        self.__wrapped__ = MethodType(app.__wrapped__, instance)

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]: ...

    @overload
    def __call__(self, /, *args: Any, **kwargs: Any) -> TaskFuture[R]: ...

    def __call__(self, /, *args: Any, **kwargs: Any) -> TaskFuture[R]:
        """Submit one call, as the app does."""
        return self.__func__(self.__self__, *args, **kwargs)

    def map(
        self, /, *iterables: Iterable[Any], chunksize: int | Literal["auto"] = "auto", **fixed: Any
    ) -> list[ValueFuture[R]]:
        """Call it for the elements of iterables, as :meth:`App.map` does."""
        columns = list(zip(*iterables, strict=False))
        return self.__func__.map(
            [self.__self__] * len(columns), *zip(*columns, strict=True), chunksize=chunksize, **fixed
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as what calls the app with its object; inside a task that is all there is to it."""
        return (functools.partial, (self.__func__, self.__self__))

    def __repr__(self) -> str:
        """For people."""
        return f"<bound {self.__func__!r} of {self.__self__!r}>"


def _unwrapped(function: Any) -> tuple[Callable[..., Any], str]:
    """The function to call, and what it becomes a method of: an ``instance``, the ``class`` or nothing."""
    if isinstance(function, staticmethod):
        return function.__func__, ""
    if isinstance(function, classmethod):
        return function.__func__, "class"
    if isinstance(function, App):
        return function.__wrapped__, function._binds
    binds = hasattr(type(function), "__get__") and not isinstance(function, MethodType | type)
    return function, "instance" if binds else ""
