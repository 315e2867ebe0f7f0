"""``%%parallel`` without workers: one element's run, keys for running again, what failed, what is printed."""

from __future__ import annotations

import ast
import pickle
from types import FunctionType
from typing import Any

import pytest

from shoal.futures import TaskFuture
from shoal.outcome import Held, Outcome, Raised
from shoal_kernel.cells.gathered import Elements
from shoal_kernel.cells.progress import Printer, element_text
from shoal_kernel.cells.resume import Runs, element_keys
from shoal_kernel.output.failed import ElementsFailed, flaw_of
from shoal_kernel.worker.element import ElementCode, run_element


class Owner:
    """Stands for a session."""

    def state_of(self, tid: int) -> str | None:
        return "running"


OWNER: Any = Owner()


def future(tid: int, outcome: Outcome | None = None) -> TaskFuture[Any]:
    made: TaskFuture[Any] = TaskFuture(OWNER, tid, "cell 4")
    if outcome is not None:
        made.settle(outcome)
    return made


def reaching(**notebook: Any) -> FunctionType:
    """A function that captures all of a notebook's names."""
    code = compile(f"lambda: [{', '.join(notebook)}]", "<shoal>", "eval").co_consts[0]
    return FunctionType(code, {"__name__": "__main__", **notebook}, "cell")


# --------------------------------------------------------------------------- one element


def test_the_last_expression_is_the_value() -> None:
    """Element names, captured names and names that were futures are all there; without an expression it is None."""
    code = ElementCode("y = x + k\ny * n\n", "<Cell In[4]>", ("x",))
    assert run_element(code, reaching(k=10), (1,), {"n": 2}) == 22
    assert run_element(ElementCode("y = x\n", "<Cell In[4]>", ("x",)), reaching(), (1,), {}) is None


def test_elements_that_share_a_task_do_not_see_each_other() -> None:
    """What one element binds, or changes in a captured object, the next does not have."""
    text = "acc.append(x)\nif x == 1:\n    left = 1\ntry:\n    left\n    seen = True\nexcept NameError:\n    seen = False\n(acc, seen)\n"
    code = ElementCode(text, "<Cell In[4]>", ("x",), shared=frozenset({"acc"}))
    reach = reaching(acc=[0])
    assert [run_element(code, reach, (x,), {}) for x in (1, 2)] == [([0, 1], True), ([0, 2], False)]


def test_elements_and_values_of_futures_are_copies_too() -> None:
    """One object in several elements of a task, and one that was a future: no element sees another's change."""
    code = ElementCode("x.append(1)\nf.append(2)\n(x, f)\n", "<Cell In[4]>", ("x",), shared=frozenset({"x", "f"}))
    one, reach, given = [0], reaching(), {"f": [0]}
    assert [run_element(code, reach, (one,), given) for _ in range(2)] == [([0, 1], [0, 2])] * 2


def test_a_function_that_an_element_returns_keeps_what_it_needs() -> None:
    """Values are packed after the element has run: its names are still there then."""
    code = ElementCode("def f():\n    return x * k\nf\n", "<Cell In[4]>", ("x",))
    assert run_element(code, reaching(k=3), (2,), {})() == 6


# --------------------------------------------------------------------------- running again


def keys_of(text: str, elements: list[tuple[Any, ...]], **notebook: Any) -> list[Any]:
    return element_keys(ast.parse(text), reaching(**notebook), {}, ("x",), elements)[0]


def test_a_key_is_code_captures_and_element() -> None:
    """Comments and layout make no difference; code, data and element do."""
    first = keys_of("x + k", [(1,), (2,)], k=[1])
    assert keys_of("# a comment\nx  +  k", [(1,), (2,)], k=[1]) == first
    assert keys_of("x + k", [(2,)], k=[1]) == first[1:]
    assert keys_of("x - k", [(1,)], k=[1]) != first[:1]
    assert keys_of("x + k", [(1,)], k=[2]) != first[:1]


def test_what_has_no_digest_has_no_key() -> None:
    """An element with a lock has no key; a captured lock takes the keys of all, and is named."""
    import threading

    assert [key is None for key in keys_of("x", [(1,), (threading.Lock(),)])] == [False, True]
    keys, why = element_keys(ast.parse("x"), reaching(lock=threading.Lock()), {}, ("x",), [(1,)])
    assert keys == [None]
    assert "'lock' has no digest" in why


