"""Which names that hold futures a plain cell needs the values of."""

from __future__ import annotations

import math
from concurrent.futures import Future
from types import FunctionType
from typing import Any

import pytest

from shoal import python_app
from shoal_kernel.analysis.names import parse
from shoal_kernel.planning.needed import needed


@python_app
def app(v: Any) -> Any:
    """An app of the notebook."""
    return v


def notebook() -> dict[str, Any]:
    """Variables; the functions have them as globals, as in a notebook."""
    found: dict[str, Any] = {"app": app, "math": math, "items": [], "table": {}, "x": Future(), "y": Future()}
    exec(  # the functions of a notebook are made by exec, too
        "def plain(v): return v\ndef reads(): return x\ndef calls(v): return app(v)\ndef deep(v): return calls(v)\n",
        found,
    )
    assert isinstance(found["plain"], FunctionType)
    return found


def names(cell: str, always: bool = False) -> list[str]:
    return list(needed(parse(cell), notebook(), {"x", "y"}, always))


@pytest.mark.parametrize(
    "cell",
    [
        "x + 1",
        "-x",
        "x += 1",
        "x > 3",
        "not x",
        "x in items",
        "if x: pass",
        "while x: pass",
        "1 if x else 2",
        "assert x",
        "for i in x: pass",
        "[i for i in x]",
        "f'{x}'",
        "print(x)",
        "len(x)",
        "sum(v for v in [1] if v < x)",
        "sorted(items, key=lambda v: v + x)",
        "x.shape",
        "x.append(1)",
        "x.n = 1",
        "x[0] = 1",
        "del x[0]",
        "items[x]",
        "items[:x]",
        "table[x]",
        "math.sqrt(x)",
        "plain(x)",
        "plain(v=x)",
        "reads()",
        "x = reads()",
        "x(3)",
        "with x: pass",
        "match x:\n    case 1: pass",
        "[*x]",
        "def f(v=1 + x): pass",
        "raise x",
        "def f(): return x + 1\nf()",
        "def f(v):\n    def g(): return x + v\n    return g()\nmap(f, items)",
        "class A:\n    def f(self): return x + 1\nA().f()",
        "x[0] + 1",
        "x['a'].mean()",
        "x[0][1] + 2",
        "x[0][1].shape",
        "f'{x[0]}'",
        "print(x[0])",
        "for v in x['rows']: pass",
        "items[x[0]]",
        "a, *b = x",
        "{**x}",
        "if x[0]: pass",
        "app(x[0] + 1)",
        "if items: x = 1\nprint(x)",
        "print(x)\nx = 1",
    ],
)
def test_a_value_is_needed(cell: str) -> None:
    """Where a future would be of no use, the cell waits."""
    assert names(cell) == ["x"]


@pytest.mark.parametrize(
    "cell",
    [
        "x",
        "x.result()",
        "x.done() or x + 1",
        "await x",
        "z = x",
        "z = [x, y]",
        "items.append(x)",
        "y.result().append(x)",
        "table['k'] = x",
        "x[0]",
        "x[0][1]",
        "z = x[0]",
        "z = [x[0], x[1]]",
        "x[0].result()",
        "await x[0]",
        "x[0] is None",
        "items.append(x[0])",
        "app(x[0])",
        "app(x)",
        "calls(x)",
        "deep(v=x)",
        "isinstance(x, int)",
        "type(x)",
        "repr(x)",
        "x is None",
        "def f(): return x + 1",
        "def f(x): return x + 1\nf(1)",
        "def f():\n    x = 1\n    return x + 1\nf()",
        "def f(): return app(x)\nf()",
        "x = 3",
        "unknown(x)",
        "del x",
        "'x'",
        "x = 1\nprint(x)",
        "for x in items: print(x)",
        "for x in items: pass\nprint(x)",
    ],
)
def test_a_future_will_do(cell: str) -> None:
    """What is handed on, kept or asked as a future keeps nobody waiting."""
    assert names(cell) == []


@pytest.mark.parametrize("cell", ["x", "z = x", "z = [x]", "x[0]", "unknown(x)", "items.append(x)", "1 if 2 else x"])
def test_text_that_knows_nothing_of_futures_gets_values(cell: str) -> None:
    """Under %autotask a plain cell gets the value wherever a future is not asked for by its own words."""
    assert names(cell, always=True) == ["x"]


@pytest.mark.parametrize("cell", ["x.result()", "app(x)", "calls(x)", "isinstance(x, int)"])
def test_words_of_futures_keep_them_futures(cell: str) -> None:
    """Also under %autotask."""
    assert names(cell, always=True) == []


def test_a_method_of_a_value_to_come_gets_values() -> None:
    """Nobody knows what it does with a future."""
    assert names("y.append(x)", always=True) == ["x", "y"]


def test_the_line_is_that_of_the_first_use() -> None:
    """For the message; 0 where a function of the notebook uses the name."""
    cell = "a = 1\nb = x + y\nc = y + x"
    assert needed(parse(cell), notebook(), {"x", "y"}, False) == {"x": 2, "y": 2}
    assert needed(parse("reads()"), notebook(), {"x"}, False) == {"x": 0}
