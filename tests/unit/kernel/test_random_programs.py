"""Random small notebooks, whose cells are plain or tasks that end in any order: the values in the end are those of plain Python.

The subset of the language: numbers, lists, a dict that holds a list and an object with attributes, under module-level names; all forms of
assignment and ``del``, of names, items, slices and attributes; methods that change lists; loops, conditions, ``try``, ``match``,
comprehensions; calls of built-in functions; functions of the notebook that read, bind, delete and change its names, and are defined anew.
A list gets a second name, or a second holder, in plain cells only (a task cell says that it parts them).
"""

from __future__ import annotations

import ast
import copy
import linecache
from concurrent.futures import Future
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.errors import CellError, HiddenMutation
from shoal_kernel.analysis.names import parse
from shoal_kernel.flow.settle import Lent
from shoal_kernel.lines.options import TaskOptions
from shoal_kernel.planning.needed import needed
from shoal_kernel.planning.plan import Plan, make_plan
from shoal_kernel.worker.cellrun import REPORT, CellCode, run_cell

NUMBERS, LISTS = ("a", "b", "c"), ("p", "q")
START = (
    "from types import SimpleNamespace\n"
    "a, b, c, p, q = 1, 2, 3, [1, 2], [3]\n"
    "r, o = {'k': [1], 'n': 2}, SimpleNamespace(n=1, v=[2])\n"
    "def gone():\n    global c\n    del c\n    c = a\n"
    "def note(v):\n    r['n'] = v\n    o.v.append(v)\n"
    "def f(v):\n    return v + a\n"
    "def g():\n    global c\n    c = c + b\n    return c\n"
    "def push(v):\n    p.append(v)\n    return len(q)\n"
    "def both(v):\n    push(v)\n    return f(v) + g()\n"
)
FORMS = (
    "{i} = {n}",
    "{i} = {j} + {n}",
    "{i} += {j}",
    "{l} = [{i}, {n}]",
    "{l}.append({i})",
    "if {l}:\n    {l}[0] = {i}",
    "{l} += [{n}]",
    "{i} = len({l})",
    "{i} = sum({l}) % 97",
    "{l} = {m} + [{i}]",
    "{l} = sorted({m})",
    "{l} = [k + {i} for k in {m}]",
    "for k in {l}:\n    {i} += k",
    "for k in {l}[:1]:\n    {j} = k\n    {m}.append({n})",
    "if {i} > {n}:\n    {j} = {n}",
    "if {i} > {n}:\n    {l} = [{j}]\nelse:\n    {l}.append({n})",
    "{i} = f({j})",
    "{i} = g()",
    "{i} = push({j})",
    "{i} = both({n})",
    "def f(v):\n    return v * b - {n}",
    "def f(v=({i}, {n})):\n    return {j} + v[1] if isinstance(v, tuple) else v\n{i} = f()",
    "{i}, {j} = {j}, {i}",
    "{l}, {m} = {m}, {l}",
    "{i} = {j} = {n}",
    "[{i}, *k] = [{n}, *{l}]",
    "del {i}\n{i} = {n}",
    "if {l}:\n    del {l}[0]",
    "if {i} > {n}:\n    del {j}\n    {j} = 0",
    "{l}[:1] = {m}",
    "{l}.extend({m})",
    "{l}.insert(0, {i})",
    "{l}.sort(key=lambda k: -k)",
    "{i} = {l}.pop() if {l} else {n}",
    "while {i} > 5:\n    {i} //= 3\n    {l}.append({i})",
    "try:\n    {i} = {l}[{n}]\nexcept IndexError as k:\n    {i} = -1\nfinally:\n    {j} += 1",
    "match {l}:\n    case [k, *_] if k > {n}:\n        {i} = k\n    case _:\n        {l}.append({n})",
    "{i} = [({j} := k + {n}) for k in (1, 2)][0]",
    "for {i} in range({n} % 3 + 1):\n    if {i} == 1:\n        break\nelse:\n    {m}.append({n})",
    "r['k'].append({i})",
    "r['n'] += {j}",
    "r[{n}] = {i}",
    "{i} = len(r) + r['n']",
    "{i} = sum(len(k) for k in r.values() if isinstance(k, list))",
    "r.pop({n}, None)",
    "o.n, o.v[:1] = {i}, [{j}]",
    "o.v += [{n}]",
    "o.n -= {n}",
    "{i} = o.n + len(o.v)",
    "setattr(o, 'n', {n})",
    "note({i})",
    "gone()",
    "{i} = max({l}, default={n})",
)
ALIASES = ("{l} = {m}", "r['k'] = {l}", "{l} = o.v", "o.v = {l}")
PLAIN_FORMS = (*FORMS, *ALIASES)
OTHERS = ("r", "o")
SECOND_HOLDERS = {form.format(l=one, m=other) for form in ALIASES for one in LISTS for other in LISTS}
Pending = tuple[Plan, CellCode, dict[str, Any], dict[str, Future[Any]], dict[str, Any]]


def statements(forms: tuple[str, ...]) -> st.SearchStrategy[str]:
    number, several = st.sampled_from(NUMBERS), st.sampled_from(LISTS)
    words = st.fixed_dictionaries({"i": number, "j": number, "l": several, "m": several, "n": st.integers(0, 9)})
    return st.tuples(st.sampled_from(forms), words).map(lambda pair: pair[0].format(**pair[1]))


def cells() -> st.SearchStrategy[tuple[bool, str]]:
    as_text = lambda forms: st.lists(statements(forms), min_size=1, max_size=3).map("\n".join)  # noqa: E731
    return st.one_of(
        st.tuples(st.just(True), as_text(FORMS)),
        st.tuples(st.just(True), as_text(FORMS)),
        st.tuples(st.just(False), as_text(PLAIN_FORMS)),
    )


