"""What is known about the inputs of a cell: which may be changed unseen, and which share objects with other names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from concurrent.futures import Future
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakSet

from shoal.errors import CellError
from shoal_kernel.analysis.effects import is_a, is_generator
from shoal_kernel.analysis.names import CellNames
from shoal_kernel.analysis.sharing import Touches
from shoal_kernel.planning.aliases import Sharers
from shoal_kernel.planning.reaching import Reached
from shoal_kernel.worker.checks import Checks, is_what

__all__ = ["MOVING", "Guarded", "checks_of", "refuse_shared"]

MOVING: WeakSet[Future[Any]] = WeakSet()
"""Futures whose values are known to change with each use: a generator of random numbers that an earlier task cell moved on."""


class Guarded(NamedTuple):
    """A cell's text, and the notebook that it meets.

    Args:
        names: what it does with its names.
        touches: which of them it hands to code of unknown effect.
        reached: what the functions do that it calls.
        notebook: the notebook's variables.
        found: those of them that are the user's own.
    """

    names: CellNames
    touches: Touches
    reached: Reached
    notebook: Mapping[str, Any]
    found: Set[str]

    def used(self) -> set[str]:
        """The notebook's names that the cell, or a function that it calls, uses in any way."""
        return {*self.names.reads, *self.names.free, *self.reached.reads, *self.reached.hands_on} & self.found

    def handed_on(self) -> set[str]:
        """Those of them that code of unknown effect may change."""
        touched = {*self.touches.lines, *self.reached.hands_on}
        for first, second, kind in {*self.touches.trusts, *self.reached.trusts}:
            if (
                first in self.found
                and second not in touched
                and not is_a(self.notebook[first], Future)
                and not is_what(self.notebook[first], kind)
            ):
                touched.add(second)
        return touched & self.used()

    def moving(self) -> set[str]:
        """Those of them that each use changes: iterators, and generators of random numbers where something is called on them."""
        drawn = {*self.names.method_calls, *self.names.passed, *self.handed_on()} & self.found
        found = {name for name in drawn if is_generator(self.notebook[name])}
        return found | {name for name in self.used() if _is_moving(self.notebook[name])}


def _is_moving(value: Any) -> bool:
    return value in MOVING if is_a(value, Future) else is_a(value, Iterator)


def refuse_shared(guarded: Guarded, outputs: Collection[str]) -> None:
    """Refuse to change an object under one name while another name of the notebook would go on with what it was.

    Raises:
        CellError: there is such a name.
    """
    names, found = guarded.names, guarded.found
    changed = (names.item_writes | names.mutators) & guarded.touches.direct - names.writes
    sharers = Sharers(guarded.notebook, found)
    for name in sorted(changed & found & set(outputs)):
        for other, how in sharers.of(name, name in guarded.touches.deep).items():
            if other not in outputs:
                line = guarded.touches.lines.get(name, (0,))[0]
                raise CellError(
                    f"line {line} changes '{name}', but '{name}' and '{other}' {how}, of which a task can only change a copy",
                    f"write -o {','.join(sorted({*outputs, other}))} to bring both back, each on its own, or copy one first",
                )


def checks_of(guarded: Guarded, inputs: Collection[str], outputs: Collection[str], local: Set[str]) -> Checks:
    """What the worker needs to know.

    Args:
        guarded: the cell.
        inputs: the names that travel.
        outputs: the names that come back.
        local: names that the cell binds here as well.
    """
    names, touches, reached = guarded.names, guarded.touches, guarded.reached
    here = {*inputs, *reached.reads, *reached.hands_on}
    touched = {*touches.lines, *reached.hands_on}
    watched, shared = dict[str, tuple[str, ...]](), dict[str, tuple[str, ...]]()
    sharers = Sharers(guarded.notebook, guarded.found)
    for name in sorted(guarded.found & set(inputs)) if outputs else ():
        if others := tuple(sharers.of(name, name in outputs)):
            shared[name] = others
    for name in sorted(shared.keys() & (touched | reached.changes) & {*outputs, *names.changed}):
        sharing = sharers.of(name, name in touches.deep | reached.hands_on)
        if others := tuple(other for other in sharing if other not in outputs):
            watched[name] = others
    for name in touches.lines.keys() & names.changed - set(outputs):
        if name in local or isinstance(guarded.notebook.get(name), type | FunctionType):
            watched.setdefault(name, ())  # what they keep is changed here in vain, whoever defines them
    return Checks(
        plain=frozenset(here - touched),
        lines={name: lines for name, lines in touches.lines.items() if name in here},
        trusts=tuple(sorted(asked for asked in {*touches.trusts, *reached.trusts} if asked[1] in here)),
        written=names.changed | local,
        watched=watched,
        shared=shared,
        passing=names.counters | names.managed,
        made=names.classes,
    )
