"""Which imports and definitions of a task cell also run in the notebook: those for which that comes to the same."""

from __future__ import annotations

import linecache
import math
from concurrent.futures import Future
from typing import Any

import pytest

from shoal.errors import CellError
from shoal_kernel.analysis.names import analyse, parse
from shoal_kernel.planning.bothsides import BothSides, both_sides

HOME = """
def old(v): return v
def binds():
    global n
    n = 5
def uses(): return old(1)
class Old: pass
class Told:
    def __init_subclass__(cls): pass
class Meta(type): pass
n, xs, it = 1, [1], iter([1])
"""


def split(cell: str, *wanted: str) -> BothSides:
    home: dict[str, Any] = {"__name__": "__main__", "math": math, "pending": Future[Any]()}
    linecache.cache["<both sides>"] = (len(HOME), None, HOME.splitlines(keepends=True), "<both sides>")
    exec(compile(HOME, "<both sides>", "exec"), home)
    tree = parse("\n" + cell)
    return both_sides(tree, analyse(tree), home, {name for name in home if not name.startswith("__")}, wanted)


@pytest.mark.parametrize(
    ("cell", "first", "late", "others"),
    [
        ("import math\nfrom math import pi\ndef f(): return pi\nclass A: pass\nr = f()", 4, 0, ""),
        # what the cell may use before it is bound anew
        ("r = old(1)\ndef old(v): return 2", 0, 1, ""),
        ("r = uses()\ndef old(v): return 2", 0, 1, ""),
        ("r = old(1)\ndef old(v, w=1): return 2", 0, 0, "old"),
        ("r = uses()\ndef old(v, w=1): return 2", 0, 0, "old"),
        ("def old(v, w=1): return 2\nr = old(1)", 1, 0, ""),
        ("r = old(1)\ndef old(v): return 2\nclass A: pass", 1, 0, "old"),
        ("r = Old()\nclass Old: pass", 0, 0, "Old"),
        ("class Old: pass\nr = Old()", 1, 0, ""),
        ("r = math.pi\nimport cmath as math", 0, 1, ""),
        ("import math\nr = math.pi", 1, 0, ""),
        # what the rest of the cell makes, or changes
        ("k = 1\ndef f(a=k): pass", 0, 0, "f"),
        ("binds()\ndef f(a=n): pass", 0, 0, "f"),
        ("binds()\nclass A: k = n", 0, 0, "A"),
        ("def f(a=pending): pass", 0, 0, "f"),
        ("def f(): pass\nf.k = 1", 0, 0, "f"),
        ("class A: pass\nA.k = 1", 0, 0, "A"),
        ("class A:\n  made = 0\n  def __init__(self): A.made += 1\nA()", 0, 0, "A"),
        # what must not be made twice
        ("def f(a=next(it)): pass", 0, 0, "f"),
        ("def f(a=[k for k in xs]): pass", 0, 0, "f"),
        ("def f(a={}): pass", 1, 0, ""),
        ("def f(a={}): pass\nf()", 0, 0, "f"),
        ("def f(a=(1, -n, math.pi), *, b=None): pass\nf()", 1, 0, ""),
        ("def f(a=range(3)): pass\nf()", 1, 0, ""),
        ("class A:\n  k = next(it)", 1, 0, ""),
    ],
)
def test_what_also_runs_here(cell: str, first: int, late: int, others: str) -> None:
    """At once, after the task is made, or not at all: then the name comes back from the worker."""
    found = split(cell)
    assert (len(found.first), len(found.late), found.others) == (first, late, {*others.split()})


def test_what_is_to_come_back_does() -> None:
    """A function or class that ``-o`` names is the worker's."""
    assert split("def f(): pass\nclass A: pass", "f", "A").others == {"f", "A"}


@pytest.mark.parametrize(
    "cell",
    [
        "class A(Told): pass",
        "class A(metaclass=Meta): pass",
        "class B:\n  def __init_subclass__(cls): pass\nclass A(B): pass",
        "class M(type):\n  def __new__(cls, *a): pass\nclass A(metaclass=M): pass",
    ],
)
def test_a_class_of_which_others_are_told_is_refused(cell: str) -> None:
    """Its base or metaclass would be told again wherever the class arrives."""
    with pytest.raises(CellError, match=r"the class 'A', .* told"):
        split(cell)


def test_classes_of_libraries_tell_nobody() -> None:
    """Enumerations and abstract classes are plain definitions."""
    assert (
        len(split("import abc, enum\nclass E(enum.Enum): A = 1\nclass B(abc.ABC): pass\nclass C(B): pass").first) == 4
    )
