"""The worker's look at the inputs of a cell, before and after it."""

from __future__ import annotations

import pickle
import threading
import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from random import Random
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shoal.errors import HiddenMutation
from shoal_kernel.worker import checks
from shoal_kernel.worker.cellrun import REPORT, CellCode, Report, run_cell
from shoal_kernel.worker.checks import Checks, can_change, fingerprint, is_known
from shoal_kernel.worker.sizes import size_of


def body() -> None:
    """What the anchor is a copy of."""


def run(text: str, *outputs: str, checks: Checks | None = None, **names: Any) -> tuple[dict[str, Any], Report]:
    helpers = {"__name__": "__main__"} | {name: value for name, value in names.items() if callable(value)}
    code = CellCode("\n" + text, "<Cell In[7]>", outputs, checks=checks or Checks())
    results = run_cell(code, FunctionType(body.__code__, helpers), **names)
    return results, results.pop(REPORT)


@dataclass
class Box:
    """Something of the user's own."""

    items: list[int] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """Changes what it reads."""
        self.items.append(1)
        return 1


def push(value: Any) -> None:
    """Changes its argument."""
    value.append(1)


def test_a_hidden_change_fails_before_anything_comes_back() -> None:
    """It names the variable, the line and what to write, and survives the way home."""
    with pytest.raises(HiddenMutation) as caught:
        run("total = 1\nhelper(x)", "total", checks=Checks(lines={"x": (3,)}), helper=push, x=[])
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.variables, error.lines, error.write) == (("x",), (3,), ("total", "x"))
    assert str(error) == (
        "'x' was changed by code that line 3 calls, and the change would be lost. "
        "Fix: write %%task -o total,x to bring the change back, or change a copy."
    )


def test_several_changes_are_told_at_once() -> None:
    """All names, all lines."""
    checks = Checks(lines={"x": (3, 4), "y": (4,)})
    with pytest.raises(HiddenMutation, match=r"'x' and 'y' were changed by code that lines 3 and 4 call, .*-o x,y "):
        run("helper(x)\nhelper(y)", checks=checks, helper=push, x=[], y=[])


def test_what_comes_back_may_change() -> None:
    """It is no news then."""
    assert run("helper(x)", "x", helper=push, x=[])[0] == {"x": [1]}


