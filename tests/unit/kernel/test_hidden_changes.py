"""Random small programs, as plain cells and as task cells: the same values, or a sentence that says why not; never silently others."""

from __future__ import annotations

import ast
import linecache
from concurrent.futures import Future
from types import FunctionType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shoal.errors import CellError, HiddenMutation
from shoal.outcome import Payload
from shoal.serialize import pack, pack_call, unpack, unpack_call
from shoal_kernel.analysis.names import parse
from shoal_kernel.lines.options import TaskOptions, parse_options
from shoal_kernel.planning.plan import make_plan
from shoal_kernel.worker.cellrun import REPORT, CellCode, run_cell

HELPERS = """
def total(v):
    return sum(v)
def push(v):
    v.append(1)
def same(v):
    return v
def pushed(v):
    v.append(2)
    return v
def swap(v):
    if len(v) > 1:
        v[0], v[-1] = v[-1], v[0]
def last(v):
    local = v
    local.sort()
    return local[-1] if local else 0
def reorder(m):
    if 'a' in m:
        m['a'] = m.pop('a')
def size(m):
    return len(m)
def log_it():
    log.append(len(log))
def count():
    global hits
    hits += 1
    return hits
def peek():
    return len(log) + hits
def twice():
    return count() + count()
def per_item(v):
    return [size([w]) for w in v]
def counter():
    held = []
    def step():
        held.append(1)
        return len(held)
    return step
step = counter()
def collect(v, seen=[]):
    seen.append(v)
    return len(seen)
"""

START = "i, j, xs, ys, d, n, log, hits = 1, 2, [3, 1, 2], [5, 4], {'a': 1, 'b': 2}, [[1], [2, 3]], [], 0\n"


def _home(file: str) -> dict[str, Any]:
    """The variables of a notebook whose first cell defined the helpers."""
    home: dict[str, Any] = {"__name__": "__main__"}
    linecache.cache[file] = (len(HELPERS), None, HELPERS.splitlines(keepends=True), file)
    exec(compile(HELPERS, file, "exec"), home)
    exec(START, home)
    return home


def _anchor() -> None:
    """What the anchor is a copy of."""


class Notebook:
    """Runs cells as the kernel and a worker would, through the same bytes, in this process."""

    def __init__(self, futures: bool = False) -> None:
        self.home = _home("<helpers of tasks>")
        self.futures = futures
        self.payloads: dict[int, Payload] = {}
        self.told: list[str] = []

    def task(self, text: str, line: str = "") -> None:
        home = self.home
        tree = parse("\n" + text)
        found = {name for name in home if not name.startswith("__")}
        plan = make_plan(tree, home, found, parse_options(line) if line else TaskOptions())
        for part in plan.local:
            exec(compile(ast.Module([part], []), "<cell>", "exec"), home)
        code = CellCode(
            "\n" + text,
            "<Cell In[1]>",
            tuple(plan.outputs),
            tuple(plan.existing),
            tuple(plan.classes),
            True,
            plan.checks,
        )
        anchor = FunctionType(_anchor.__code__, home, "anchor")
        call, futures = pack_call((code, anchor), {name: home[name] for name in [*plan.inputs, *plan.classes]}, "cell")
        args, kwargs = unpack_call(call, [unpack(self.payloads[id(future)]) for future in futures])
        results = run_cell(*args, **kwargs)
        report = results.pop(REPORT)
        self.told += [*report.parted, *report.unchecked]
        for name, value in results.items():
            if name in report.missing:
                continue
            payload = pack(value)
            future: Future[Any] = Future()
            self.payloads[id(future)] = payload
            future.set_result(None)
            home[name] = future if self.futures else unpack(payload)
            self.payloads[id(future), future] = payload  # type: ignore[index]  # keeps the future, and so its id, alive
        for name in plan.deleted:
            home.pop(name, None)

    def value(self, name: str) -> Any:
        value = self.home[name]
        return unpack(self.payloads[id(value)]) if isinstance(value, Future) else value


