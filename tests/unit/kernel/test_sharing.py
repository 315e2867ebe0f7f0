"""Which names a task cell only reads, which are looked at before and after, and which come back: a table."""

from __future__ import annotations

import linecache
import math
from collections import Counter, defaultdict, deque
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shoal.errors import CellError
from shoal_kernel.analysis.names import parse
from shoal_kernel.analysis.sharing import touches
from shoal_kernel.lines.options import TaskOptions, parse_options
from shoal_kernel.planning.plan import Plan, make_plan
from shoal_kernel.planning.reaching import reach
from shoal_kernel.worker.checks import BOUND, Watch

HELPERS = """
def helper(v):
    return v
def grows():
    seen.append(1)
def reads():
    return len(seen)
def binds():
    global count
    count += 1
def hands():
    helper(seen)
def calls():
    return hands() or binds()
class Model:
    def fit(self): self.w = 1
    def get(self): self.n = 1
    def note(self): seen.append(1)
unseen = lambda: seen.append(1)
class Bag:
    def append(self, v): v.append(1)
    def get(self, v): v.append(1)
def maker():
    n = 0
    def step():
        nonlocal n
        n += 1
    return step
step = maker()
"""


class Scaler:
    """As those of scikit-learn that may work in place."""

    copy = True

    def __init__(self) -> None:
        self.copy = False

    def transform(self, values: Any) -> None:
        """Change what is given."""


Scaler.__module__ = "sklearn.preprocessing"


def notebook() -> dict[str, Any]:
    home: dict[str, Any] = {"__name__": "__main__"}
    linecache.cache["<table>"] = (len(HELPERS), None, HELPERS.splitlines(keepends=True), "<table>")
    exec(compile(HELPERS, "<table>", "exec"), home)
    frame = pd.DataFrame({"a": [1, 2]})
    own = ModuleType("own_module")
    home |= {
        "x": [1, 2], "y": [3], "rows": [[1], [2]], "m": {"k": [1]}, "n": 1, "t": "text", "seen": [], "count": 0,
        "df": frame, "arr": np.arange(3.0), "np": np, "pd": pd, "math": math, "obj": home["Model"](), "own": own,
        "groups": defaultdict(list), "tally": Counter("ab"), "queue": deque([1]), "steps": iter([1, 2]), "pair": (1, "a"),
        "held": ([1], 2), "deque": deque, "bag": home["Bag"](), "scaler": Scaler(),
    }  # fmt: skip
    return home


def plan(cell: str, line: str = "", home: dict[str, Any] | None = None) -> Plan:
    home = notebook() if home is None else home
    found = {name for name in home if not name.startswith("__")}
    return make_plan(parse("\n" + cell), home, found, parse_options(line) if line else TaskOptions())


def looked_at(made: Plan, home: dict[str, Any]) -> set[str]:
    functions = reach(home, made.inputs)
    names = {*made.inputs, *functions.reads, *functions.hands_on} & home.keys()
    return Watch(made.checks, {name: home[name] for name in names}, tuple(made.outputs)).looked_at


