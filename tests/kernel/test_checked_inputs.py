"""Changes that the text of a task cell does not show, in a real kernel and on real workers."""

from __future__ import annotations

from typing import Any

# the tests of this folder find their fixtures' types in conftest
Kernel = Any

HELPERS = """
import pandas as pd, numpy as np
def grow(rows):
    rows.append(len(rows))
    return len(rows)
def longest(rows):
    return max(rows)
def mean_of(frame):
    return float(frame.a.mean())
class Model:
    def __init__(self):
        self.calls = 0
    def predict(self, value):
        self.calls += 1
        return value
hits = 0
def hit():
    global hits
    hits += 1
"""


def ended(kernel: Kernel) -> None:
    kernel.good("%wait --timeout 50")


def test_a_helper_that_changes_its_argument_fails_the_task(kernel: Kernel) -> None:
    """One line says which variable, where, and what to write; nothing of the cell came back, and the variable is as it was."""
    kernel.good(HELPERS + "rows = [5]")
    cell = kernel.good("%%task\ntotal = grow(rows)\ntotal")
    ended(kernel)
    (text,) = cell.errors
    assert len(text.splitlines()) == 1
    assert text.startswith("\x1b[31mHiddenMutation\x1b[0m: ")
    assert "'rows' was changed by code that line 2 calls" in text
    assert "%%task -o rows,total" in text
    assert kernel.value("(rows, type(total.exception()).__name__)") == "([5], 'HiddenMutation')"


def test_with_its_name_in_o_it_works(kernel: Kernel) -> None:
    """What the sentence tells to write is right."""
    kernel.good(HELPERS + "rows = [5]")
    kernel.good("%%task -o rows,total\ntotal = grow(rows)")
    assert kernel.value("(rows.result(), total.result())") == "([5, 1], 2)"


def test_what_a_pure_helper_gets_stays_what_it_is(kernel: Kernel) -> None:
    """A frame, an array and a list that are only read are no futures, and no task fails."""
    kernel.good(HELPERS + "frame, arr, rows = pd.DataFrame({'a': [1, 3]}), np.arange(4), [1, 9]")
    kernel.good("%%task\nm = mean_of(frame) + longest(arr) + longest(rows) + frame.a.sum()")
    assert kernel.value("(float(m.result()), type(frame).__name__, rows)") == "(18.0, 'DataFrame', [1, 9])"


def test_a_pending_input_is_looked_at_too(kernel: Kernel) -> None:
    """The value of a future, as a method of the user's own that changes its object."""
    kernel.good(HELPERS)
    kernel.good("%%task\nimport time\ntime.sleep(0.2)\nmodel = Model()")
    cell = kernel.good("%%task\nguess = model.predict(3)")
    ended(kernel)
    assert "'model' was changed" in cell.errors[0]
    kernel.good("%%task -o guess,model\nguess = model.predict(3)")
    assert kernel.value("(guess.result(), model.result().calls)") == "(3, 1)"


def test_a_function_that_binds_a_global_brings_it_back(kernel: Kernel) -> None:
    """A function of an earlier cell, in whose text that stands."""
    kernel.good(HELPERS)
    kernel.good("%%task\nhit()\nhit()")
    assert kernel.value("hits.result()") == "2"


def test_names_that_share_an_object_are_refused(kernel: Kernel) -> None:
    """At once, with what to write; that works."""
    kernel.good("first = second = [1]")
    before = kernel.value("len(session.view())")
    cell = kernel.run("%%task\nfirst.append(2)")
    assert "'first' and 'second' are the same list" in cell.errors[0]
    assert kernel.value("(first, len(session.view()))") == f"([1], {before})"
    kernel.good("%%task -o first,second\nfirst.append(2)")
    assert kernel.value("(first.result(), second.result())") == "([1, 2], [1, 2])"


def test_a_second_name_for_an_input_is_told_to_be_a_copy(kernel: Kernel) -> None:
    """It was one object on the worker, and is two in the notebook."""
    kernel.good("origin = [1]")
    cell = kernel.good("%%task\nother = origin")
    ended(kernel)
    assert "'other' is a copy from now on: it shared an object with 'origin'" in cell.text("stderr")


def test_what_is_too_large_comes_back(kernel: Kernel) -> None:
    """An array of 80 MB that is handed to code of unknown effect counts as written; one that is plainly read does not."""
    kernel.good("import numpy as np\nlarge = np.zeros(10_000_000)\ndef peak(a):\n    a[0] = 1\n    return a.max()")
    kernel.good("%%task\nlow = large.min()")
    assert kernel.value("(type(large).__name__, float(low.result()))") == "('ndarray', 0.0)"
    kernel.good("%%task\nhigh = peak(large)")
    assert kernel.value("(float(high.result()), float(large.result()[0]))") == "(1.0, 1.0)"
    kernel.good("del large")
