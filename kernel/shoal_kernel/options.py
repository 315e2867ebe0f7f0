"""The line of a ``%%task`` cell."""

from __future__ import annotations

import argparse
import difflib
import math
import shlex
from typing import Any, NoReturn

import msgspec

from shoal.errors import CellError, ConfigurationError
from shoal.resources import Resources

__all__ = ["TaskOptions", "parse_options"]

_KNOWN = (
    "-i", "--in", "-o", "--out", "--name", "--executor", "--cores", "--memory", "--gpus", "--priority", "--retries",
    "--walltime", "--quiet",
)  # fmt: skip
_NEEDS = ("cores", "memory", "gpus", "priority")


class TaskOptions(msgspec.Struct, frozen=True):
    """What the line of a ``%%task`` cell says.

    Args:
        reads: the names to take along, instead of those that the cell is found to read; None to find them.
        writes: the names to bring back, instead of those that the cell is found to write; None to find them.
        name: the task's name in views and messages; empty for ``cell N``.
        executor: the label of an executor; empty for any.
        quiet: no line that says how the task is.
        resources: what it needs; None for one core.
        retries: attempts beyond the first; None for the session's.
        walltime: seconds that it may run; None for as long as it takes.
    """

    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None
    name: str = ""
    executor: str = ""
    quiet: bool = False
    resources: Resources | None = None
    retries: float | None = None
    walltime: float | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CellError(f"%%task: {message}", f"use {', '.join(_KNOWN)}")


def _parser() -> _Parser:
    parser = _Parser(prog="%%task", add_help=False, allow_abbrev=False)
    parser.add_argument("-i", "--in", dest="reads", action="append")
    parser.add_argument("-o", "--out", dest="writes", action="append")
    parser.add_argument("--name", default="")
    parser.add_argument("--executor", default="")
    parser.add_argument("--cores", type=float)
    parser.add_argument("--memory")
    parser.add_argument("--gpus", type=int)
    parser.add_argument("--priority", type=int)
    parser.add_argument("--retries", type=float)
    parser.add_argument("--walltime", type=float)
    parser.add_argument("--quiet", action="store_true")
    return parser


def parse_options(line: str) -> TaskOptions:
    """Read the line of a ``%%task`` cell.

    Args:
        line: what stands after ``%%task``.

    Raises:
        CellError: it says something that is no option, or an option has no value.
    """
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise CellError(f"%%task: {str(error).lower()} in '{line.strip()}'", "close the quotation") from None
    given, rest = _parser().parse_known_args(words)
    if rest:
        near = difflib.get_close_matches(rest[0], _KNOWN, n=1)
        hint = f"write {near[0]}; " if near else ""
        raise CellError(f"%%task has no option '{rest[0]}'", f"{hint}it has {', '.join(_KNOWN)}")
    return TaskOptions(
        _names("-i", given.reads), _names("-o", given.writes), given.name, given.executor, given.quiet,
        _resources({name: value for name in _NEEDS if (value := getattr(given, name)) is not None}),
        _checked("--retries", given.retries, 0.0), _checked("--walltime", given.walltime, 1e-3),
    )  # fmt: skip


def _resources(needs: dict[str, Any]) -> Resources | None:
    for name, value in needs.items():
        try:
            Resources(**{name: value})
        except ConfigurationError as error:
            raise CellError(f"%%task --{name} {value} cannot be", error.fix) from None
    return Resources(**needs) if needs else None


def _checked(option: str, number: float | None, least: float) -> float | None:
    if number is not None and not least <= number < math.inf:
        raise CellError(f"%%task {option} {number:g} cannot be", "use a number above 0")
    return number


def _names(option: str, given: list[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = [name.strip() for part in given for name in part.split(",") if name.strip()]
    for name in names:
        if not name.isidentifier():
            raise CellError(f"%%task {option}: '{name}' is not a variable's name", f"write {option} a,b")
    return tuple(dict.fromkeys(names))
