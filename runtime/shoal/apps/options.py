"""The options of the decorators, checked where they are written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from shoal.errors import ConfigurationError, UnknownOption
from shoal.options import PLAIN, Backoff, TaskOptions, checked_label, checked_labels, checked_retries, checked_seconds
from shoal.resources import Resources
from shoal.session import Session

__all__ = ["AppOptions", "JoinOptions", "read_options"]


class JoinOptions(TypedDict, total=False):
    """Options of ``join_app``.

    Args:
        cache: keep results, and take them from the store where they are there.
        ignore_for_cache: names of arguments that make no difference to the result.
        retries: the budget for failures of one task: how many attempts are made beyond the first, where each costs 1;
            default: the session's.
        backoff: seconds before another attempt (twice as long before each further one), or a Backoff.
        label: the name of its tasks; default: the function's.
        session: the session that its tasks go to; default: the current one.
        data_flow_kernel: the same, by Parsl's name.
    """

    cache: bool
    ignore_for_cache: Sequence[str] | None
    retries: float | None
    backoff: float | Backoff | None
    label: str | None
    session: Session | None
    data_flow_kernel: Session | None


class AppOptions(JoinOptions, total=False):
    """Options of ``python_app`` and ``bash_app``.

    Args:
        executors: the label of an executor, labels to choose from, or ``"all"`` (default).
        walltime: seconds that an attempt may run.
        cores: CPU cores that a task keeps busy; default: 1.
        memory: bytes that it needs, or a text such as ``"2 GB"``.
        gpus: accelerators that it needs.
        priority: higher runs first.
        ranks: MPI processes that it starts.
    """

    executors: str | Sequence[str]
    walltime: float | None
    cores: float | None
    memory: int | str | None
    gpus: int | None
    priority: int | None
    ranks: int | None


_RESOURCES = ("cores", "memory", "gpus", "priority", "ranks")
_NAMES = {
    "python_app": sorted(AppOptions.__annotations__),
    "bash_app": sorted(AppOptions.__annotations__),
    "join_app": sorted(JoinOptions.__annotations__),
}


def read_options(decorator: str, given: Mapping[str, Any]) -> tuple[TaskOptions, Session | None]:
    """What is asked of an app's tasks, and the session that it is bound to.

    Args:
        decorator: ``python_app``, ``bash_app`` or ``join_app``.
        given: the options as they were written.

    Raises:
        UnknownOption: there is no such option.
        ConfigurationError: an option has a value that cannot work.
    """
    for name, value in given.items():
        if name not in _NAMES[decorator]:
            raise _unknown(decorator, name, value)
    found = {name: value for name, value in given.items() if value is not None}
    options: dict[str, Any] = {"join": True} if decorator == "join_app" else {}
    for name in _CHECKS.keys() & found.keys():
        try:
            options[name] = _CHECKS[name](found[name])
        except ConfigurationError as error:
            raise type(error)(f"{decorator}({name}=...)", found[name], error.fix) from None
    resources = {name: found[name] for name in _RESOURCES if name in found}
    if resources:
        options["resources"] = _resources(decorator, resources)
    session = found.get("session", found.get("data_flow_kernel"))
    if session is not None and not isinstance(session, Session):
        raise ConfigurationError(f"{decorator}(session=...)", session, "give a session, as shoal.load() returns it")
    return (TaskOptions(**options) if options else PLAIN), session


def _unknown(decorator: str, name: str, value: object) -> UnknownOption:
    known = _NAMES[decorator]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    if decorator == "join_app" and name in _NAMES["python_app"]:
        hint = ", since its body runs in the session itself; give it to the apps that it calls"
        return UnknownOption(f"{decorator}.{name}", value, f"there is no such option{hint}")
    return UnknownOption(f"{decorator}.{name}", value, f"there is no such option{hint} it has: {', '.join(known)}")


def _resources(decorator: str, given: dict[str, Any]) -> Resources:
    for name, value in given.items():
        try:
            Resources(**{name: value})
        except ConfigurationError as error:
            raise ConfigurationError(f"{decorator}({name}=...)", value, error.fix) from None
    return Resources(**given)


def _backoff(value: Any) -> Backoff:
    return value if isinstance(value, Backoff) else Backoff.of(checked_seconds("backoff", value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError("cache", value, "write True or False")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError("ignore_for_cache", value, "give a list of names of arguments")
    return tuple(value)


_CHECKS: dict[str, Any] = {
    "executors": checked_labels,
    "cache": _flag,
    "ignore_for_cache": _names,
    "retries": checked_retries,
    "backoff": _backoff,
    "walltime": lambda value: checked_seconds("walltime", value),
    "label": checked_label,
}
