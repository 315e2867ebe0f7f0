"""What a task cell takes along and what it brings back, decided before anything runs.

The text says which names are read, written and changed (:mod:`shoal_kernel.analysis.names`); here that meets what the notebook
holds. Imports and plain definitions also run in the notebook, since a future of a module or a function would be of no use
there. All other names that the cell writes, or whose objects it changes, come back as futures: the worker has a copy.
"""

from __future__ import annotations

import ast
import builtins
import difflib
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from shoal.apps import App
from shoal.errors import CellError
from shoal.futures import ValueFuture
from shoal.outcome import Value
from shoal_kernel.analysis.effects import is_a, made_moving
from shoal_kernel.analysis.names import CellNames, Note, analyse
from shoal_kernel.analysis.refusals import refuse_results
from shoal_kernel.analysis.sharing import touches
from shoal_kernel.lines.options import TaskOptions
from shoal_kernel.planning.bothsides import both_sides
from shoal_kernel.planning.guarding import Guarded, checks_of, refuse_shared
from shoal_kernel.planning.reaching import Reached, reach
from shoal_kernel.worker.checks import BOUND, Checks, can_change
from shoal_kernel.worker.sizes import size_of

__all__ = ["Plan", "make_plan"]

_FIXED = (
    ModuleType,
    FunctionType,
    BuiltinFunctionType,
    type,
    App,
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
)
"""Types whose objects cannot be changed in place, or are not meant to travel back."""

_SMALL = (type(None), bool, int, float, complex, str)
"""Types whose values cost nothing to take along, for the case that a loop runs not at all. Values of other types are left
here then: a loop variable of an earlier task cell must not make this one wait for it."""

_THROWN_AWAY = frozenset({"_", "__", "___"})


@dataclass
class Plan:
    """How a cell becomes a task.

    Args:
        local: top-level statements that also run in the notebook: imports and definitions.
        late: further ones, which run here when the task has its inputs: functions that take the place of others, which the cell
            may have called before.
        inputs: names to take along.
        outputs: names that come back as futures.
        deleted: names that the cell deletes for certain.
        existing: names of the notebook that the cell deletes for certain, at some time, and whose values need not travel.
        classes: classes that are defined in the notebook and travel to the worker.
        told: the outputs that are worth naming to people: loop variables and those of ``with`` are left out.
        managed: the outputs that are only bound by ``with ... as``; most are over by the end of the cell.
        checks: what the worker needs to know to tell whether an input was changed that does not come back.
        moving: the outputs that each use changes: generators of random numbers, iterators.
        alters: names of the notebook whose objects the cell changes, each with the line.
        risks: names of the notebook whose objects code of unknown effect gets at, each with the line.
    """

    local: list[ast.stmt] = field(default_factory=list)
    late: list[ast.stmt] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    managed: frozenset[str] = frozenset()
    checks: Checks = field(default_factory=Checks)
    moving: frozenset[str] = frozenset()
    alters: dict[str, int] = field(default_factory=dict)
    risks: dict[str, int] = field(default_factory=dict)


def make_plan(
    tree: ast.Module,
    notebook: Mapping[str, Any],
    found: set[str],
    options: TaskOptions,
    here: bool = False,
    elsewhere: Collection[str] = (),
) -> Plan:
    """Decide what a cell takes along and brings back.

    Args:
        tree: the cell's syntax tree.
        notebook: the notebook's variables.
        found: those of them that are the user's own, not IPython's.
        options: what the cell's line says.
        here: it runs on a thread of this process, where inputs are the notebook's own objects: what functions do to them
            is done, and need not come back.
        elsewhere: names that the workers have by themselves.

    Raises:
        CellError: the cell cannot become a task.
    """
    names = analyse(tree)
    _refuse_hiding(names.notes)
    refuse_results(tree, names, {name for name in found if is_a(notebook[name], Future)})
    plan = Plan()
    plan.local, plan.late, local_names, defined = both_sides(tree, names, notebook, found, options.writes or ())
    plan.classes = [part.name for part in plan.local if isinstance(part, ast.ClassDef)]
    certain = _deleted(tree.body)
    plan.deleted = [name for name in certain if name in names.deletes]
    plan.inputs = _inputs(names, notebook, found, options, elsewhere)
    plan.existing = [name for name in certain if name in found and name not in plan.inputs]
    reached = Reached() if here else reach(notebook, (names.reads | names.free) & found)
    guarded = Guarded(names, touches(tree), reached, notebook, found)
    plan.outputs = _outputs(guarded, options, local_names | set(plan.deleted), here)
    plan.outputs += [name for name in sorted(defined - set(plan.outputs)) if name not in plan.deleted]
    # what is to come back, though the cell does not bind it, or only may delete it, has to be there
    perhaps = names.deletes | {*_deleted(ast.walk(tree))} - {*certain}
    plan.inputs = sorted({*plan.inputs, *(set(plan.outputs) & found - (names.writes - perhaps))})
    plan.moving = frozenset(plan.outputs) & (guarded.moving() | made_moving(tree))
    if not here:
        refuse_shared(guarded, plan.outputs)
        plan.checks = checks_of(guarded, plan.inputs, plan.outputs, local_names)
    plan.alters, plan.risks = _dangers(guarded)
    plan.managed = names.managed
    plan.told = [name for name in plan.outputs if name not in names.counters | names.managed]
    return plan


