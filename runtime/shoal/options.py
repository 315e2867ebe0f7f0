"""What is asked of a task besides its function and arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

import msgspec

from shoal.errors import ConfigurationError
from shoal.files import File
from shoal.outcome import clean
from shoal.resources import Resources

__all__ = [
    "PLAIN",
    "Backoff",
    "TaskOptions",
    "checked_label",
    "checked_labels",
    "checked_outputs",
    "checked_retries",
    "checked_seconds",
]


class Backoff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait before another attempt: longer after each one.

    Args:
        first: seconds before the second attempt.
        factor: each further wait is so many times as long.
        most: seconds that no wait exceeds.

    Raises:
        ConfigurationError: a number that cannot be.
    """

    first: float = 0.0
    factor: float = 2.0
    most: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what is no time to wait."""
        for field, given, low in (("first", self.first, 0.0), ("factor", self.factor, 1.0), ("most", self.most, 0.0)):
            number: object = given  # whatever the caller wrote
            if not (isinstance(number, int | float) and low <= number < math.inf):
                raise ConfigurationError(f"Backoff.{field}", number, f"use a number, {low:g} or more")

    @classmethod
    def of(cls, seconds: float) -> Backoff:
        """So many seconds before the second attempt, and twice as long before each further one."""
        return cls(first=seconds, most=max(seconds, 60.0))

    def delay(self, attempt: int) -> float:
        """Seconds to wait after attempt ``attempt`` (from 1) has failed."""
        try:
            return min(self.most, self.first * float(self.factor) ** (attempt - 1))
        except OverflowError:
            return self.most


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a task. Apps make it once; each call may change some of it (``msgspec.structs.replace``).

    Args:
        label: the name shown; empty for the function's.
        executors: ``"all"``, or labels to choose from.
        outputs: names of several outputs; empty for one unnamed.
        files: files that the task promises to make; ``future.outputs`` has a DataFuture for each.
        resources: what an attempt needs; None for one core.
        retries: the budget of failures (the sum of their costs) after which no other attempt is made; None: the session's.
        backoff: the wait before another attempt; None: the session's.
        walltime: seconds that an attempt may run; 0.0 for as long as it takes.
        cache: keep the result, and take it from the store if it is there.
        ignore_for_cache: names of arguments that make no difference to the result.
        join: the function returns futures; the task ends when they do. It runs on a thread of the session.
        each: call the function once for each item of its first argument, a list of argument tuples; one output each.
        paths: files that the task writes its stdout and stderr to (absolute; empty where captured), for ``future.stdout``.
        hold: the submission may be held while too many tasks are unfinished.
    """

    label: str = ""
    executors: str | tuple[str, ...] = "all"
    outputs: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    resources: Resources | None = None
    retries: float | None = None
    backoff: Backoff | None = None
    walltime: float = 0.0
    cache: bool = False
    ignore_for_cache: tuple[str, ...] = ()
    join: bool = False
    each: bool = False
    paths: tuple[str, str] = ("", "")
    hold: bool = True


PLAIN = TaskOptions()
"""Nothing in particular is asked."""


# --------------------------------------------------------------------------- what people write


def checked_label(label: object) -> str:
    """The name of a task.

    Raises:
        ConfigurationError: it is no text.
    """
    if not isinstance(label, str) or not label:
        raise ConfigurationError("label", label, "give a text")
    return clean(label)


def checked_labels(wanted: object) -> str | tuple[str, ...]:
    """Labels of executors.

    Raises:
        ConfigurationError: it is no label, and no list of them.
    """
    if isinstance(wanted, str):
        return wanted
    if isinstance(wanted, Sequence) and all(isinstance(label, str) for label in wanted):
        return tuple(wanted)
    raise ConfigurationError("executors", wanted, "give a label, a list of labels, or 'all'")


def checked_outputs(outputs: object) -> tuple[str, ...]:
    """The names of outputs.

    Raises:
        ConfigurationError: it is no list of names that differ.
    """
    if isinstance(outputs, str) or not isinstance(outputs, Sequence):
        raise ConfigurationError("outputs", outputs, "give a list of names, as in outputs=['model', 'score']")
    for name in outputs:
        if not isinstance(name, str) or not name or outputs.count(name) > 1:
            raise ConfigurationError("outputs", outputs, "each output needs a name (a text) of its own")
    return tuple(map(clean, outputs))


def checked_retries(retries: object) -> float:
    """The budget of retries.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(retries, int | float) or isinstance(retries, bool) or not 0 <= retries < math.inf:
        raise ConfigurationError("retries", retries, "use a number, 0 or more")
    return retries


def checked_seconds(field: str, seconds: object) -> float:
    """A time.

    Args:
        field: the name of the option, for the error.
        seconds: any kind of number.

    Raises:
        ConfigurationError: it is no number above 0.
    """
    value = float(seconds) if isinstance(seconds, SupportsFloat) and not isinstance(seconds, bool) else 0.0
    if not 0 < value < math.inf:
        raise ConfigurationError(field, seconds, "use a number of seconds above 0")
    return value
