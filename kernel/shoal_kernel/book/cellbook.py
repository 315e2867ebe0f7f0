"""The book of cells that ran: which values each read, and which of them are made anew since. PURE."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shoal_kernel.lines.celltext import CellFlow

__all__ = ["Book", "Run", "Version"]

_DEEPEST = 50


class Version(NamedTuple):
    """One making of a name's value.

    Args:
        cell: the key of the cell that made it.
        number: that of the cell then.
    """

    cell: str
    number: int


@dataclass
class Run:
    """The last run of a cell.

    Args:
        key: tells the cell apart from others, also after it was edited.
        count: its number.
        text: as it was typed.
        flow: its names.
        reads: the versions that it read.
        held: what inputs held that cannot change: values of plain types, and futures.
        order: when the cell ran for the first time.
        restored: it ran in a kernel that has ended.
    """

    key: str
    count: int
    text: str
    flow: CellFlow
    held: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, Version] = field(default_factory=dict)
    order: int = 0
    restored: bool = False


class Book:
    """Takes in cells in the order in which they run."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self._last: dict[str, Version] = {}
        self._made: dict[tuple[str, str], Version] = {}
        self._gone: dict[tuple[str, str], int] = {}
        self._spoilt: dict[str, str] = {}
        self._forgotten: dict[str, Version] = {}

    def add(self, run: Run) -> None:
        """A cell has run."""
        before = self.runs.get(run.key)
        self._spoilt.pop(run.key, None)
        run.order = before.order if before is not None else run.count
        for name in self._with_functions(run.flow.reads):
            if name in self._last:
                run.reads[name] = self._last[name]
        made = Version(run.key, run.count)
        if before is not None and before.restored and (before.text, before.reads) == (run.text, run.reads):
            made = Version(
                run.key, before.count
            )  # the same again, for a kernel that has nothing: no reason for those below
        for name in run.flow.writes:
            self._last[name] = self._made[run.key, name] = made
            self._gone.pop((run.key, name), None)
        for name in run.flow.deletes:
            self._last.pop(name, None)
        if before is not None:
            for name in before.flow.writes - run.flow.writes:
                self._gone[run.key, name] = run.count
                if self._last.get(name, made).cell == run.key:
                    self._last.pop(name, None)
        self.runs[run.key] = run
        for other in self.runs.values():  # what is held for comparison is let go if it cannot be compared
            for name in (run.flow.writes | run.flow.deletes) & other.held.keys():
                if name in run.flow.deletes or other.reads.get(name, made).cell != run.key:
                    del other.held[name]

    def made(self) -> list[str]:
        """The names that hold what a cell has made, as far as the book knows."""
        return list(self._last)

    def forget(self, names: Collection[str]) -> None:
        """These names do not hold anything any more: the kernel has ended in which they did."""
        for name in names:
            version = self._last.pop(name, None)
            if version is not None:
                self._forgotten[name] = version

    def spoil(self, key: str, why: str) -> None:
        """What a cell was to make has not come about: it has to run again.

        Args:
            key: the cell; one that is not known is passed over.
            why: what people are told.
        """
        if key in self.runs:
            self._spoilt[key] = why

    def _with_functions(self, names: Collection[str]) -> Iterator[str]:
        """The names, and those that their functions read when they are called."""
        pending, seen = list(names), set[str]()
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                yield name
                maker = self.runs.get(self._last[name].cell) if name in self._last else None
                if maker is not None and name in maker.flow.functions:
                    pending += maker.flow.later

    def stale(self) -> dict[str, str]:
        """The cells whose inputs are made anew since they ran, by key, each with why; in the order of the notebook."""
        known: dict[str, str] = {}
        for key in sorted(self.runs, key=lambda key: self.runs[key].order):
            self._why(key, known, 0)
        return {key: known[key] for key in sorted(known, key=lambda key: self.runs[key].order) if known[key]}

    def _why(self, key: str, known: dict[str, str], depth: int) -> str:
        if key in known or depth > _DEEPEST:
            return known.get(key, "")
        known[key] = self._spoilt.get(key, "")  # a circle ends here
        if known[key]:
            return known[key]
        run = self.runs[key]
        for name, version in sorted(run.reads.items()):
            if not self._is_above(version.cell, run):
                continue  # it ran out of order, on what a cell below it had made
            why = self._outdated(name, version)
            if not why and self._why(version.cell, known, depth + 1):
                why = f"'{name}' comes from cell [{version.number}], which is stale"
            if why:
                known[key] = why
                break
        return known[key]

    def _outdated(self, name: str, version: Version) -> str:
        if (version.cell, name) in self._gone:
            return f"'{name}' is not made any more by its cell, which is [{self._gone[version.cell, name]}] now"
        latest = self._made.get((version.cell, name), version)
        return f"'{name}' was made anew by cell [{latest.number}]" if latest != version else ""

    def as_before(self, key: str, same: Callable[[str, Any], bool]) -> bool:
        """Whether a cell would run with what it ran with; it counts as run with the inputs of now then.

        Args:
            key: a stale cell.
            same: whether a name has the value that it had, which is given.
        """
        if key in self._spoilt:
            return False
        run = self.runs[key]
        now = dict(run.reads)
        for name, version in run.reads.items():
            latest = self._made.get((version.cell, name), version)
            if latest == version:
                continue
            if name not in run.held or self._last.get(name) != latest or not same(name, run.held[name]):
                return False
            now[name] = latest
        run.reads = now
        return True

    def _is_above(self, key: str, run: Run) -> bool:
        return key in self.runs and self.runs[key].order < run.order

    def lost(self, key: str) -> dict[str, tuple[str, str]]:
        """The inputs of a cell that are not there any more as it knew them.

        Returns:
            By name: the key of the cell that makes it, and why it has to: another cell has written the name since, or deleted it.
        """
        found = {}
        run = self.runs[key]
        for name, version in sorted(run.reads.items()):
            last = self._last.get(name)
            if self._is_above(version.cell, run) and (last is None or last.cell != version.cell):
                since = f"holds what cell [{last.number}] gave it" if last is not None else "is not there any more"
                found[name] = (version.cell, since)
        return found

    def maker(self, name: str) -> str | None:
        """The key of the cell that a name's value comes from, or came from in a kernel that has ended."""
        version = self._last.get(name) or self._forgotten.get(name)
        return version.cell if version is not None else None

    def above(self, key: str) -> set[str]:
        """A cell, and all whose values went into it."""
        pending, seen = [key], set[str]()
        while pending:
            one = pending.pop()
            if one not in seen and one in self.runs:
                seen.add(one)
                pending += [version.cell for version in self.runs[one].reads.values()]
        return seen

    def stale_names(self) -> dict[str, str]:
        """The names whose values come from stale cells, each with why."""
        stale = self.stale()
        return {name: stale[version.cell] for name, version in sorted(self._last.items()) if version.cell in stale}