def test_a_future_is_the_same_while_it_is_the_same_future() -> None:
    """Futures among elements count by their task, without waiting for a value."""
    one, other = future(1), future(2)
    assert keys_of("x", [(one,)]) == keys_of("x", [([one][0],)])
    assert keys_of("x", [(one,)]) != keys_of("x", [(other,)])


def test_only_values_of_the_last_run_are_known() -> None:
    """Failed and cancelled elements are unknown, those under way are not, and a new run takes the place of the old."""
    runs = Runs()
    good, bad, open_, gone = future(0, Held(1)), future(1, Raised(ValueError("no"))), future(2), future(3)
    gone.settle(None)
    a, b, c, d = [(b"code", name) for name in (b"a", b"b", b"c", b"d")]
    runs.keep("out", [a, b, c, d, None], [good, bad, open_, gone, good], None)
    assert runs.known("out", [d, c, b, a, a, None]) == [None, open_, None, good, None, None]
    assert runs.known("other", [a]) == [None]
    runs.keep("out", [b], [good], None)
    assert runs.known("out", [a, b]) == [None, good]


# --------------------------------------------------------------------------- what failed


def test_the_error_counts_and_names_the_first() -> None:
    """How many of how many, the first three with element and line, how many more; it travels as itself."""
    flaws = tuple((index, f"x={index}", "ValueError: no", 2, index) for index in range(5))
    error = ElementsFailed("out", 100, flaws)
    text = str(error)
    assert "5 of 100 elements failed, so that 'out' has no value" in text
    assert "x=2: ValueError: no (line 2)" in text
    assert "x=3" not in text
    assert "and 2 more" in text
    assert str(pickle.loads(pickle.dumps(error))) == text


def test_an_elements_flaw_has_the_line_of_the_cell() -> None:
    """The innermost line of the cell itself, not of a library below it; a cancelled element is said to be."""
    code = compile("\nimport json\njson.loads('{')\n", "<Cell In[4]>", "exec")
    try:
        exec(code, {})
    except ValueError as error:
        outcome = Raised(error)
    assert flaw_of(3, "x=3", future(7, outcome)).line == 3
    gone = future(8)
    gone.settle(None)
    assert str(flaw_of(4, "x=4", gone)) == "x=4: it was cancelled"


def test_elements_are_counted_as_they_end() -> None:
    """Values in order; the error has the cause of the first that failed, and the futures of all."""
    fine = Elements("out", "cell 4", str, [future(0, Held("a")), future(1, Held("b"))], 1)
    bad = Elements("out", "cell 4", str, [future(0, Held("a")), future(1, Raised(ValueError("no")))], 0)
    for elements in (fine, bad):
        for index, element in enumerate(elements._futures):
            elements._over(index, element)
    assert (fine.done, fine.failed, fine.kept, fine.values()) == (2, 0, 1, ["a", "b"])
    with pytest.raises(ElementsFailed) as caught:
        bad.values()
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.futures[0].result() == "a"


# --------------------------------------------------------------------------- what is shown


class Output:
    """Keeps what would stand below a cell."""

    def __init__(self) -> None:
        self.text = ""

    def stream(self, name: str, text: str) -> None:
        self.text += text


def test_lines_of_elements_have_their_element_before_them() -> None:
    """Lines are shown whole, however they arrive; the rest of the last one comes at the end."""
    output: Any = Output()
    printer = Printer(output)
    printer.add("x=1", "stdout", "a\nb")
    printer.add("x=2", "stdout", "c\n")
    printer.add("x=1", "stdout", "b\nend")
    printer.end("x=1")
    printer.end("x=2")
    assert output.text == "[x=1] a\n[x=2] c\n[x=1] bb\n[x=1] end\n"


def test_what_elements_print_is_bounded() -> None:
    """After that it is said, once, where the rest is."""
    output: Any = Output()
    printer = Printer(output)
    for _ in range(30):
        printer.add("x=1", "stdout", "y" * 9_999 + "\n")
    assert output.text.count("%output NUMBER") == 1
    assert len(output.text) < 130_000


def test_elements_are_told_in_short() -> None:
    """Simple values by name; anything else by its place."""
    assert element_text(("x",), (3,), 0) == "x=3"
    assert element_text(("x", "y"), (1, "a"), 0) == "x=1, y='a'"
    assert element_text(("x",), ([1],), 17) == "#17"
    assert element_text(("x",), ("y" * 50,), 2) == "#2"
