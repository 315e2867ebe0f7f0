"""What is only itself in the kernel: second names, what cannot travel, what keeps state."""

from __future__ import annotations

import functools
import re
from concurrent.futures import Future
from typing import Any

import pytest

from shoal_kernel.analysis.names import analyse, parse
from shoal_kernel.planning.staying import stays


def _counter() -> Any:
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return count

    return tick


def _numbers() -> Any:
    yield 1


NOTEBOOK: dict[str, Any] = {
    "rows": [[1], [2]], "sizes": {"a": 1}, "text": "abc", "n": 3, "model": object(), "coming": Future(), "re": re,
    "tick": _counter(), "adder": lambda v: v + 1, "kept": functools.lru_cache(len), "numbers": _numbers,
}  # fmt: skip


def why(cell: str, *functions: str) -> str:
    """The reason; empty if there is none."""
    tree = parse(cell)
    found = stays(tree, [parse(function) for function in functions], NOTEBOOK, set(analyse(tree).writes))
    return "" if found is None else found.what


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("same = rows", "a second name of 'rows'"),
        ("first = rows[0]", "a second name of a part of 'rows'"),
        ("part = model.weights", "a second name of a part of 'model'"),
        ("best = coming['a']", "a second name of a part of 'coming'"),
        ("best = coming.get('a')", "a second name of a part of 'coming'"),
        ("other = coming\nother.fit(3)", "a second name of 'coming'"),
        ("a, b = rows, 2", "makes 'a' a second name of 'rows'"),
        ("pair = [rows, 1]", "a second name of a part of 'rows'"),
        ("a = [1]\nb = a", "makes 'b' a second name of 'a'"),
        ("grid = [[0], [1]]\ntop = grid[0]", "makes 'top' a second name of a part of 'grid'"),
        ("stream = (v for v in rows)", "a generator, which cannot travel"),
        ("stream = numbers()", "a generator, which cannot travel"),
        ("found = re.match('a', text)", "which cannot travel"),
        ("import csv\nreader = csv.reader(lines)", "which cannot travel"),
        ("handle = open('a')", "an open file, which cannot travel"),
        ("v = tick()", "uses 'tick', which keeps state of its own"),
        ("v = kept('a')", "uses 'kept', which keeps its results"),
        ("try:\n    f()\nexcept ValueError as e:\n    saved = e", "keeps an exception"),
        ("def gen():\n    yield 1\nstream = gen()", "a generator, which cannot travel"),
    ],
)
def test_such_cells_stay(cell: str, what: str) -> None:
    """Each says why."""
    assert what in why(cell)


@pytest.mark.parametrize(
    "cell",
    [
        "m = n",
        "size = sizes['a']",
        "letter = text[0]",
        "a, b = b, a",
        "rows = rows",
        "first = rows[0]\nmodel2 = train(first)",
        "pair = [n, text]",
        "total = sum(rows, [])",
        "both = {'a': coming}",
        "v = adder(3)",
        "values = [v for v in rows]",
        "def gen():\n    yield 1\nlast = max(gen())",
        "with open('a') as fh:\n    text2 = fh.read()",
        "try:\n    f()\nexcept ValueError as e:\n    told = str(e)",
        "pattern = re.compile('a')",
    ],
)
def test_other_cells_do_not(cell: str) -> None:
    """Values that nobody can change, new objects, and work that is worth a worker."""
    assert why(cell) == ""


def test_a_class_that_counts_its_objects_stays() -> None:
    """What a class holds is changed on the worker in vain."""
    text = parse("def __init__(self):\n    Account.made += 1")
    found = stays(parse("a = Account()"), [text], {"Account": type("Account", (), {})}, {"a"})
    assert found is not None
    assert "sets an attribute of the class 'Account'" in found.what


def test_functions_of_the_notebook_count() -> None:
    """A generator, a counter, a list that an argument keeps: found in their text."""
    assert "a generator" in why("it = walk()", "def walk():\n    yield 1")
    assert "keeps state" in why(
        "tock = make()", "def make():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1"
    )
    assert "in the default" in why("push(1)", "def push(v, to=[]):\n    to.append(v)")
    assert why("push(1)", "def push(v, to=[]):\n    return len(to)") == ""


CLASS = """class Account:
    def __init__(self):
        self.balance = 0
    def deposit(self, v):
        self.balance += v
    def twice(self, v):
        self.deposit(v)
    def told(self):
        return str(self.balance)
"""


@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        ("rows[0].deposit(3)", True),
        ("coming.twice(3)", True),
        ("for account in rows:\n    account.deposit(1)", True),
        ("made = model.deposit(1).deposit(2)", True),
        ("v = rows[0].told()", False),
        ("centred(rows)", True),
        ("marked(rows)", True),
        ("pay(1)", True),
        ("measured(rows)", False),
        ("centred(3)", False),
        ("centred(n)", False),
        ("other(rows)", False),
    ],
)
def test_calls_of_own_code_that_change_objects_stay(cell: str, changes: bool) -> None:
    """Methods that set attributes of their object, also through others; functions that change an argument."""
    texts = [
        parse("def centred(m):\n    m -= 1\n    return m"),
        parse("def marked(table):\n    table['a'] = 1"),
        parse("def measured(table):\n    size = len(table)\n    size += 1\n    return size"),
        parse("def other(table):\n    table = list(table)\n    table.append(1)\n    return table"),
        parse("def pay(v):\n    model.deposit(v)"),
    ]
    tree = parse(cell)
    functions = {"centred": why, "marked": why, "measured": why, "other": why, "pay": why}
    found = stays(tree, texts if "pay" in cell else texts[:-1], {**NOTEBOOK, **functions}, set(), [parse(CLASS)])
    assert (found is not None and "changes what it is given" in found.what) is changes
