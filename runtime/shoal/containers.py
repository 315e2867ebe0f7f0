"""Futures in nested lists, tuples, sets and dicts: finding them, and putting values in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

__all__ = ["find_futures", "replace_futures"]


def find_futures(tree: object) -> list[Future[Any]]:
    """The futures in nested lists, tuples, sets and dicts, each once, in the order found."""
    found: dict[int, Future[Any]] = {}
    stack: list[Any] = [tree]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, Future):
            found.setdefault(id(item), item)
        elif isinstance(item, list | tuple | set | frozenset | dict) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(reversed([*item.keys(), *item.values()] if isinstance(item, dict) else list(item)))
    return list(found.values())


def replace_futures(tree: Any, value_of: Callable[[Future[Any]], Any]) -> Any:
    """A copy of ``tree`` with each future replaced by ``value_of(future)``; parts without futures are not copied."""
    if isinstance(tree, Future):
        return value_of(tree)
    if isinstance(tree, dict):
        pairs = [(replace_futures(k, value_of), replace_futures(v, value_of)) for k, v in tree.items()]
        if all(k is a and v is b for (k, v), (a, b) in zip(pairs, tree.items(), strict=True)):
            return tree
        return type(tree)(pairs) if type(tree) is dict else _refill(tree, pairs)
    if isinstance(tree, list | tuple | set | frozenset):
        items = [replace_futures(item, value_of) for item in tree]
        if all(new is old for new, old in zip(items, tree, strict=True)):
            return tree
        return _rebuild(tree, items)
    return tree


def _rebuild(tree: Any, items: Iterable[Any]) -> Any:
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a named tuple takes its items one by one
        return type(tree)(*items)
    return type(tree)(items)


def _refill(tree: dict[Any, Any], pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Keep a dict subclass (and its default factory, its order) but not its contents."""
    copy = tree.copy()
    copy.clear()
    copy.update(pairs)
    return copy