class PartedError(Exception):
    """A task cell said that a name holds a copy from now on, of what it shared with another."""


class Notebook:
    """A notebook without a kernel, a pool and a session: tasks run when they are told to."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.pending: list[Pending] = []
        self.read: dict[Future[Any], Any] = {}
        self.plain(START)

    def own(self) -> set[str]:
        return {name for name in self.names if not name.startswith("__")}

    def task(self, text: str) -> None:
        """A task cell; one that cannot be a task is run as a plain one, as people would."""
        whole = "\n" + text
        tree = parse(whole)
        try:
            plan = make_plan(tree, self.names, self.own(), TaskOptions())
        except CellError:
            self.plain(text)
            return
        for part in plan.local:
            run_text(ast.Module([part], []), self.names, whole)
        code = CellCode(
            whole, "<Cell In[1]>", tuple(plan.outputs), tuple(plan.existing), shows=False, checks=plan.checks
        )
        taken = self.captured({name: self.names[name] for name in plan.inputs})
        for part in plan.late:
            run_text(ast.Module([part], []), self.names, whole)
        before = {name: self.names[name] for name in plan.outputs if name in self.names}
        futures: dict[str, Future[Any]] = {name: Future() for name in plan.outputs}
        self.names.update(futures)
        self.pending.append((plan, code, taken, futures, before))

    def captured(self, found: dict[str, Any]) -> dict[str, Any]:
        """What travels: the values as they are now, and what functions among them read."""
        everything = dict(found)
        pending = [value for value in found.values() if isinstance(value, FunctionType)]
        while pending:
            for name in names_of(pending.pop().__code__):
                if name in self.names and name not in everything:
                    everything[name] = self.names[name]
                    pending += [value for value in (self.names[name],) if isinstance(value, FunctionType)]
        data = {
            name: value for name, value in everything.items() if isinstance(value, int | list | dict | SimpleNamespace)
        }
        return {**everything, **copy.deepcopy(data), "": list(found)}

    def run(self, number: int) -> None:
        """Run a task, after those that it needs."""
        _, code, taken, futures, before = task = self.pending[number]
        given = {}
        for name, value in taken.items():
            if isinstance(value, Future):
                self.finish(value)
                value = copy.deepcopy(value.result())
            given[name] = value
        self.pending = [each for each in self.pending if each is not task]
        world: dict[str, Any] = {"__name__": "__main__"}
        asked = given.pop("")
        for name, value in given.items():
            world[name] = FunctionType(value.__code__, world, name) if isinstance(value, FunctionType) else value
        anchor = FunctionType(names_of.__code__, world, "anchor")
        results = run_cell(code, anchor, **{name: world[name] for name in asked})
        report = results.pop(REPORT)
        assert not report.stayed
        if report.parted:
            raise PartedError
        for name, future in futures.items():
            if name in report.missing:
                kept = self.names.get(name) is future
                if kept:
                    del self.names[name]
                if kept and name in before:
                    self.names[name] = before[name]
                future.set_exception(KeyError(name))
            else:
                future.set_result(copy.deepcopy(results[name]))

    def finish(self, future: Future[Any]) -> None:
        for number, (_, _, _, futures, _) in enumerate(self.pending):
            if future in futures.values():
                self.run(number)
                return

    def plain(self, text: str) -> None:
        """A plain cell: it waits for what it needs, and runs with the values."""
        tree = parse(text)
        futures = {name for name, value in self.names.items() if isinstance(value, Future)}
        lent = Lent(self.names)
        values: dict[str, Any] = {}
        for name in needed(tree, self.names, futures, True):
            future = self.names[name]
            self.finish(future)
            if self.names.get(name) is future:
                # what a future has read is one object for the notebook, and another one than tasks get
                values[name] = future, self.read.setdefault(future, copy.deepcopy(future.result()))
        lent.lend(values, tree)
        run_text(tree, self.names, text)
        lent.take_back()

    def values(self) -> dict[str, Any]:
        while self.pending:
            self.run(0)
        found = {name: self.names[name] for name in (*NUMBERS, *LISTS, *OTHERS)}
        return {
            name: self.read.get(value, value.result()) if isinstance(value, Future) else value
            for name, value in found.items()
        }


def run_text(tree: str | ast.Module, names: dict[str, Any], text: str) -> None:
    """Run a cell as IPython does: tracebacks, and who reads functions, find its text."""
    file = f"<random cell {len(linecache.cache)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(tree, file, "exec"), names)


def names_of(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(names_of(part) for part in code.co_consts if isinstance(part, CodeType)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(cells(), min_size=1, max_size=7), st.data())
def test_values_are_those_of_plain_python(program: list[tuple[bool, str]], data: st.DataObject) -> None:
    """Whatever is a task, and whichever task ends first. Where a list has two names a cell may fail, and says so; no other does."""
    alone: dict[str, Any] = {"__name__": "__main__"}
    run_text(START, alone, START)
    notebook = Notebook()
    try:
        for is_task, text in program:
            run_text(text, alone, text)
            if is_task:
                notebook.task(text)
            else:
                notebook.plain(text)
            if notebook.pending and data.draw(st.booleans()):
                notebook.run(data.draw(st.integers(0, len(notebook.pending) - 1)))
        values = notebook.values()
    except (HiddenMutation, PartedError):
        assert any(line in SECOND_HOLDERS for _, text in program for line in text.splitlines())
        return
    assert values == {name: alone[name] for name in (*NUMBERS, *LISTS, *OTHERS)}
