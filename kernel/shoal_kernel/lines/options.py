"""The lines of ``%%task``, ``%%parallel``, ``%%bash_task`` and ``%%localtask`` cells."""

from __future__ import annotations

import argparse
import difflib
import keyword
import math
import re
import shlex
from functools import cache
from typing import Any, NoReturn

import msgspec

from shoal.errors import CellError, ConfigurationError
from shoal.resources import Resources

__all__ = [
    "OPTIONS",
    "BashOptions",
    "CellOptions",
    "ParallelOptions",
    "TaskOptions",
    "parse_bash_options",
    "parse_options",
    "parse_parallel_options",
]

_NEEDS = {"cores": float, "memory": str, "gpus": int, "priority": int}
_COMMON = (
    "--name", "--executor", "--cores", "--memory", "--gpus", "--priority", "--retries", "--walltime", "--quiet",
)  # fmt: skip
_OF_TASK = ("-i", "--in", "-o", "--out", "--cache", "--after", "--env")
_OF_PARALLEL = ("--chunksize", "--fresh")
_OF_BASH = ("-o", "--in", "--out")
_OF_THREADS = ("-i", "--in", "-o", "--out", "--after", "--name", "--retries", "--quiet")

OPTIONS = {
    "%%task": (*_OF_TASK, *_COMMON),
    "%%parallel": (*_OF_PARALLEL, *_COMMON),
    "%%bash_task": (*_OF_BASH, *_COMMON),
    "%%localtask": _OF_THREADS,
    "%%join_task": _OF_THREADS,
}
"""The options of each cell magic."""


class CellOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What each cell that becomes a task can say.

    Args:
        name: the task's name in views and messages; empty for ``cell N``.
        executor: the label of an executor; empty for any.
        quiet: no line that says how the task is.
        resources: what it needs; None for one core.
        retries: attempts beyond the first; None for the session's.
        walltime: seconds that it may run; None for as long as it takes.
    """

    name: str = ""
    executor: str = ""
    quiet: bool = False
    resources: Resources | None = None
    retries: float | None = None
    walltime: float | None = None


class TaskOptions(CellOptions, frozen=True, kw_only=True):
    """What the line of a ``%%task`` cell says.

    Args:
        reads: the names to take along, instead of those that the cell is found to read; None to find them.
        writes: the names to bring back, instead of those that the cell is found to write; None to find them.
        cache: keep the result, and take it from the store if it is there.
        after: names and numbers of tasks to wait for.
        env: environment variables for the cell.
    """

    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None
    cache: bool = False
    after: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


class ParallelOptions(CellOptions, frozen=True, kw_only=True):
    """What the line of a ``%%parallel`` cell says after the name of its results.

    Args:
        chunksize: elements a task; None to choose.
        fresh: run all elements, also those whose values are known from the last run.
    """

    chunksize: int | None = None
    fresh: bool = False


class BashOptions(CellOptions, frozen=True, kw_only=True):
    """What the line of a ``%%bash_task`` cell says.

    Args:
        bind: the name that gets the future of the exit code; empty for none.
        inputs: files and names to wait for.
        outputs: files that the script makes.
    """

    bind: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


_WRONG = re.compile(r"argument (\S+?): invalid (\w+) value: '(.*)'", re.DOTALL)
_MISSING = re.compile(r"argument (\S+?): expected one argument")


class _Parser(argparse.ArgumentParser):
    known: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        if wrong := _WRONG.fullmatch(message):
            kind = "a whole number" if wrong[2] == "int" else "a number"
            kind = "a number of seconds" if wrong[1] == "--walltime" else kind
            raise CellError(f"{self.prog} {wrong[1]} {wrong[3]}: that is not {kind}", f"write {wrong[1]} 2")
        if missing := _MISSING.fullmatch(message):
            raise CellError(f"{self.prog} {missing[1]} has nothing after it", f"give {missing[1]} its value")
        raise CellError(f"{self.prog}: {message}", f"use {', '.join(self.known)}")


def _parser(magic: str, own: tuple[str, ...]) -> _Parser:
    parser = _Parser(prog=magic, add_help=False, allow_abbrev=False)
    parser.known = (*own, *_COMMON)
    parser.add_argument("--name", default="")
    parser.add_argument("--executor", default="")
    for name, kind in _NEEDS.items():
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--retries", type=float)
    parser.add_argument("--walltime", type=float)
    parser.add_argument("--quiet", action="store_true")
    return parser


def _read(parser: _Parser, line: str) -> Any:
    magic, known = parser.prog, parser.known
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise CellError(f"{magic}: {str(error).lower()} in '{line.strip()}'", "close the quotation") from None
    given, rest = parser.parse_known_args(words)
    if rest:
        near = difflib.get_close_matches(rest[0], known, n=1)
        hint = f"write {near[0]}; " if near else ""
        raise CellError(f"{magic} has no option '{rest[0]}'", f"{hint}it has {', '.join(known)}")
    return given


@cache
def _task_parser(magic: str) -> _Parser:
    """Making it takes most of a millisecond."""
    parser = _parser(magic, _OF_TASK)
    parser.add_argument("-i", "--in", dest="reads", action="append")
    parser.add_argument("-o", "--out", dest="writes", action="append")
    parser.add_argument("--cache", action="store_true")
    parser.add_argument("--after", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    return parser


def parse_options(line: str, magic: str = "%%task") -> TaskOptions:
    """Read the line of a ``%%task`` cell.

    Args:
        line: what stands after ``%%task``.
        magic: the magic, for errors.

    Raises:
        CellError: it says something that is no option, or an option has no value.
    """
    given = _read(_task_parser(magic), line)
    return TaskOptions(
        reads=_names(magic, "-i", given.reads),
        writes=_names(magic, "-o", given.writes),
        cache=given.cache,
        after=_parts(given.after),
        env=_environment(magic, given.env),
        **_common(magic, given),
    )


def parse_parallel_options(line: str) -> ParallelOptions:
    """Read what stands after ``-> NAME`` in the line of a ``%%parallel`` cell.

    Raises:
        CellError: as for :func:`parse_options`.
    """
    magic = "%%parallel"
    parser = _parser(magic, _OF_PARALLEL)
    parser.add_argument("--chunksize", default="auto")
    parser.add_argument("--fresh", action="store_true")
    given = _read(parser, line)
    options = ParallelOptions(chunksize=_chunksize(given.chunksize), fresh=given.fresh, **_common(magic, given))
    if options.retries and (options.chunksize or 1) > 1:
        raise CellError(
            "%%parallel: elements that share a task cannot be tried again alone", "leave --retries or --chunksize away"
        )
    return options


def _chunksize(given: str) -> int | None:
    if given == "auto":
        return None
    if not (given.isdecimal() and int(given) > 0):
        raise CellError(f"%%parallel --chunksize {given} cannot be", "use a whole number above 0, or auto")
    return int(given)


def parse_bash_options(line: str) -> BashOptions:
    """Read the line of a ``%%bash_task`` cell.

    Raises:
        CellError: as for :func:`parse_options`.
    """
    magic = "%%bash_task"
    parser = _parser(magic, _OF_BASH)
    parser.add_argument("-o", dest="bind")
    parser.add_argument("--in", dest="inputs", action="append", default=[])
    parser.add_argument("--out", dest="outputs", action="append", default=[])
    given = _read(parser, line)
    bound = _names(magic, "-o", [given.bind] if given.bind is not None else []) or ()
    if len(bound) > 1:
        raise CellError(f"%%bash_task -o {given.bind}: a script has one exit code", "give one name")
    return BashOptions(
        bind="".join(bound), inputs=_parts(given.inputs), outputs=_parts(given.outputs), **_common(magic, given)
    )


# --------------------------------------------------------------------------- values


def _common(magic: str, given: Any) -> dict[str, Any]:
    needs = {name: value for name in _NEEDS if (value := getattr(given, name)) is not None}
    return {
        "name": given.name,
        "executor": given.executor,
        "quiet": given.quiet,
        "resources": _resources(magic, needs),
        "retries": _checked(magic, "--retries", given.retries, 0.0),
        "walltime": _checked(magic, "--walltime", given.walltime, 1e-3),
    }


def _resources(magic: str, needs: dict[str, Any]) -> Resources | None:
    for name, value in needs.items():
        try:
            Resources(**{name: value})
        except ConfigurationError as error:
            raise CellError(f"{magic} --{name} {value} cannot be", error.fix) from None
    return Resources(**needs) if needs else None


def _checked(magic: str, option: str, number: float | None, least: float) -> float | None:
    if number is not None and not least <= number < math.inf:
        raise CellError(f"{magic} {option} {number:g} cannot be", "use a number above 0")
    return number


def _environment(magic: str, given: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals) or "\0" in value:
            raise CellError(f"{magic} --env {text}: that sets no environment variable", "write --env NAME=VALUE")
        pairs[name] = value
    return tuple(sorted(pairs.items()))


def _parts(given: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for text in given for part in text.split(",") if part.strip()))


def _names(magic: str, option: str, given: list[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = _parts(given)
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise CellError(f"{magic} {option}: '{name}' is not a variable's name", f"write {option} a,b")
    return names