def _refuse_hiding(notes: Iterable[Note]) -> None:
    for note in notes:
        if note.kind == "magic":
            raise CellError(
                f"line {note.line} has a magic or a shell command, which only works in the notebook itself",
                "move it to a cell of its own",
            )
        if note.kind == "star import":
            raise CellError(
                f"line {note.line} imports * from {note.text}, which hides the names that the cell uses",
                "import the names that you need",
            )
        raise CellError(
            f"line {note.line} has {note.text}, which reaches variables by text, so that the names which the cell "
            "reads and writes cannot be told",
            "write the names out, or leave %%task away",
        )


# --------------------------------------------------------------------------- what comes along


def _inputs(
    names: CellNames, notebook: Mapping[str, Any], found: set[str], options: TaskOptions, elsewhere: Collection[str]
) -> list[str]:
    if options.reads is not None:
        for name in options.reads:
            if name not in found:
                raise CellError(f"-i {name}: there is no variable '{name}' here", _suggest(name, found, ()))
        return list(options.reads)
    for name in sorted(names.reads):
        if name not in found and name not in names.writes and name not in elsewhere:
            line = names.lines.get(name, 0)
            if name in notebook:
                raise CellError(
                    f"line {line} reads '{name}', which is IPython's own, and does not travel",
                    "give what you need of it a name in a cell before",
                )
            raise CellError(f"'{name}', which line {line} reads, is not defined here", _suggest(name, found))
    changed = (names.item_writes | names.mutators) - names.writes  # what the cell binds for certain is its own
    wanted = names.reads | names.free | names.maybe | changed | names.builtins
    unlikely = {name for name in names.if_loop_is_empty if name in found and not is_a(notebook[name], _SMALL)}
    unlikely |= names.imports - names.reads
    # the last run of the cell may have failed: what it did not make is no reason not to run it again
    unlikely |= {name for name in names.maybe - names.reads if name in found and _has_failed(notebook[name])}
    return sorted(name for name in wanted - unlikely if name in found)


def _has_failed(value: object) -> bool:
    return isinstance(value, ValueFuture) and value.done() and not isinstance(value.outcome, Value)


def _suggest(name: str, found: Collection[str], others: Iterable[str] = dir(builtins)) -> str:
    known = [other for other in [*found, *others] if not other.startswith("_")]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"write '{near[0]}', if that is meant" if near else "run the cell that defines it first"


# --------------------------------------------------------------------------- what comes back


def _outputs(guarded: Guarded, options: TaskOptions, without: set[str], here: bool) -> list[str]:
    names, notebook, found = guarded.names, guarded.notebook, guarded.found
    if options.writes is not None:
        for name in options.writes:
            if name not in names.changed and name not in found | guarded.reached.binds:
                raise CellError(f"-o {name}: the cell does not write '{name}'", _suggest(name, names.changed, ()))
        return list(options.writes)
    for name in sorted(names.item_writes - names.writes):
        if name in found and is_a(notebook[name], type):
            raise CellError(
                f"the cell sets an attribute of the class '{name}', which would only change the copy on the worker",
                "set it in a plain cell, or define the class in this cell",
            )
    changed = {
        name
        for name in (names.item_writes | names.mutators | guarded.reached.changes) - names.writes
        if name in found and not is_a(notebook[name], _FIXED)
    }
    changed |= guarded.moving() - names.writes
    if not here:
        changed |= {name for name in guarded.handed_on() - names.writes - changed if _is_too_large(notebook[name])}
    return sorted((names.writes | guarded.reached.binds | changed) - without - _THROWN_AWAY)


def _dangers(guarded: Guarded) -> tuple[dict[str, int], dict[str, int]]:
    """The names of the notebook that the cell changes, and those that it may change."""
    names, notebook = guarded.names, guarded.notebook
    movable = {name for name in guarded.used() if not is_a(notebook[name], _FIXED) and can_change(notebook[name])}
    changed = (
        (names.item_writes | names.mutators | guarded.reached.changes | guarded.moving()) & movable & guarded.used()
    )
    risked = guarded.handed_on() & movable - changed
    lines = {**names.lines, **{name: where[0] for name, where in guarded.touches.lines.items() if where}}
    return {name: lines.get(name, 0) for name in sorted(changed)}, {name: lines.get(name, 0) for name in sorted(risked)}


def _is_too_large(value: Any) -> bool:
    """Whether a value is too large to tell, by looking at it, whether it was changed: then it counts as changed."""
    return not is_a(value, Future) and can_change(value) and size_of(value, BOUND) > BOUND


def _deleted(parts: Iterable[ast.AST]) -> list[str]:
    """The names in the ``del`` statements among some; those of the top level happen for certain."""
    targets = [target for part in parts if isinstance(part, ast.Delete) for target in part.targets]
    names = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(node.id for node in names if isinstance(node.ctx, ast.Del)))
