"""Special keywords of a call: what it says to Shoal, and not (only) to its function.

``f(x, stdout="x.log", walltime=60)``: which names mean something is decided once, when the function becomes an app; a call
that has none of them is not looked at. It is here, and not with the apps, since an app that is called inside a task has
them too.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple, SupportsFloat

from shoal.containers import find_futures
from shoal.errors import ConfigurationError
from shoal.files import File
from shoal.outcome import clean
from shoal.resources import Resources

__all__ = ["AUTO_LOGNAME", "KEY", "PLAN", "Plan", "Special", "Specials", "Stream", "described", "name_of", "take_plan"]

AUTO_LOGNAME = -1
"""As ``stdout`` or ``stderr``: a file of the run's folder whose name Shoal chooses."""

PLAN = "__shoal_plan__"
"""The keyword under which a call's :class:`Plan` travels."""

KEY = "__shoal_key__"
"""The keyword under which those parts of a plan stand that make a difference to the result, where it is cached."""

_RESOURCES = ("cores", "memory", "gpus", "priority", "ranks")
_SPECIFICATION = "parsl_resource_specification"
_STREAMS = ("stdout", "stderr")
_NAMES = frozenset(("inputs", "outputs", *_STREAMS, "walltime", "label", *_RESOURCES, _SPECIFICATION))
_KEPT = {
    "python": frozenset(("outputs", "walltime", _SPECIFICATION)),
    "bash": frozenset(("outputs", *_STREAMS, "walltime", "label", _SPECIFICATION)),
    "join": frozenset(("outputs",)),
}
"""What keeps its meaning where the function takes it too."""

_NOT_OF_JOINS = _NAMES - {"inputs", "outputs", "label"}
_NEVER = 1 << 30


class Stream(NamedTuple):
    """A file for stdout or stderr.

    Args:
        path: absolute.
        mode: ``a``, ``w`` or ``x``.
        chosen: whether it makes no difference to the result where it is: Shoal has chosen the path, or the app ignores it.
    """

    path: str
    mode: str
    chosen: bool = False


class Plan(NamedTuple):
    """What the worker's half of a call has to know.

    Args:
        name: of the app, for errors.
        stdout, stderr: where the streams go; None where they are captured.
        walltime: seconds that a command may run; 0.0 for as long as it takes.
        outputs: absolute paths of files that must be there afterwards.
        after: values that were only waited for.
    """

    name: str
    stdout: Stream | None = None
    stderr: Stream | None = None
    walltime: float = 0.0
    outputs: tuple[str, ...] = ()
    after: Any = ()

    def is_needed(self) -> bool:
        """Whether a python function has to be wrapped for it."""
        return bool(self.stdout or self.stderr or self.outputs or self.after)

    def without_after(self) -> Plan:
        """The plan, without the values that were waited for."""
        return Plan(*self[:-1])

    def ignoring(self, names: Sequence[str]) -> Plan:
        """The plan of an app for which these of its arguments make no difference to the result."""
        out, err = [
            stream and Stream(stream.path, stream.mode, stream.chosen or name in names)
            for name, stream in zip(_STREAMS, (self.stdout, self.stderr), strict=True)
        ]
        return Plan(self.name, out, err, self.walltime, self.outputs, self.after)

    def key(self, ignored: Sequence[str] = ()) -> tuple[Any, ...]:
        """What of it makes a difference to the result, where these arguments make none."""
        streams = [None if s is None or s.chosen else s for s in (self.stdout, self.stderr)]
        outputs = () if "outputs" in ignored else self.outputs
        return (*streams, outputs, () if "inputs" in ignored else self.after)


