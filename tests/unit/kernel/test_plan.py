"""What a task cell takes along and brings back, given what the notebook holds."""

from __future__ import annotations

import math
from concurrent.futures import Future
from random import Random
from typing import Any

import pytest
from numpy.random import RandomState, default_rng

from shoal.errors import CellError
from shoal_kernel.analysis.names import parse
from shoal_kernel.analysis.refusals import refuse_outside_function
from shoal_kernel.lines.options import TaskOptions, parse_options
from shoal_kernel.planning.plan import Plan, make_plan


def plan(cell: str, line: str = "", **notebook: Any) -> Plan:
    return make_plan(parse("\n" + cell), notebook, set(notebook), parse_options(line) if line else TaskOptions())


def function() -> None:
    """A function that the notebook holds."""


@pytest.mark.parametrize(
    ("cell", "inputs", "outputs"),
    [
        ("b = a + 1", "a", "b"),
        ("a += 1", "a", "a"),
        ("items.append(a)", "a items", "items"),
        ("table['k'] = a", "a table", "table"),
        ("items.sort(); b = len(items)", "items", "b items"),
        ("b = items.copy()", "items", "b"),
        ("b = math.pi", "math", "b"),
        ("math.x = 1", "math", ""),
        ("text.write('x')", "text", ""),
        ("b = function()", "function", "b"),
        ("function.note = a", "a function", ""),
        ("pending.append(1)", "pending", "pending"),
        ("for i in items: b = i", "items", "b i"),
        ("for _ in items: pass", "items", ""),
        ("for items in [[1]]: pass", "", "items"),
        ("for a in [1]: pass", "a", "a"),
        ("for pending in [1]: pass\nb = pending", "", "b pending"),
        ("if a: items = []", "a items", "items"),
        ("def f(): return a\nb = f()", "a", "b"),
        ("def f(): return a", "a", ""),
        ("import os\nb = os.getcwd()", "", "b"),
        ("try: b = a\nexcept ValueError as e: pass", "a", "b"),
        ("print(a)", "a", ""),
        ("b = sum([a])", "a", "b"),
    ],
)
def test_inputs_and_outputs(cell: str, inputs: str, outputs: str) -> None:
    """Names that are read travel, names that are written or whose objects are changed come back."""
    made = plan(
        cell, a=1, items=[1], table={}, text="t", math=math, function=function, pending=Future[Any]()
    )  # fmt: skip
    assert (made.inputs, made.outputs) == (inputs.split(), sorted(outputs.split()))


def test_a_builtin_that_the_notebook_has_bound_travels() -> None:
    """Shadowed builtins are the notebook's own."""
    assert plan("b = sum([1])", sum=max).inputs == ["sum"]


def test_loop_variables_are_not_told_to_people() -> None:
    """They come back, and are not named in the line under the cell."""
    made = plan("for i in items: total = i", items=[1])
    assert made.outputs == ["i", "total"]
    assert made.told == ["total"]


@pytest.mark.parametrize(
    ("cell", "local"),
    [
        ("import os", 1),
        ("from os import path", 1),
        ("if a: import os", 0),
        ("def f(): return later", 1),
        ("def f(x=a): return x", 1),
        ("def f(x=pending): return x", 0),
        ("k = 1\ndef f(x=k): return x", 0),
        ("@a\ndef f(): pass", 0),
        ("class P: pass", 1),
        ("class P:\n  x = a", 1),
        ("class P(pending): pass", 0),
        ("import os\nclass P:\n  x = os.sep", 2),
        ("def f(): pass\nclass P:\n  g = f", 2),
        ("async def f(): pass", 1),
    ],
)
def test_what_also_runs_here(cell: str, local: int) -> None:
    """Imports, and definitions that need nothing but what the notebook has at hand."""
    made = plan(cell, a=1, pending=Future[Any]())
    assert len(made.local) == local
    if local:
        assert made.outputs == []


