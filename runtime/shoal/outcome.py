"""What an attempt ends with: a :class:`Value` or a :class:`Failure`; a task may also end as :class:`Skipped`.

A value that crossed a wire stays packed (a :class:`Payload`) until the caller of ``result()`` reads it;
session and interchange pass it on as it is. A failure carries the remote traceback as text and, where it
could be pickled, the exception itself, so that ``except`` works as at home.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from shoal.errors import RemoteError, TaskError

__all__ = [
    "Failure",
    "Held",
    "JoinFailed",
    "Outcome",
    "Packed",
    "Payload",
    "Raised",
    "Skipped",
    "TracebackLine",
    "Value",
    "Woven",
    "clean",
    "in_one_line",
    "split_outputs",
]


class Payload(msgspec.Struct, array_like=True, gc=False):
    """A pickled object: the pickle stream and the buffers that it keeps out of band (protocol 5).

    ``head`` and each of ``buffers`` is bytes-like, or an :class:`~shoal.wire.frames.Outside` that
    the codec moves to a frame of its own. No hop between submission and ``result()`` looks inside.
    """

    head: Any
    buffers: tuple[Any, ...] = ()

    def nbytes(self) -> int:
        """Size in bytes, head and buffers. What came over a wire and is no buffer at all has none."""
        try:
            size = len(self.head)
            if not self.buffers:
                return size
            for buffer in self.buffers:
                size += memoryview(buffer).nbytes if isinstance(buffer, memoryview) else len(buffer)
        except TypeError:
            return 0
        return size


class Packed(msgspec.Struct, gc=False):
    """A value that came from elsewhere, as the bytes that arrived.

    The cyclic garbage collector need not look at it: of these there are as many as finished tasks.
    """

    payload: Payload


class Held:
    """A value that was made in this process: the object itself.

    Args:
        object: the value.
    """

    __slots__ = ("object",)

    def __init__(self, object: Any) -> None:
        self.object = object


class Woven(Held):
    """A value made of others: a structure with futures in it, put together when it is asked for.

    Args:
        weave: makes the object; called in the thread that asks first.
        parts: the values that it is made of.
    """

    __slots__ = ("_made", "_parts", "_weave")

    def __init__(self, weave: Callable[[], Any], parts: Sequence[Outcome | None] = ()) -> None:
        self._weave: Callable[[], Any] | None = weave
        self._parts = [part for part in parts if isinstance(part, Woven)]
        self._made: Any = None

    @property
    def object(self) -> Any:
        """The object; made once, and then what it was made of is let go."""
        stack = [self]
        while stack:  # its parts come first, one by one: a graph may be nested deeper than calls can be
            unmade = [part for part in stack[-1]._parts if part._weave is not None]
            if unmade:
                stack += unmade
            else:
                stack.pop()._make()
        return self._made

    def _make(self) -> None:
        weave = self._weave
        if weave is not None:
            self._made = weave()
            self._weave = None
            self._parts = []


Value = Packed | Held
"""One output of a task."""


class TracebackLine(msgspec.Struct, frozen=True, array_like=True):
    """One frame of a remote traceback.

    Args:
        file: the file, or the notebook cell as users know it.
        line: the 1-based line number.
        function: the name of the function.
        text: the source line, stripped; empty where unknown.
    """

    file: str
    line: int
    function: str
    text: str = ""


class Failure(msgspec.Struct, array_like=True):
    """Why an attempt has no value.

    Args:
        type_name: qualified name of the exception type.
        message: ``str()`` of the exception.
        traceback: the formatted remote traceback, chained causes included.
        lines: the innermost traceback's frames, outermost first.
        pickled: the exception itself, pickled; empty where it could not be.
        lost: True when the attempt was cut off (worker, manager or pool lost), not failed by the task's own code.
    """

    type_name: str
    message: str
    traceback: str = ""
    lines: list[TracebackLine] = []
    pickled: bytes = b""
    lost: bool = False

    def __post_init__(self) -> None:
        """Text that is not Unicode (a file name that does not decode, say) must not stop a message."""
        self.type_name, self.message = clean(self.type_name), clean(self.message)
        self.traceback = clean(self.traceback)

    @classmethod
    def of(cls, error: BaseException, pickled: bytes = b"", lost: bool = False) -> Failure:
        """Describe an exception that was caught here.

        Args:
            error: the exception, with its ``__traceback__``.
            pickled: the exception as bytes, where the caller could pickle it.
            lost: see the class.
        """
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        frames = traceback.extract_tb(error.__traceback__)
        lines = [TracebackLine(clean(f.filename), f.lineno or 0, f.name, clean(f.line or "")) for f in frames]
        text = "".join(traceback.format_exception(error))
        return cls(name, _message(error), text, lines, pickled, lost)

    def stand_in(self) -> RemoteError:
        """An exception that says the same, for where the original cannot be rebuilt."""
        return RemoteError(self.type_name, self.message)


class Raised:
    """An attempt that failed in this very process: the exception itself.

    Args:
        error: the exception.

    Attributes:
        traceback: as it was then; raising the exception again adds to its own.
        line: type and message in one line.
    """

    __slots__ = ("error", "line", "traceback")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.traceback = error.__traceback__
        # now, in the thread that made it: an exception's text is the user's code
        self.line = _first_line(type(error).__qualname__, _message(error))


class Skipped:
    """A task that never ran because an input failed.

    Args:
        root: how the first task of the chain failed.
        path: labels from the direct input to the task that failed first.
        left_out: how many labels were taken out of the middle of the path.
    """

    __slots__ = ("_left_out", "_path", "root")

    def __init__(self, root: Failure | Raised | JoinFailed, path: tuple[str, ...], left_out: int = 0) -> None:
        self.root = root
        self._path = path
        self._left_out = left_out

    @property
    def path(self) -> tuple[str, ...]:
        """The labels, with the number of those left out in their place."""
        if not self._left_out:
            return self._path
        return (*self._path[:_ENDS], f"{self._left_out:,} more", *self._path[_ENDS:])

    def of(self, source: str) -> Skipped:
        """How a task ends that has ``source``, which ended like this, as its input.

        In a long chain each task would carry the path of all before it: of a long path only both ends are kept.
        """
        path = (source, *self._path)
        if len(path) <= 2 * _ENDS:
            return Skipped(self.root, path)
        return Skipped(self.root, path[:_ENDS] + path[_ENDS + 1 :], self._left_out + 1)

    @property
    def source(self) -> str:
        """The words for the task that failed first."""
        return self._path[-1]

    @property
    def line(self) -> str:
        """In one line."""
        return f"input {' <- '.join(self.path)} failed: {in_one_line(self.root)}"


class JoinFailed:
    """A task whose function returned futures, of which some failed.

    Args:
        source: the words for the first of them.
        root: how that one ended.
        failed: for each that failed the words for it, and the reason.
    """

    __slots__ = ("failed", "origin", "root", "source")

    def __init__(self, source: str, root: Failure | Raised | Skipped | JoinFailed, failed: tuple[str, ...]) -> None:
        self.source = source
        self.root = root
        self.failed = failed
        self.origin: Failure | Raised | Skipped = root.origin if isinstance(root, JoinFailed) else root
        """Below all joins of joins."""

    @property
    def line(self) -> str:
        """In one line."""
        return _first_line("JoinError", self.failed[0])


Outcome = Packed | Held | Failure | Raised | Skipped | JoinFailed
"""How a task ends."""

_ENDS = 10
"""Labels at either end of a long path that are kept."""

_LONGEST = 500
"""Characters of a line about a failure: each task that depends on one that failed has its line in the log."""


def split_outputs(result: Any, outputs: Sequence[str], label: str) -> list[Any]:
    """The objects of a task's outputs, in order: the result itself where there is one unnamed output.

    Args:
        result: what the task's function returned.
        outputs: the names of its outputs; empty for one unnamed.
        label: the words for the task in the error.

    Raises:
        TaskError: the function did not return a mapping with all these names.
    """
    if not outputs:
        return [result]
    if not isinstance(result, Mapping):
        raise TaskError(
            f"{label} has the outputs {', '.join(outputs)}, so it must return a mapping; it returned a {type(result).__name__}"
        )
    missing = [name for name in outputs if name not in result]
    if missing:
        raise TaskError(f"{label} returned no value for its output {', '.join(missing)}")
    return [result[name] for name in outputs]


def in_one_line(failure: Failure | Raised | Skipped | JoinFailed) -> str:
    """``TypeName: message`` of a failure, cut to its first line, and that to a length that can be shown."""
    return _first_line(failure.type_name, failure.message) if isinstance(failure, Failure) else failure.line


def clean(text: str) -> str:
    """``text``, with what cannot be encoded written as an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _first_line(type_name: str, message: str) -> str:
    lines = clean(message[: 2 * _LONGEST]).strip().splitlines()
    text = f"{type_name}: {lines[0]}" if lines else type_name
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may itself raise
        return f"<unprintable {type(error).__name__}: {type(broken).__name__}>"