class Special(NamedTuple):
    """A call whose special keywords have been read.

    Args:
        args, kwargs: what the function gets.
        label: the task's name; empty where the call gives none.
        resources: those of the fields of :class:`~shoal.resources.Resources` that the call gives.
        walltime: seconds; 0.0 where nothing is said.
        files: what it promises to make.
        plan: for the worker.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    label: str
    resources: dict[str, Any]
    walltime: float
    files: tuple[File, ...]
    plan: Plan


class Specials:
    """The special keywords of one app.

    Args:
        function: the app's function.
        kind: ``python``, ``bash`` or ``join``.
        name: the app's name, for errors.
        walltime: seconds for calls that do not say; 0.0 for none.

    Raises:
        ConfigurationError: a parameter has a future as its default.

    Attributes:
        watched: the keywords that mean something in a call.
        first: calls with more positional arguments than this mean something too; -1: all do.
    """

    def __init__(self, function: Callable[..., Any], kind: str, name: str, walltime: float = 0.0) -> None:
        self._name, self._walltime = name, walltime
        self._kind = kind
        parameters, takes_all = _parameters(function)
        for parameter, (_, default) in parameters.items():
            if find_futures(default):
                fix = "a future as a default would be one for all calls, whatever their session; give it in the call"
                raise self._refuse(parameter, default, fix)
        self._taken = frozenset(_NAMES if takes_all else _NAMES & parameters.keys())
        self.watched = _NAMES - self._taken | _KEPT[kind]
        # its parameters that mean something: they may be given by position, or by their default
        self._own = {name: spot for name, spot in parameters.items() if name in self.watched}
        standing = any(not _is_nothing(default) for _, default in self._own.values())
        self.first = -1 if standing else min((place for place, _ in self._own.values()), default=_NEVER)

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], log: Callable[[str, str], str]) -> Special:
        """Read a call.

        Args:
            args: as given.
            kwargs: as given.
            log: ``log(label, "")`` begins the paths that AUTO_LOGNAME stands for; empty where the text is to be captured.

        Raises:
            ConfigurationError: a special keyword has a value that cannot work.
        """
        left, rest = list(args), dict(kwargs)
        given = {name: value for name in self.watched if (value := self._value(name, args, kwargs)) is not None}
        for name in self.watched - self._taken:
            rest.pop(name, None)
        if self._kind == "join" and not _NOT_OF_JOINS.isdisjoint(given):
            name = min(_NOT_OF_JOINS & given.keys())
            raise self._refuse(
                name, given[name], "a join app runs in the session itself; give it to the apps that it calls"
            )
        label = self._label(given)
        paths = self._streams(given, label, log)
        files = self._files(given)
        walltime = self._walltime_of(given)
        resources = self._resources(given)
        if "outputs" in self._taken and files:
            self._pass_on(left, rest, "outputs", list(files))
        for name, stream in paths.items():
            if name in self._taken and stream is not None:
                with_mode = isinstance(given[name], tuple | list)
                self._pass_on(left, rest, name, stream[:2] if with_mode else stream.path)
        plan = Plan(
            label or self._name, paths.get("stdout"), paths.get("stderr"), walltime if self._kind == "bash" else 0.0,
            tuple([file.filepath for file in files]), given.get("inputs", ()),
        )  # fmt: skip
        return Special(tuple(left), rest, label, resources, walltime, files, plan)

    def _value(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if name in kwargs or name not in self._own:
            return kwargs.get(name)
        place, default = self._own[name]
        return args[place] if place < len(args) else default

    def _pass_on(self, args: list[Any], kwargs: dict[str, Any], name: str, value: Any) -> None:
        place = self._own[name][0] if name in self._own else _NEVER
        if place < len(args):
            args[place] = value
        else:
            kwargs[name] = value

    def _refuse(self, name: str, value: object, fix: str) -> ConfigurationError:
        return ConfigurationError(f"{self._name}({name}=...)", value, fix)

    # ------------------------------------------------------------------ one each

    def _streams(
        self, given: Mapping[str, Any], label: str, log: Callable[[str, str], str]
    ) -> dict[str, Stream | None]:
        base = cache(lambda: log(label or self._name, ""))  # one for both
        found = {name: self._stream(name, given[name], base) for name in _STREAMS if name in given}
        out, err = found.get("stdout"), found.get("stderr")
        if out is not None and err is not None and out.path == err.path and out.mode != err.mode:
            raise self._refuse("stderr", given["stderr"], f"it shares the file of stdout, so use its mode '{out.mode}'")
        return found

    def _stream(self, name: str, value: Any, base: Callable[[], str]) -> Stream | None:
        mode = "a"
        if isinstance(value, tuple | list) and len(value) == 2:
            value, mode = value
            letters = sorted(mode.replace("t", "").replace("b", "").replace("+", "")) if isinstance(mode, str) else []
            if letters not in (["a"], ["w"], ["x"]):
                raise self._refuse(name, (value, mode), "use a mode to write in: 'a', 'w' or 'x'")
            mode = letters[0]
        if type(value) is int and value == AUTO_LOGNAME:
            path = base()
            return Stream(path + name, mode, True) if path else None
        if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str) or not os.fspath(value):
            raise self._refuse(name, value, "give a path, (path, mode), or shoal.AUTO_LOGNAME")
        return Stream(value.filepath if isinstance(value, File) else File(value).filepath, mode)

    def _files(self, given: Mapping[str, Any]) -> tuple[File, ...]:
        outputs = given.get("outputs", ())
        right = isinstance(outputs, list | tuple) and all(isinstance(item, str | os.PathLike) for item in outputs)
        if not right:
            if "outputs" in self._taken:
                return ()  # the function's own, and none of ours
            raise self._refuse("outputs", outputs, "give a list of files: shoal.File or paths")
        files = tuple([item if isinstance(item, File) else File(item) for item in outputs])
        if len(set(files)) < len(files):
            raise self._refuse("outputs", outputs, "name each file once")
        return files

    def _walltime_of(self, given: Mapping[str, Any]) -> float:
        if "walltime" not in given:
            return self._walltime
        seconds = given["walltime"]
        number = float(seconds) if isinstance(seconds, SupportsFloat) and not isinstance(seconds, bool) else math.nan
        if not (math.isfinite(number) and number > 0):
            raise self._refuse("walltime", seconds, "use a number of seconds above 0")
        return number

    def _label(self, given: Mapping[str, Any]) -> str:
        label = given.get("label", "")
        if not isinstance(label, str):
            raise self._refuse("label", label, "give a text")
        return clean(label)

    def _resources(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = self._specification(given.get(_SPECIFICATION))
        for name in _RESOURCES:
            if name in given:
                found[name] = self._resource(name, given[name], name, given[name])
        return found

    def _resource(self, name: str, value: Any, keyword: str, shown: Any) -> Any:
        try:
            return getattr(Resources(**{name: value}), name)
        except ConfigurationError as error:
            raise self._refuse(keyword, shown, error.fix) from None

    def _specification(self, given: Any) -> dict[str, Any]:
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            raise self._refuse(_SPECIFICATION, given, "give a dict, as in {'cores': 2, 'memory': 1000}")
        found: dict[str, Any] = {}
        for name, value in given.items():
            if name == "running_time_min":
                raise self._refuse(_SPECIFICATION, given, f"instead of '{name}' use walltime=seconds")
            if name not in _RESOURCES:
                fix = f"'{name}' is not looked after; use cores, memory, gpus, priority, ranks"
                raise self._refuse(_SPECIFICATION, given, fix)
            number = self._resource(name, value, _SPECIFICATION, given)
            # memory is in MB there, and the lower priority runs first
            found[name] = number * 10**6 if name == "memory" else -number if name == "priority" else number
        return found


def _is_nothing(default: object) -> bool:
    return default is None or (isinstance(default, tuple | list | dict | str) and not default)


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, tuple[int, Any]], bool]:
    """The places and defaults of a function's parameters (None for no default), and whether it takes any keyword."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables of C tell nothing
        return {}, False
    found: dict[str, tuple[int, Any]] = {}
    for place, p in enumerate(parameters):
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            default = None if p.default is p.empty else p.default
            found[p.name] = (place if p.kind is p.POSITIONAL_OR_KEYWORD else _NEVER, default)
    return found, any(p.kind is p.VAR_KEYWORD for p in parameters)