_INTS = st.sampled_from(["i", "j", "1", "3", "hits", "len(xs)", "xs[0]", "d['a']", "total(ys)", "peek()", "size(d)"])
_CALLED = ["count()", "twice()", "last(xs)", "sum(xs)", "max(ys)", "size(n)", "step()", "collect(1)", "d.get('b', 0)"]
_LISTS = st.sampled_from(["xs", "ys", "n[0]", "n[-1]"])
_SIMPLE = st.one_of(
    st.builds("{} = {}".format, st.sampled_from("ij"), _INTS | st.sampled_from(_CALLED)),
    st.builds("{} += {}".format, st.sampled_from(["i", "j", "xs[0]", "d['a']"]), _INTS),
    st.builds("{}.append({})".format, _LISTS, _INTS),
    st.builds("{}({})".format, st.sampled_from(["push", "swap", "last", "size", "same", "pushed", "per_item"]), _LISTS),
    st.builds("{} += [{}]".format, st.sampled_from(["xs", "ys", "log"]), _INTS),
    st.builds("{}[{}] = {}".format, st.just("d"), st.sampled_from(["'a'", "'c'", "i"]), _INTS),
    st.builds("{} = {}".format, st.sampled_from(["xs", "ys"]), st.sampled_from(["[7, 8]", "xs[:]", "sorted(ys)", "pushed(xs)", "same(ys)", "list(xs)", "[k for k in ys]"])),
    st.sampled_from(
        [
            "log_it()", "reorder(d)", "d.pop('a', None)", "z = same(xs)\nz.append(4)", "z = n[0]\nz.append(4)\ndel z",
            "[r.append(0) for r in n]", "list(map(push, n))", "sorted(n, key=pushed)", "z = xs.copy()\nz.append(5)",
            "z = n.copy()\nz[0].append(5)\ndel z", "z = lambda: xs\nz().append(3)\ndel z", "k = push\nk(xs)\ndel k",
            "def helper(v):\n    v.append(6)\nhelper(ys)", "def helper():\n    z = ys\n    push(z)\nhelper()\nhelper()",
            "push(v=xs)" , "d.setdefault('e', 4)", "max(n, key=len).append(2)", "(xs or ys).append(9)", "f = [push, swap]\nf[0](xs)\ndel f",
        ]
    ),
)  # fmt: skip


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


_STATEMENTS = st.recursive(
    _SIMPLE,
    lambda inner: st.one_of(
        st.builds(lambda test, body: f"if {test}:\n{_indented(body)}", _INTS, inner),
        st.builds(lambda test, a, b: f"if {test} > 2:\n{_indented(a)}else:\n{_indented(b)}", _INTS, inner, inner),
        st.builds(lambda over, body: f"for t in {over}:\n{_indented(body)}", st.sampled_from(["range(2)", "[1, 2]", "tuple(ys)"]), inner),
        st.builds(lambda one, two: f"{one}\n{two}", inner, inner),
        st.builds(lambda helper: f"for row in n:\n    {helper}(row)", st.sampled_from(["push", "size", "swap"])),
    ),
    max_leaves=4,
)  # fmt: skip
_PLAIN = st.sampled_from(
    ["xs = ys", "w = xs", "n[0] = xs", "d['x'] = ys", "w = [xs, 1]", "i = 5", "xs = [1]", "n = [[0]]"]
)
_CELLS = st.lists(st.tuples(st.just(True), _STATEMENTS) | st.tuples(st.just(False), _PLAIN), min_size=1, max_size=4)

_ALL = "i j xs ys d n log hits w".split()


def _is_true(error: HiddenMutation, before: dict[str, str], after: dict[str, Any]) -> bool:
    """Whether something that the error names was changed: what functions keep inside is taken on trust."""
    named = [*error.variables, *error.shared]
    return any(name not in before or name not in after or repr(after[name]) != before[name] for name in named)


def _try(tasks: Notebook, text: str) -> HiddenMutation | CellError | None:
    try:
        tasks.task(text)
    except (HiddenMutation, CellError) as error:
        return error
    return None


