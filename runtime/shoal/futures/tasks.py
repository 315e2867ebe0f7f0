"""The futures that a task has: of its value, of each of its outputs, of each of its files."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from shoal.files import File
from shoal.futures.owner import Owner
from shoal.futures.value import PENDING, ValueFuture
from shoal.outcome import Failure, Held, JoinFailed, Packed, Raised, Skipped
from shoal.printed import PrintedText

__all__ = ["DataFuture", "OutputFuture", "TaskFuture", "attr"]

T = TypeVar("T")

_NO_OUTPUTS: Mapping[str, Any] = MappingProxyType({})


class OutputFuture(ValueFuture[T]):
    """The future of one named output of a task that has several.

    Attributes:
        name: the output's name.
        index: its place among the task's outputs.
    """

    __slots__ = ("index", "name")

    def __init__(self, owner: Owner, tid: int, label: str, name: str, index: int) -> None:
        super().__init__(owner, tid, label)
        self.name = name
        self.index = index

    def describe(self) -> str:
        """The words for it in messages: ``scores of cell 4 (task 3)``."""
        return f"{self.name} of {self.label} (task {self.tid})"


class DataFuture(ValueFuture[File]):
    """The future of one file that a task promised to make. Its value is the :class:`~shoal.files.File`.

    Attributes:
        file_obj: the file.
        parent: the future of the task.
    """

    __slots__ = ("file_obj", "parent")

    def __init__(self, owner: Owner, tid: int, label: str, file: File, parent: TaskFuture[Any]) -> None:
        super().__init__(owner, tid, label)
        self.file_obj = file
        self.parent = parent

    @property
    def filepath(self) -> str:
        """Its absolute path."""
        return self.file_obj.filepath

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.file_obj.filename

    def describe(self) -> str:
        """The words for it in messages: ``out.txt of sort (task 3)``."""
        return f"{self.filename} of {self.label} (task {self.tid})"


class TaskFuture(ValueFuture[T]):
    """What an invocation of an app returns.

    Attributes:
        outputs: for a task with several outputs, one future a name (its ``result()`` is then the mapping of all); for a task
            that promised files, a list of DataFutures.
    """

    __slots__ = ("_printed", "_story", "outputs")

    def __init__(
        self, owner: Owner, tid: int, label: str, outputs: tuple[str, ...] = (), files: tuple[File, ...] = ()
    ) -> None:
        # As in ValueFuture, whose own __init__ would cost a call for every task.
        self._owner = owner
        self.tid = tid
        self.label = label
        self._state = PENDING
        self._outcome = self._read = self._lazy_condition = self._lazy_waiters = self._callbacks = None
        self.outputs: Any = _NO_OUTPUTS
        self._printed: PrintedText | None = None
        self._story: tuple[str, ...] = ()
        if outputs:
            made = {name: OutputFuture[Any](owner, tid, label, name, i) for i, name in enumerate(outputs)}
            self.outputs = MappingProxyType(made)
        elif files:
            self.outputs = [DataFuture(owner, tid, label, file, self) for file in files]

    @property
    def stdout(self) -> str:
        """What the task has written to stdout so far: captured, or read from the file that it goes to."""
        return self._printed.read("stdout") if self._printed is not None else ""

    @property
    def stderr(self) -> str:
        """What the task has written to stderr so far, likewise."""
        return self._printed.read("stderr") if self._printed is not None else ""

    # ------------------------------------------------------------------ told by the session

    def prints_to(self, stdout: str, stderr: str) -> None:
        """The task writes to these files; empty where its text is captured."""
        self._printed = PrintedText(stdout, stderr)

    def heard(self, attempt: int, stream: str, text: str) -> None:
        """Keep what an attempt printed; the text of the attempts before it goes."""
        if self._printed is None:
            self._printed = PrintedText()
        self._printed.add(attempt, stream, text)

    def tell_story(self, attempts: tuple[str, ...]) -> None:
        """Lines about the attempts that failed before the last: its exception gets them as notes."""
        self._story = attempts

    # ------------------------------------------------------------------ inside

    def _load(self, value: Packed | Held) -> Any:
        if not self.outputs or isinstance(self.outputs, list):
            return super()._load(value)
        return {name: output.result() for name, output in self.outputs.items()}

    def _explain(self, outcome: Failure | Raised | Skipped | JoinFailed) -> BaseException:
        error = super()._explain(outcome)
        for line in self._story:
            error.add_note(line)
        return error


def attr(future: ValueFuture[Any], name: str) -> TaskFuture[Any]:
    """The future of an attribute: a task that takes it once the value is there.

    Args:
        future: of the object.
        name: of the attribute.

    Raises:
        TypeError: ``future`` is none of Shoal's, or ``name`` is no text.
    """
    given: Any = future
    inside = getattr(type(given), "__shoal_lift__", None)  # of a call that ran inside this task
    if not isinstance(given, ValueFuture) and inside is None:
        raise TypeError(f"shoal.attr takes the future of a task, not a {type(given).__name__}")
    if not isinstance(name, str):
        raise TypeError(f"shoal.attr takes the name of an attribute as a text, not a {type(name).__name__}")
    if isinstance(given, ValueFuture):
        return given.owner.lift(given, "attribute", name)
    lifted: TaskFuture[Any] = inside(given, lambda value: getattr(value, name))  # type: ignore[misc]
    return lifted
