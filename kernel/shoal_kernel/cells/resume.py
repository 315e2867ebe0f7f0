"""What is known of the last run of a ``%%parallel`` cell, so that running it again runs only what failed or has changed.

An element is the same if the cell's code (comments and layout aside), what it reads of the notebook, by content, and the
element itself, by content, are. A future stands for its value, so the same future is the same. All is kept in the memory of
the kernel, for as long as the last few such cells need it.
"""

from __future__ import annotations

import ast
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from types import FunctionType
from typing import Any

from shoal.containers import replace_futures
from shoal.errors import NotMemoizable
from shoal.futures import ValueFuture
from shoal.memo.digest import content_digest
from shoal.outcome import Value

__all__ = ["Key", "Runs", "element_keys"]

Key = tuple[bytes, bytes]
"""Digests of the code of a cell, with what it reads, and of an element."""

_MANY = 16


def element_keys(
    tree: ast.Module, reach: FunctionType, given: dict[str, Any], names: Sequence[str], elements: Iterable[Any]
) -> tuple[list[Key | None], str]:
    """What tells whether an element is the same as one of the last run.

    Args:
        tree: the cell's code.
        reach: a function that captures what the cell reads.
        given: what it reads besides: futures, or what holds some.
        names: the names that an element binds.
        elements: their values.

    Returns:
        A key an element, None for one that has no digest; and why none has a key, if that is so.
    """
    try:
        code = content_digest((ast.dump(tree), tuple(names), reach, _fixed(given)))
    except NotMemoizable as error:
        what = error.what.partition(" used by ")[0]
        return [None for _ in elements], f"{what} has no digest of its content ({error.reason})"
    keys: list[Key | None] = []
    for element in elements:
        try:
            keys.append((code, content_digest(_fixed(element))))
        except NotMemoizable:
            keys.append(None)
    return keys, ""


def _fixed(tree: Any) -> Any:
    return replace_futures(tree, _identity)


def _identity(future: Future[Any]) -> tuple[Any, ...]:
    """What stands for a future: the task and its output. The number of its owner holds while the future is kept."""
    if isinstance(future, ValueFuture):
        place = getattr(future, "index", getattr(future, "filepath", -1))
        return ("future", id(future.owner), future.tid, place)
    return ("future", id(future))


class Runs:
    """The last runs of cells, by the name of their results."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, tuple[dict[Key, list[ValueFuture[Any]]], Any]] = OrderedDict()

    def known(self, results: str, keys: Sequence[Key | None]) -> list[ValueFuture[Any] | None]:
        """For each element the future of its value in the last run; None if it failed, was cancelled, or is another one."""
        kept = self._runs.get(results)
        if kept is None:
            return [None for _ in keys]
        futures = {key: list(its) for key, its in kept[0].items()}
        found: list[ValueFuture[Any] | None] = []
        for key in keys:
            its = futures.get(key) if key is not None else None
            future = its.pop(0) if its else None
            found.append(future if future is not None and _holds(future) else None)
        return found

    def keep(self, results: str, keys: Sequence[Key | None], futures: Sequence[ValueFuture[Any]], held: object) -> None:
        """Remember a run in the place of the one before.

        Args:
            results: the name.
            keys: of the elements.
            futures: of the elements.
            held: what the keys name by its place in memory, and so must stay.
        """
        by_key: dict[Key, list[ValueFuture[Any]]] = {}
        for key, future in zip(keys, futures, strict=True):
            if key is not None:
                by_key.setdefault(key, []).append(future)
        self._runs[results] = (by_key, held)
        self._runs.move_to_end(results)
        while len(self._runs) > _MANY:
            self._runs.popitem(last=False)


def _holds(future: ValueFuture[Any]) -> bool:
    return isinstance(future.outcome, Value) if future.done() else True
