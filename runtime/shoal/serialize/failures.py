"""Exceptions across processes: as themselves where that is possible, as text always.

An exception arrives with its own type, its message and its attributes, and with the remote traceback as its cause. One
whose constructor does not take its own arguments back is rebuilt without calling it. What still cannot travel arrives as
:class:`~shoal.errors.RemoteError`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from shoal.outcome import Failure
from shoal.serialize.pickling import Chunks, Pickler, attempt, try_dump

__all__ = ["RemoteTraceback", "name_files", "pack_failure", "unpack_failure"]

T = TypeVar("T")

_OWN_FILES = __file__.rpartition("serialize")[0]


class RemoteTraceback(Exception):
    """Where on a worker an exception was raised; the cause of the exception that ``result()`` raises.

    Args:
        text: the formatted traceback.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """The traceback, below the line that names this class."""
        return "\n\n" + self.text.rstrip()


# --------------------------------------------------------------------------- on the worker


def pack_failure(error: BaseException, skip_files: str = _OWN_FILES) -> Failure:
    """Describe an exception, and pickle it where that is possible.

    Args:
        error: the exception, with its traceback.
        skip_files: frames at the top of the traceback whose file begins with this are left out; default: Shoal's own.
            So are those of modules that define ``__shoal_inside__``.
    """
    trace = error.__traceback__
    while trace is not None and (
        trace.tb_frame.f_code.co_filename.startswith(skip_files) or "__shoal_inside__" in trace.tb_frame.f_globals
    ):
        trace = trace.tb_next
    if trace is not None:
        BaseException.with_traceback(error, trace)
    described = _guarded(lambda: Failure.of(error), None)
    if described is None:
        kind = type(error)
        described = Failure(
            type.__getattribute__(kind, "__name__"), "<it cannot be shown: its own methods end in errors>"
        )
    described.pickled = _pickled(error)
    return described


def _pickled(error: BaseException) -> bytes:
    for kind in (Pickler, _BarePickler):
        pickled = _guarded(partial(_dumped, kind, error), None)
        if pickled is not None:
            return pickled
    return b""


def _dumped(kind: type[Pickler], error: BaseException) -> bytes | None:
    return try_dump(lambda: _round_trip(kind, error))[0]


def _guarded(function: Callable[[], T], otherwise: T) -> T:
    """What ``function`` returns, or ``otherwise``. The one place that holds up whatever an exception's own code raises."""
    try:
        return function()
    except BaseException:  # noqa: BLE001  __str__, __reduce__ and the like may raise SystemExit, too: no reason to end
        return otherwise


def _round_trip(kind: type[Pickler], error: BaseException) -> bytes:
    """The pickled exception, which was seen to unpickle as what it was."""
    chunks = Chunks()
    pickler = kind(chunks, 5)
    pickler.context = error
    pickler.dump(error)
    pickled = b"".join(chunks)
    if type(pickle.loads(pickled)) is not type(error):
        raise pickle.PicklingError("it does not unpickle as its own type")
    return pickled


class _BarePickler(Pickler):
    """Writes the exception at hand without what cannot travel, to be rebuilt without its constructor."""

    def reducer_override(self, obj: Any) -> Any:
        if obj is self.context:
            args = tuple([arg if _travels(arg) else repr(arg) for arg in obj.args])
            state = {name: value for name, value in vars(obj).items() if _travels(value)}
            return (_make_bare, (type(obj), args), state or None)
        return super().reducer_override(obj)


def _travels(value: Any) -> bool:
    return attempt(lambda: Pickler(Chunks(), 5).dump(value))[1] is None


def _make_bare(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return kind.__new__(kind, *args)


# --------------------------------------------------------------------------- on the client


def unpack_failure(failure: Failure) -> BaseException:
    """The exception of a failure, its remote traceback as its cause.

    Args:
        failure: from :func:`pack_failure`.
    """
    error: Any = None
    if failure.pickled:
        with suppress(SystemExit):  # of its own code
            error, _ = attempt(lambda: pickle.loads(failure.pickled))
    if not isinstance(error, BaseException):
        error = failure.stand_in()
    if failure.lines:
        error.__cause__ = RemoteTraceback(_named(failure.traceback))
    return error  # type: ignore[no-any-return]


_name_of: Callable[[str], str] = str
_FILE = re.compile(r'^( *)File "([^"\n]+)", line', re.MULTILINE)


def name_files(name_of: Callable[[str], str]) -> None:
    """Say how files are called in remote tracebacks.

    Args:
        name_of: takes a file name to the name for people (``Cell In[3]``), or to itself.
    """
    global _name_of
    _name_of = name_of


def _named(text: str) -> str:
    def named(match: re.Match[str]) -> str:
        indent, file = match.groups()
        name = _name_of(file)
        return match.group() if name == file else f"{indent}{name}, line"

    return _FILE.sub(named, text)