def name_of(function: Callable[..., Any]) -> str:
    """What a callable is called: a partial as what it calls, an object as its class."""
    while not hasattr(function, "__name__") and callable(inner := getattr(function, "func", None)):
        function = inner
    return str(getattr(function, "__name__", type(function).__name__))


def take_plan(
    function: Callable[..., Any], kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], walltime: float = 0.0
) -> tuple[tuple[Any, ...], dict[str, Any], Plan]:
    """The arguments that a function gets, and the plan of the call.

    Args:
        function: the app's function.
        kind: as for :class:`Specials`.
        args: the arguments of the call.
        kwargs: likewise; with the plan that the client has made, or, in a call inside a task, with special keywords.
        walltime: seconds of a call inside a task that does not say; 0.0 for none.

    Raises:
        ConfigurationError: a special keyword has a value that cannot work.
    """
    kwargs.pop(KEY, None)
    plan = kwargs.pop(PLAN, None)
    if plan is not None:
        return args, kwargs, plan
    name = name_of(function)
    if not _may_be_special(function, kwargs):
        return args, kwargs, Plan(name, walltime=walltime)
    special = Specials(function, kind, name, walltime).read(args, kwargs, _captured)
    return special.args, special.kwargs, special.plan


def _captured(_label: str, _stream: str) -> str:
    return ""


def _may_be_special(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> bool:
    if not _NAMES.isdisjoint(kwargs):
        return True
    return type(function) is not FunctionType or not _NAMES.isdisjoint(function.__code__.co_varnames)


def described(value: object) -> str:
    """A value that is not what it should be, for an error: ``not an int``."""
    if value is None:
        return "not None"
    noun = type(value).__name__
    return f"not {'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