def _run_both(cells: list[tuple[bool, str]], futures: bool) -> None:
    plain, tasks = _home("<helpers of plain cells>"), Notebook(futures)
    for is_task, text in cells:
        before = {name: repr(plain[name]) for name in _ALL if name in plain}
        try:
            exec(compile(text, "<plain>", "exec"), plain)
        except (TypeError, AttributeError, NameError, KeyError, IndexError, ValueError):
            assume(False)
        if is_task:
            refused = _try(tasks, text)
            if refused is not None:
                # a copy is to be made, or what is named was really changed
                assert (
                    _is_true(refused, before, plain) if isinstance(refused, HiddenMutation) else "copy" in str(refused)
                )
                return
        else:
            exec(compile(text, "<plain>", "exec"), tasks.home)
        if tasks.told:
            return
        for name in _ALL:
            if name in plain:
                assert repr(tasks.value(name)) == repr(plain[name]), (text, name)


@settings(max_examples=400, deadline=None)
@given(_CELLS)
def test_no_change_is_lost_in_silence(cells: list[tuple[bool, str]]) -> None:
    """After each cell every variable is what plain cells make of it; else the cell was refused, or failed, with a sentence."""
    _run_both(cells, futures=False)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.just(True), _STATEMENTS), min_size=1, max_size=3))
def test_nor_among_futures(cells: list[tuple[bool, str]]) -> None:
    """The same where all that comes back stays a future, whose value each later task unpickles for itself."""
    _run_both(cells, futures=True)


@pytest.mark.parametrize(
    "text",
    [
        "Kept.held.append(1)",
        "Kept().add()",
        "kept.add()",
        "[kept][0].add()",
        "class Kept:\n    held = []\n    def add(self): self.held.append(1)\nKept().add()",
        "class Kept:\n    held, made = [], 0\n    def __init__(self): type(self).made += 1\nKept()",
    ],
)
def test_what_a_class_keeps_is_not_lost_in_silence(text: str) -> None:
    """A class of the notebook, or of the cell itself."""
    tasks = Notebook()
    exec("class Kept:\n    held = []\n    def add(self):\n        self.held.append(1)\nkept = Kept()", tasks.home)
    with pytest.raises(HiddenMutation, match="'Kept'"):
        tasks.task(text)
    tasks.task("Kept.held[0:0]\nKept.__name__")


def test_a_class_that_the_cell_changes_by_name_comes_back() -> None:
    """It is made on the worker alone, if the cell makes it: the notebook gets it with what it holds."""
    tasks = Notebook()
    tasks.task("class Own:\n    held = []\nOwn.held.append(1)\nOwn.more = 2")
    assert (tasks.home["Own"].held, tasks.home["Own"].more) == ([1], 2)
    with pytest.raises(CellError, match="the class 'Own'"):
        tasks.task("Own.more = 3")


@pytest.mark.parametrize("text", ["step()", "bare()", "bare.calls = 1"])
def test_what_a_function_keeps_is_not_lost_in_silence(text: str) -> None:
    """Also a number, in a closure or as an attribute; with its name in ``-o``, the function comes back with it."""
    tasks = Notebook()
    exec(
        "def maker():\n    n = 0\n    def step():\n        nonlocal n\n        n += 1\n        return n\n    return step\n"
        "step = maker()\ndef bare():\n    bare.calls += 1\n    return bare.calls\nbare.calls = 0",
        tasks.home,
    )
    with pytest.raises(HiddenMutation) as caught:
        tasks.task(text)
    tasks.task(text, f"-o {','.join(caught.value.write)}")
    name = text.partition("(")[0].partition(".")[0]
    assert tasks.home[name]() == 2


def test_a_change_in_an_object_that_holds_many_is_seen() -> None:
    """Long containers are searched for names, too, if they hold more than constants."""
    tasks = Notebook()
    tasks.home["many"] = [[] for _ in range(5000)]
    tasks.home["one"] = tasks.home["many"][4000]
    with pytest.raises(CellError, match="'many' holds 'one'"):
        tasks.task("one.append(1)")