# cell, the names that are looked at before and after it, the names that come back
CASES: list[tuple[str, str, str]] = [
    # --- plainly read
    ("z = x[0]", "", "z"),
    ("z = m['k']", "", "z"),
    ("z = x + y", "", "z"),
    ("z = len(x) + sum(y) + max(x)", "", "z"),
    ("print(x, m, df, f'{arr}')", "", ""),
    ("z = 1 in x and not y", "", "z"),
    ("z = [k for k in x if k > n]", "", "z"),
    ("for k in x: z = k", "", "k z"),
    ("z = df.a.mean()", "", "z"),
    ("z = df['a'].sum() + df.shape[0]", "", "z"),
    ("z = df.groupby('a').size()", "", "z"),
    ("z = df[df.a > n]", "", "z"),
    ("z = df.merge(df)", "", "z"),
    ("z = np.dot(arr, arr)", "", "z"),
    ("z = np.sqrt(arr).sum()", "", "z"),
    ("z = pd.concat([df, df])", "", "z"),
    ("z = math.sqrt(n)", "", "z"),
    ("z = arr.reshape(3, 1).T", "", "z"),
    ("z = m.get('k')", "", "z"),
    ("for k, v in m.items(): z = k", "", "k v z"),
    ("z = x.copy()\nz.append(1)", "", "z"),
    ("z = list(x)\nz.append(1)", "", "z"),
    ("z = x * 2\nz.append(1)", "", "z"),
    ("z = df.copy()\nz['b'] = 1", "", "z"),
    ("z = t.upper().split()", "", "z"),
    ("z = sorted(x, key=len)", "", "z"),
    ("z = sorted(x, key=lambda k: -k)", "", "z"),
    ("z = tally['a'] + tally.most_common(1)[0][1]", "", "z"),
    ("z = queue[0]", "", "z"),
    ("z = []\nfor row in rows: z.append(row)", "", "row z"),
    ("z = reads()", "", "z"),
    ("z = 'a'.join(x)", "", "z"),
    ("helper(n)", "", ""),
    ("helper(t); helper(pair)", "", ""),
    ("helper(math)", "", ""),
    ("helper(helper)", "", ""),
    # --- handed to code of unknown effect
    ("helper(x)", "x", ""),
    ("z = helper(x)", "x", "z"),
    ("helper(v=x)", "x", ""),
    ("helper(*rows)", "rows", ""),
    ("helper(x[0])", "x", ""),
    ("helper([x, y])", "x y", ""),
    ("helper(x if n else y)", "x y", ""),
    ("helper(held)", "held", ""),
    ("x.foo()", "x", ""),
    ("df.apply(helper)", "df", ""),
    ("df.explode_in_place(arr)", "arr df", ""),
    ("own.mean(x)", "x", ""),
    ("obj.run()", "obj seen", ""),
    ("obj.get()", "obj seen", ""),
    ("z = obj.w", "obj seen", "z"),
    ("z = groups['k']", "groups", "z"),
    ("z = [obj][0].get()", "obj seen", "z"),
    ("for row in rows: helper(row)", "rows", "row"),
    ("for i, row in enumerate(rows): helper(row)", "rows", "i row"),
    ("[helper(row) for row in rows]", "rows", ""),
    ("list(map(helper, rows))", "rows", ""),
    ("sorted(rows, key=helper)", "rows", ""),
    ("sorted(rows, key=lambda row: row.pop())", "rows", ""),
    ("z = x.copy()\nhelper(z)", "x", "z"),
    ("z = rows.copy()\nz[0].append(1)", "rows", "z"),
    ("z = m.get('k')\nz.append(1)", "m", "z"),
    ("z = x + y\nz[0].append(1)", "x y", "z"),
    ("max(rows).append(1)", "rows", ""),
    ("(lambda: x)().append(1)", "x", ""),
    ("def f():\n    z = x\n    z.append(1)\nf()", "x", ""),
    ("def f(): return x\nf().append(1)", "x", ""),
    ("def f(v): v.append(1)\nf(x)", "x", ""),
    ("class A: v = x\nA.v.append(1)", "x", "A"),
    ("z = {}\nz['k'] = x\nz['k'].append(1)", "x", "z"),
    ("z = []\nz.append(x)\nhelper(z)", "x", "z"),
    ("with x: pass", "x", ""),
    ("match m:\n    case {'k': v}: helper(v)", "m", "v"),
    ("hands()", "seen", ""),
    ("unseen()", "seen", ""),
    ("sum = helper\nsum(x)", "x", "sum"),
    ("obj.note()", "obj seen", ""),
    # --- methods that are known by their names, if their objects are what they have to be
    ("z = []\nz.append(x)", "", "z"),
    ("z = deque()\nz.append(x)", "", "z"),
    ("from collections import deque as d2\nz = d2()\nz.append(x)", "", "z"),
    ("z = pd.DataFrame({'a': x})\nz.insert(0, 'b', y)", "x", "z"),
    ("def f(v):\n    out = []\n    out.append(x)\n    return len(out)\nz = f(1)", "", "z"),
    ("bag.append(x)", "x", "bag"),
    ("z = bag\nz.append(x)", "x", "bag z"),
    ("z = Bag()\nz.append(x)", "x", "z"),
    ("Bag().append(x)", "x", ""),
    ("z = [Bag()]\nz[0].append(x)", "x", "z"),
    ("for each in [bag]: each.append(x)", "x", "bag each"),
    ("z = bag.get(x)", "bag x", "z"),
    ("def f(v): v.append(x)\nf(y)", "x y", ""),
    ("list.append(x, 1)", "x", ""),
    ("deque.append(queue, 1)", "queue", ""),
    ("pd.DataFrame.insert(df, 0, 'z', 1)", "df", ""),
    ("np.add(arr, 1)", "", ""),
    ("np.add(arr, 1, arr)", "arr", ""),
    ("np.sqrt(arr, arr)", "arr", ""),
    ("np.clip(arr, 0, 1, arr)", "arr", ""),
    ("arr.clip(0, 1, arr)", "arr", ""),
    ("z = np.clip(arr, 0, 1) + np.dot(arr, arr) + np.cumsum(arr, 0)", "", "z"),
    ("np.put(arr, [0], 1)", "arr", ""),
    ("np.linalg.solve(arr, arr, overwrite_b=True)", "arr", ""),
    ("scaler.transform(arr)", "arr", ""),
    ("@x.append\ndef f(): pass", "", "f x"),
    ("@helper\ndef f(): pass\nhelper(y)", "y", "f"),
    ("step()", "step", ""),
    # --- written
    ("np.add.at(arr, [0], 1)", "", "arr"),
    ("del x\nx = 1", "", "x"),
    ("if n: del x", "", "x"),
    ("del (x, [y])", "", ""),
    ("x.append(1)", "", "x"),
    ("m['k'] = 1", "", "m"),
    ("df['b'] = 1", "", "df"),
    ("df.drop(columns='a', inplace=True)", "", "df"),
    ("np.add(arr, 1, out=arr)", "", "arr"),
    ("x += [1]", "", "x"),
    ("z = [x, y]\nz.append(1)", "", "x y z"),
    ("x = helper(x)", "", "x"),
    ("next(steps)", "", "steps"),
    ("z = list(steps)", "", "steps z"),
    ("grows()", "", "seen"),
    ("binds()", "", "count"),
    ("calls()", "seen", "count"),
]


