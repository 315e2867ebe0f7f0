"""Many calls at once: how they are put together to tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, SupportsIndex

import msgspec

from shoal.errors import ConfigurationError
from shoal.node.special import Special
from shoal.options import TaskOptions

__all__ = ["Chunks"]

_MOST = 10_000
"""About so many tasks are made at most, unless somebody says otherwise."""


class Chunks:
    """The calls of one ``map``.

    Args:
        decorator: for errors.
        iterables: give the arguments.
        chunksize: calls a task, or ``"auto"``.

    Attributes:
        items: the positional arguments of each call.
        size: calls a task.

    Raises:
        ConfigurationError: see :meth:`shoal.apps.App.map`.
    """

    def __init__(self, decorator: str, iterables: tuple[Any, ...], chunksize: object) -> None:
        if not iterables:
            raise ConfigurationError(f"{decorator}.map()", iterables, "give something to go through, as in f.map(xs)")
        for iterable in iterables:
            if not isinstance(iterable, Iterable) and not hasattr(type(iterable), "__getitem__"):
                fix = "give something to go through; what is the same for all calls goes by name"
                raise ConfigurationError(f"{decorator}.map(...)", iterable, fix)
        size = int(chunksize) if isinstance(chunksize, SupportsIndex) and not isinstance(chunksize, bool) else 0
        if size < 1 and chunksize != "auto":
            raise ConfigurationError(
                f"{decorator}.map(chunksize=...)", chunksize, "use a whole number above 0, or 'auto'"
            )
        self.items = list(zip(*iterables, strict=False))
        self.size = size or -(-len(self.items) // _MOST)

    @property
    def single(self) -> bool:
        """Whether each call is a task."""
        return self.size <= 1

    def allowed(self, options: TaskOptions, special: Special) -> bool:
        """Whether calls that are asked this may share a task: one that is answered alone may not."""
        plan = special.plan
        return not (options.cache or options.retries or special.files or plan.stdout or plan.stderr)

    def lists(self) -> Iterator[list[tuple[Any, ...]]]:
        """The calls of each task."""
        for start in range(0, len(self.items), self.size):
            yield self.items[start : start + self.size]

    def options(self, options: TaskOptions, length: int) -> TaskOptions:
        """What is asked of a task of so many calls."""
        return msgspec.structs.replace(options, each=True, outputs=_numbers(length), walltime=options.walltime * length)


@cache
def _numbers(length: int) -> tuple[str, ...]:
    return tuple(map(str, range(length)))
