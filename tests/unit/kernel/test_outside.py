"""What a cell does besides its names, and which cells have nothing for a worker to do."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

import shoal
from shoal_kernel.analysis.names import parse
from shoal_kernel.cells.autotask import is_trivial
from shoal_kernel.planning.outside import Effect, outside

NOTEBOOK: dict[str, Any] = {
    "os": os, "random": random, "shutil": shutil, "subprocess": ModuleType("subprocess"), "time": time, "np": np, "shoal": shoal,
    "Path": pathlib.Path, "shuffle": random.shuffle, "rand": np.random.rand, "train_test_split": train_test_split, "items": [1], "rng": np.random.default_rng(1),
}  # fmt: skip


def effect(cell: str, *functions: str) -> Effect | None:
    return outside(parse(cell), [parse(function) for function in functions], NOTEBOOK)


@pytest.mark.parametrize(
    "cell",
    [
        "open('a', 'w')",
        "open('a', mode='a')",
        "open('a', m)",
        "Path('a').open('x')",
        "Path('a').write_text('b')",
        "df.to_csv('a')",
        "np.save('a', [1])",
        "os.remove('a')",
        "os.makedirs('a')",
        "shutil.move('a', 'b')",
        "subprocess.run(['a'])",
        "os.system('a')",
        "fig.savefig('a')",
    ],
)
def test_what_writes_comes_after_all_before_it(cell: str) -> None:
    """Nobody sees files, so that their writer waits for the cells in flight."""
    found = effect(cell)
    assert found is not None
    assert found.waits


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("os.environ['A'] = '1'", "changes the module os"),
        ("np.x = 1", "changes the module numpy"),
        ("random.seed(1)", "calls random.seed(), which sets up a module"),
        ("np.random.seed(1)", "calls numpy.seed(), which sets up a module"),
        ("os.environ.update(A='1')", "changes the module os"),
        ("np.set_printoptions(precision=3)", "calls numpy.set_printoptions(), which sets up a module"),
        ("os.chdir('a')", "calls os.chdir(), which sets up a module"),
        ("v = random.random()", "draws from the random numbers of the module random"),
        ("v = np.random.rand(3)", "draws from the random numbers of the module numpy"),
        ("shuffle(items)", "draws from the random numbers of the module random"),
        ("from random import choice\nv = choice(items)", "draws from the random numbers of the module random"),
        ("rand(3)", "draws from the random numbers of the module numpy"),
        ("print(dir())", "asks for the names of the notebook"),
        ("input('a')", "asks the keyboard"),
        ("breakpoint()", "stops in the debugger"),
        ("shoal.load()", "makes tasks itself"),
        ("import matplotlib.pyplot as plt\nplt.plot([1])", "draws with pyplot"),
        ("get_ipython().run_line_magic('time', '1')", "has a magic or a shell command"),
    ],
)
def test_what_stays_in_the_kernel(cell: str, what: str) -> None:
    """State of modules, screen and keyboard."""
    found = effect(cell)
    assert found is not None
    assert (found.what, found.waits) == (what, False)


@pytest.mark.parametrize(
    "cell",
    [
        "time.sleep(1)",
        "open('a')",
        "open('a', 'rb')",
        "Path('a').open()",
        "Path('a').read_text()",
        "text.replace('a', 'b')",
        "items.remove(1)",
        "rng.random()",
        "r = random.Random(1)",
        "g = np.random.default_rng(1)",
        "import sys\nsys.stdout.write('a')\nsys.stderr.flush()",
        "dir(items)",
        "train_test_split(items)",
        "table.sample(3)",
        "np.mean([1])",
        "os.path.join('a', 'b')",
        "os.getcwd()",
        "copy = items.copy()",
        "s = set(items)",
    ],
)
def test_what_a_task_can_do(cell: str) -> None:
    """Reading, waiting, numbers from generators that the notebook holds."""
    assert effect(cell) is None


def test_what_only_sets_up_modules_is_told_apart() -> None:
    """Each process can do that for itself; whatever else a cell does comes first."""
    alone, mixed = effect("os.environ['A'] = '1'"), effect("os.environ['A'] = '1'\nv = random.random()")
    assert alone is not None
    assert mixed is not None
    assert (alone.sets, mixed.sets, mixed.line) == (True, False, 2)


@pytest.mark.parametrize(
    ("cell", "draws"),
    [
        ("train_test_split(items)", True),
        ("train_test_split(items, random_state=1)", False),
        ("table.sample(3)", True),
        ("table.sample(3, random_state=1)", False),
        ("from sklearn.linear_model import SGDRegressor\nSGDRegressor()", True),
        ("from sklearn.linear_model import LinearRegression\nLinearRegression()", False),
    ],
)
def test_who_draws_in_secret_counts_once_the_notebook_has_seeded(cell: str, draws: bool) -> None:
    """A library that is given no ``random_state`` takes the numbers of numpy's own generator."""
    from sklearn import linear_model

    assert linear_model
    found = outside(parse(cell), [], NOTEBOOK, True)
    assert (found is not None and "without a random_state" in found.what) is draws


def test_functions_that_the_cell_calls_count() -> None:
    """What their text does, the cell does."""
    drawn = effect("roll(5)", "def roll(n):\n    return [random.random() for _ in range(n)]")
    assert drawn is not None
    assert drawn.what == "calls a function that draws from the random numbers of the module random"
    found = effect("store(1)", "def store(v):\n    open('a', 'w').write(v)")
    assert found is not None
    assert (found.line, found.what, found.waits) == (0, "calls a function that opens a file to write", True)


@pytest.mark.parametrize(
    ("cell", "trivial"),
    [
        ("import os", True),
        ("from os import path\nimport sys", True),
        ("def f():\n    return 1\nclass A:\n    pass", True),
        ("n = 10\nnames = ['a', 'b']\nlow = -1.5e3\nsizes = {'a': (1, 2)}", True),
        ("'text'", True),
        ("n = len('a')", False),
        ("n = m", False),
        ("n = f()", False),
        ("a, b = 1, 2", False),
        ("import os\nos.getcwd()", False),
    ],
)
def test_cells_with_nothing_to_do(cell: str, trivial: bool) -> None:
    """Imports, definitions and constants are no work for a worker."""
    assert is_trivial(parse(cell)) is trivial
