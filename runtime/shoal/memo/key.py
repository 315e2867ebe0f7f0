"""Keys of cached tasks: code with all that it reaches, arguments by content, the declared environment.

A key is begun when the task is submitted, with the arguments as they are then, and finished when the values of the futures
among them are there.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from importlib import metadata
from typing import Any, NamedTuple

from shoal.errors import NotMemoizable
from shoal.files import File
from shoal.memo.digest import Digester, Futures
from shoal.memo.frames import blob, bundle, digest, frame
from shoal.memo.functions import Records
from shoal.memo.gaps import Gaps, Part, filled
from shoal.memo.steps import Undigestible

__all__ = ["PartialKey", "finish_key", "start_key"]

_VERSION = b"shoal key 1"
"""Changes when keys are made in another way, so that results of before are not found."""

_INSIDE = "__shoal_"
_first = operator.itemgetter(0)
_PYTHON = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"


class PartialKey(NamedTuple):
    """All of a key but the values of futures.

    Args:
        parts: what the key is made of, with gaps for the values.
        futures: those among the arguments, in the order in which ``finish_key`` wants their values.
        label: the app's name.
        files: paths of the files that the task promises to make.
        streams: paths of the files that get what it prints.
    """

    parts: tuple[Part, ...]
    futures: tuple[Future[Any], ...]
    label: str
    files: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()


def start_key(  # noqa: PLR0913 - what a key is made of, each a thing of its own
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    label: str,
    *,
    outputs: Sequence[str] = (),
    ignore: Sequence[str] = (),
    environment: Sequence[str] = (),
    records: Records | None = None,
) -> PartialKey:
    """Begin the key of one call.

    Args:
        function: what is called.
        args: its arguments; futures may stand anywhere among them. Positional or by name, or left to a default, is all one.
        kwargs: those by name.
        label: the app's name.
        outputs: the names of the task's outputs.
        ignore: names of arguments that make no difference; a name that the function does not have is no mistake.
        environment: what else makes a difference: names of distributions (their versions count), ``env:NAME`` (the value of an
            environment variable counts), or any other text. Python's minor version always counts.
        records: what is known of the function from calls before; makes the next key of it quick.

    Raises:
        NotMemoizable: names the argument, or the captured variable, that has no digest.
    """
    futures: Futures = {}
    hidden: Futures = {}  # in what has no gaps
    digester = Digester(hidden, records=records)
    gaps = Gaps(digester.encode, futures)
    parts: list[Part]
    try:
        parts = [_VERSION, *_environment(environment), digester.encode(function)]
    except Undigestible as refused:
        raise NotMemoizable(refused.what or f"the function {label}", refused.type_name, refused.reason) from None
    parts.extend(blob(b"output", name.encode()) for name in outputs)
    files: tuple[str, ...] = ()
    for name, value in _arguments(function, args, kwargs):
        if name in ignore:
            continue
        promised = name == "outputs"
        if promised:
            files = tuple(_paths(value))
        parts.append(blob(b"argument", name.encode()))
        try:
            parts.append(
                Digester(hidden, outputs=True, records=records).encode(value) if promised else gaps.part(value)
            )
        except Undigestible as refused:
            what = f"argument {_shown(name)} of {label}"
            if refused.what:
                what = f"{refused.what} ({what})"
            raise NotMemoizable(what, refused.type_name, refused.reason) from None
    if not futures and not hidden:
        return PartialKey((_of(parts, ()),), (), label, files)
    whose = [future for _, future in (*futures.values(), *hidden.values())]
    parts.extend(range(len(futures), len(whose)))
    return PartialKey(tuple(parts), tuple(whose), label, files)


def finish_key(partial: PartialKey, values: Sequence[bytes]) -> bytes:
    """The key (32 bytes).

    Args:
        partial: its beginning.
        values: the encoding of the value of each of ``partial.futures``, in order.
    """
    return _of(partial.parts, values) if partial.futures else partial.parts[0]  # type: ignore[return-value]


def _of(parts: Sequence[Part], values: Sequence[bytes]) -> bytes:
    return digest(bundle(b"call", [filled(part, values) for part in parts]))


# --------------------------------------------------------------------------- arguments


def _arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The arguments by their names; by position where these are not known."""
    signature = _signature(function)
    inside = [(name, value) for name, value in kwargs.items() if name.startswith(_INSIDE)]
    if inside:  # what Shoal passes along is no argument of the user's function
        kwargs = {name: value for name, value in kwargs.items() if not name.startswith(_INSIDE)}
    if signature is not None:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # the call will fail by itself, and say why
            signature = None
    if signature is None:
        by_name = sorted(kwargs.items(), key=_first)
        return [*((f"#{index}", value) for index, value in enumerate(args)), *by_name, *inside]
    bound.apply_defaults()
    found = inside
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            found.extend(sorted(value.items(), key=_first))
        else:
            found.append((name, value))
    return found


_signatures: dict[int, tuple[weakref.ref[Any], Any, Any, inspect.Signature | None]] = {}


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    code, defaults = getattr(function, "__code__", None), getattr(function, "__defaults__", None)
    known = _signatures.get(id(function))
    if known is not None and known[0]() is function and known[1] is code and known[2] is defaults:
        return known[3]
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables of C tell nothing
        signature = None
    key = id(function)
    try:
        held = weakref.ref(function, functools.partial(_forget, key, _signatures))
    except TypeError:  # a callable of a class with slots
        return signature
    _signatures[key] = (held, code, defaults, signature)
    return signature


def _forget(key: int, signatures: dict[int, Any], _: object) -> None:
    signatures.pop(key, None)


def _paths(outputs: Any) -> list[str]:
    items = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [item.filepath for item in items if isinstance(item, File)]


def _shown(name: str) -> str:
    return str(int(name[1:]) + 1) if name.startswith("#") else f"'{name}'"


# --------------------------------------------------------------------------- environment


def _environment(declared: Sequence[str]) -> list[bytes]:
    parts = [blob(b"python", _PYTHON.encode())]
    for text in declared:
        kind, _, name = text.partition(":")
        if kind == "env" and name:
            value = os.environ.get(name)
            parts.append(blob(b"variable", name.encode()) + (b"unset:" if value is None else _text(b"set", value)))
        else:
            parts.append(frame(b"declared", _text(b"name", text) + _text(b"version", _installed(text))))
    return parts


def _text(tag: bytes, text: str) -> bytes:
    return blob(tag, text.encode("utf-8", "surrogateescape"))


@functools.cache
def _installed(name: str) -> str:
    """The version of a distribution; empty if there is none of that name."""
    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return ""