def test_deletions() -> None:
    """A name that is deleted for certain goes at once, its value need not travel; one that may be deleted comes back."""
    made = plan("del big", big=[1])
    assert (made.deleted, made.existing, made.inputs, made.outputs) == (["big"], ["big"], [], [])
    made = plan("if a: del big", a=1, big=[1])
    assert (made.deleted, made.outputs) == ([], ["big"])
    made = plan("x = 1\ndel x")
    assert (made.deleted, made.existing, made.outputs) == (["x"], [], [])


def test_options_override() -> None:
    """What ``-i`` and ``-o`` say counts, and nothing else."""
    made = plan("b = a\nc = a", "-i z -o c", a=1, z=2)
    assert (made.inputs, made.outputs) == (["z"], ["c"])


@pytest.mark.parametrize(
    ("cell", "line", "said"),
    [
        ("b = nowhere", "", "'nowhere', which line 2 reads, is not defined"),
        ("b = 1\n\nc = tabel", "", "line 4 reads.*write 'table'"),
        ("b = 1", "-i nowhere", "-i nowhere"),
        ("b = 1", "-o nowhere", "does not write 'nowhere'"),
        ("from math import *", "", "line 2 imports"),
        ("b = eval('a')", "", r"has eval\(\)"),
        ("get_ipython().run_line_magic('cd', '')", "", "line 2 has a magic"),
        ("Kind.x = 1", "", "class 'Kind'"),
    ],
)
def test_refusals(cell: str, line: str, said: str) -> None:
    """A cell that cannot become a task is refused with the line and the fix."""
    with pytest.raises(CellError, match=said):
        plan(cell, line, table={}, Kind=type("Kind", (), {}))


def test_generators_of_random_numbers_come_back() -> None:
    """Drawing from one moves it on, so that the notebook gets it back; other methods' objects stay."""
    made = plan("a = rng.normal()\nb = table.get(1)\nc = r.random()", rng=default_rng(0), table={}, r=Random(1))
    assert made.outputs == ["a", "b", "c", "r", "rng"]
    assert plan("a = rs.rand(2)", rs=RandomState(0)).outputs == ["a", "rs"]


def test_names_of_with_are_not_told_to_people() -> None:
    """They come back if they can, and nothing is said if they cannot."""
    made = plan("with open('f') as fh: a = fh.read()")
    assert made.told == ["a"]
    assert made.managed == {"fh"}
    assert plan("with open('f') as fh: pass\nfh = 1").managed == frozenset()


@pytest.mark.parametrize("cell", ["b = f.result()", "b = await f", "if 1:\n  print(f.result(timeout=3))"])
def test_asking_a_value_for_its_result_is_refused(cell: str) -> None:
    """A future of the notebook is its value in a task cell."""
    with pytest.raises(CellError, match=r"'f' is already its value in a task cell.*leave (\.result\(\)|await) away"):
        plan(cell, f=Future[Any]())


@pytest.mark.parametrize(
    "cell", ["f = make()\nf.result()", "[f.result() for f in make()]", "def g(f): return f.result()"]
)
def test_other_results_may_be_asked_for(cell: str) -> None:
    """Only a name that holds a future of the notebook is refused."""
    plan(cell, f=Future[Any](), make=list)


@pytest.mark.parametrize("cell", ["return 1", "x = 1\nif x:\n  return", "yield 2", "class A:\n  x = yield"])
def test_return_outside_of_a_function_is_refused(cell: str) -> None:
    """Python parses it, so that only the worker would notice."""
    with pytest.raises(CellError, match="outside of a function"):
        refuse_outside_function(parse(cell))


def test_return_in_a_function_is_fine() -> None:
    """Functions, methods and lambdas have their own."""
    refuse_outside_function(parse("def f(): return 1\nclass A:\n  def g(self): yield 1\nh = lambda: (yield)"))


@pytest.mark.parametrize("option", ["-i lis", "-o lis"])
def test_options_suggest_variables_only(option: str) -> None:
    """A builtin cannot be taken along or brought back."""
    with pytest.raises(CellError) as caught:
        plan("a = 1", option)
    assert "list" not in str(caught.value)


def test_names_that_the_cell_may_set_itself_are_not_asked_for() -> None:
    """A name that is set in one branch and used later is the worker's matter."""
    assert plan("if a: b = 1\nprint(b)", a=1).inputs == ["a"]