CHANGES: dict[str, tuple[Any, str]] = {
    "a list": ([1, 2], "x.reverse()"),
    "an item deep inside": ({"a": [{"b": [1]}]}, "x['a'][0]['b'].append(2)"),
    "the order of a dict": ({"a": 1, "b": 2}, "x['a'] = x.pop('a')"),
    "the type of an item": ([1], "x[0] = True"),
    "a set": ({1}, "x.add(2)"),
    "a bytearray": (bytearray(b"a"), "x.append(98)"),
    "a deque": (deque([1]), "x.rotate(1); x.append(3)"),
    "a counter": (Counter("a"), "x.update('b')"),
    "an ordered dict": (OrderedDict(a=1), "x['b'] = 1"),
    "a default that reading adds": (defaultdict(list), "x['k']"),
    "an array": (np.zeros(3), "x[1] = 1"),
    "an array of objects": (np.array([[1], None], dtype=object), "x[0].append(2)"),
    "a frame": (pd.DataFrame({"a": [1]}), "x['b'] = 2"),
    "a value in a frame": (pd.DataFrame({"a": [1, 2]}), "x.loc[0, 'a'] = 5"),
    "a series": (pd.Series([1, 2]), "x.iloc[0] = 5"),
    "an attribute": (Box(), "x.items = [2]"),
    "a list in an object": ([Box()], "x[0].items.append(2)"),
    "an array in a dict": ({"a": np.zeros(2)}, "x['a'] += 1"),
    "a generator of random numbers": (Random(1), "x.random()"),
    "an iterator": (iter([1, 2, 3]), "next(x)"),
    "a mutable part of a tuple": ((1, [2]), "x[1].append(3)"),
    "a namespace": (types.SimpleNamespace(a=1), "x.a = 2"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen(what: str) -> None:
    """In whatever is handed to unknown code; and where nothing changes, nothing is said."""
    value, change = CHANGES[what]
    copy = pickle.loads(pickle.dumps(value))
    run("repr(x)", x=copy)
    with pytest.raises(HiddenMutation, match="'x'"):
        run(change, x=copy)


def test_what_is_plainly_read_is_not_looked_at() -> None:
    """The text is believed, for objects of known libraries; reading others may run anything."""
    plain = Checks(plain=frozenset({"x"}))
    run("x.append(1)", checks=plain, x=[])
    for value, text in [(Box(), "x.taken"), ([Box()], "x[0].taken"), (defaultdict(int), "x[1]")]:
        with pytest.raises(HiddenMutation):
            run(text, checks=plain, x=value)


def test_a_method_is_known_by_its_name_if_its_object_is_known() -> None:
    """What a known method is given is not looked at, what a method of the user's own is given is."""
    pair = Checks(plain=frozenset({"m", "x"}), trusts=(("m", "x", "library"),))
    run("x.append(1)", checks=pair, m=np, x=[])
    with pytest.raises(HiddenMutation, match="'x'"):
        run("x.append(1)", checks=pair, m=types.ModuleType("mine"), x=[])


def test_a_name_that_a_function_binds_anew_is_seen() -> None:
    """``global``, without the cell's text saying so."""
    home: dict[str, Any] = {"__name__": "__main__", "hits": 0, "same": 7}
    exec("def hit():\n  global hits, same\n  hits += 1\n  same = 7", home)
    anchor = FunctionType(body.__code__, home)
    with pytest.raises(HiddenMutation, match="'hits' was changed"):
        run_cell(CellCode("\nhit()", "<cell>"), anchor)
    home["hits"] = 0
    run_cell(CellCode("\nhits = 3", "<cell>", checks=Checks(written=frozenset({"hits"}))), anchor)


def test_what_a_function_or_class_keeps_is_looked_at() -> None:
    """Closures, defaults, attributes of functions and of classes."""

    def closure() -> Any:
        held: list[int] = []
        return lambda: held.append(1)

    def default(seen: list[int] = []) -> None:  # noqa: B006
        seen.append(1)

    Own = type("Own", (), {"held": [], "__module__": "__main__"})
    for value, text in [(closure(), "x()"), (default, "x()"), (Own, "x.held.append(1)")]:
        run("x", x=value)
        with pytest.raises(HiddenMutation, match="'x'"):
            run(text, x=value)


def test_a_watched_name_may_be_bound_anew_but_not_changed() -> None:
    """If another name of the notebook holds its first object."""
    watched = Checks(written=frozenset({"x"}), watched={"x": ("same",)})
    assert run("x = x + [1]", "x", checks=watched, x=[0])[0] == {"x": [0, 1]}
    with pytest.raises(HiddenMutation, match=r"also of 'same', would be lost.*-o same,x "):
        run("x += [1]", "x", checks=watched, x=[0])


def test_names_that_shared_an_object_are_told() -> None:
    """What was one object is two when it comes back; loop variables and constants are no news."""
    _, report = run("b = a\nc = d = [2]\ne = f = 'text'", *"bcdef", a=[1])
    assert report.parted == {
        "b": "is a copy from now on: it shared an object with 'a'",
        "d": "is a copy from now on: it shared an object with 'c'",
    }
    assert run("for b in [a]: pass", "b", checks=Checks(passing=frozenset("b")), a=[1])[1].parted == {}
    _, report = run("a.append(1)", "a", checks=Checks(shared={"a": ("outer",)}), a=[1])
    assert report.parted == {"a": "is a copy from now on: it shared an object with 'outer'"}


def test_what_is_too_large_is_left_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is named, and what to write."""
    monkeypatch.setattr(checks, "BOUND", 1000)
    results, report = run("x[0] = 1\nz = 2", "z", x=np.zeros(1000))
    assert results == {"z": 2}
    assert "(0 MB) was not looked at" in report.unchecked["x"]
    assert "-o" in report.unchecked["x"]


def test_inputs_of_threads_are_left_alone() -> None:
    """They are the notebook's own objects: a change of them is not lost."""
    import __main__

    value: list[int] = []
    run_cell(CellCode("\nx.append(1)", "<cell>"), FunctionType(body.__code__, vars(__main__)), x=value)
    assert value == [1]


def test_a_lock_has_no_look() -> None:
    """What can neither be digested nor pickled is no reason to fail."""
    run("x.acquire(); x.release()", x=threading.Lock())


def test_nests_of_any_depth_are_looked_at() -> None:
    """Beyond what pickle can write, and rings."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    before = fingerprint(deep)
    deep.append(1)
    assert fingerprint(deep) != before
    ring: list[Any] = [1]
    ring.append(ring)
    assert fingerprint(ring) == fingerprint(ring)


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 2.5, "a", b"a", (1, ("a",)), frozenset({1}), range(3), np, len, push, Box, threading],
)
def test_what_cannot_change(value: object) -> None:
    """Constants, tuples of them, modules, functions and classes."""
    assert not can_change(value)


@pytest.mark.parametrize("value", [[], {}, set(), (1, []), bytearray(), np.zeros(1), pd.DataFrame(), Box()])
def test_what_can(value: object) -> None:
    """Containers, arrays, objects, and tuples of them."""
    assert can_change(value)


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ([1, {"a": (2, "b")}], True), (np.zeros(2), True), ({"f": pd.DataFrame()}, True), (np, True), (len, True),
        (Counter(), True), (Box(), False), ([1, [Box()]], False), (defaultdict(list), False), (iter([1]), False),
        (push, False), (types.ModuleType("mine"), False),
    ],
)  # fmt: skip
def test_what_is_known(value: object, known: bool) -> None:
    """Types of the standard library and of libraries for data; in containers, too."""
    assert is_known(value) is known


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (np.zeros(1000), 8000), (b"a" * 5000, 5000), ("a" * 5000, 5000), ([np.zeros(1000)] , 8000), (list(range(100_000)), 800_000),
        (dict.fromkeys(range(10_000), "x" * 100), 1_080_000), (pd.DataFrame({"a": np.zeros(1000)}), 8000), (Box([1] * 1000), 8000),
    ],
)  # fmt: skip
def test_sizes_are_about_right(value: object, size: int) -> None:
    """Within a fifth, whatever it is."""
    assert 0.8 * size < size_of(value, 1 << 40) < 1.2 * size + 200