@pytest.mark.parametrize(("cell", "checked", "written"), CASES, ids=[cell.replace("\n", "; ") for cell, _, _ in CASES])
def test_what_is_read_checked_and_written(cell: str, checked: str, written: str) -> None:
    """Each name of the notebook is plainly read, looked at before and after, or comes back."""
    home = notebook()
    made = plan(cell, home=home)
    assert set(made.outputs) == set(written.split())
    assert looked_at(made, home) == set(checked.split())


def test_lines_are_those_that_hand_it_on() -> None:
    """Also where the value goes through other names first."""
    found = touches(parse("\nz = x\nhelper(y)\nhelper(z)\nw = [y]\nhelper(w[0])"))
    assert found.lines["x"] == (4,)
    assert found.lines["y"] == (3, 6)


def test_what_is_brought_back_by_name_travels() -> None:
    """``-o`` of a name that the cell does not mention takes it along as well."""
    made = plan("helper(x)", "-o x,y")
    assert made.outputs == ["x", "y"]
    assert {"x", "y"} <= set(made.inputs)


def test_what_is_too_large_to_be_looked_at_counts_as_written() -> None:
    """It comes back, if unknown code gets at it; what is plainly read does not."""
    home = notebook() | {"arr": np.empty(BOUND // 8 + 1)}
    assert plan("helper(arr)", home=home).outputs == ["arr"]
    assert plan("helper(arr)", "-o z", home=home | {"z": 1}).outputs == ["z"]
    assert plan("z = arr.mean() + arr[0]", home=home).outputs == ["z"]


@pytest.mark.parametrize(
    ("cell", "line", "said"),
    [
        ("x.append(1)", "", "'x' and 'same' are the same list"),
        ("same[0] = 2", "", "'same' and 'x' are the same list"),
        ("x.append(1)", "", "write -o same,x"),
        ("x.append(1)", "-o x", "'x' and 'same'"),
        ("y.append(1)", "", "'outer' holds 'y'"),
        ("outer[0].append(1)", "", "'outer' holds 'y'"),
        ("view[0] = 1", "", "share their memory"),
        ("inner.append(1)", "", "'obj' holds 'inner'"),
        ("far.append(1)", "", "'nest' holds 'far'"),
        ("nest['a'][0].append(1)", "", "'nest' holds 'far'"),
        ("side['k'][0].append(1)", "", "'side' and 'late' share an object,"),
        ("bound.append(1)", "", "'method' holds 'bound'"),
        ("given.append(1)", "", "'partial' holds 'given'"),
        ("kept.append(1)", "", "'taker' holds 'kept'"),
        ("cell.append(1)", "", "'Own' holds 'cell'"),
        ("inside.append(1)", "", "'objects' holds 'inside'"),
    ],
)
def test_a_change_that_another_name_would_not_see_is_refused(cell: str, line: str, said: str) -> None:
    """Names that share an object are named, with what to write."""
    home = notebook()
    home |= {"same": home["x"], "outer": [home["y"]], "view": home["arr"][1:], "inner": [1]}
    home["obj"].inner = home["inner"]
    for name in ("far", "bound", "given", "kept", "cell", "inside"):
        home[name] = [1]
    home["nest"] = {"a": (home["far"], [2])}
    home["side"] = {"k": [[5]]}
    home |= {
        "late": deque([home["side"]["k"][0]]),
        "method": home["bound"].append,
        "partial": partial(len, home["given"]),
    }
    exec("def taker(v=kept): pass\nclass Own: held = cell", home)
    home["objects"] = np.array([home["inside"], None], dtype=object)
    with pytest.raises(CellError) as caught:
        plan(cell, line, home)
    assert said in str(caught.value)
    assert "copy" in str(caught.value)


def test_sharing_that_does_no_harm_is_no_reason() -> None:
    """Reading; binding anew; both brought back; a new item of what holds it; what IPython keeps of outputs."""
    home = notebook()
    home |= {"same": home["x"], "outer": [home["y"]], "_3": home["m"]}
    for cell, line in [
        ("z = x[0]", ""),
        ("x = [1]", ""),
        ("x.append(1)", "-o x,same"),
        ("outer.append(1)", ""),
        ("m['k'] = 1", ""),
    ]:
        plan(cell, line, home)
    home["same"] = home["x"] = "text"
    plan("x += 'more'", home=home)


def test_on_threads_functions_do_it_themselves() -> None:
    """Their variables are the notebook's own: nothing has to come back, and names that share an object go on sharing it."""
    home = notebook()
    home["same"] = home["x"]
    for cell, outputs in [("grows()", []), ("binds()", []), ("x.append(1)", ["x"]), ("z = helper(x)", ["z"])]:
        found = {name for name in home if not name.startswith("__")}
        assert make_plan(parse(cell), home, found, TaskOptions(), here=True).outputs == outputs
