"""The book of cells: what is stale after cells ran anew, and why."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal_kernel.book.cellbook import Book, Run
from shoal_kernel.lines.celltext import CellFlow, flow_of


class Notebook:
    """Cells by one-letter keys."""

    def __init__(self) -> None:
        self.book = Book()
        self.count = 0

    def run(self, key: str, text: str, **held: Any) -> None:
        self.count += 1
        self.book.add(Run(key, self.count, text, flow_of(text, lambda cell: cell), held))

    def stale(self) -> dict[str, str]:
        return self.book.stale()


def chain() -> Notebook:
    """Three cells, each of which needs the one before."""
    made = Notebook()
    for key, text in {"A": "x = 1", "B": "y = x + 1", "C": "z = y + 1"}.items():
        made.run(key, text)
    return made


def test_nothing_is_stale_at_first() -> None:
    """A notebook that ran from top to bottom is as it should be; also if it runs again."""
    made = chain()
    assert made.stale() == {}
    for key, text in {"A": "x = 1", "B": "y = x + 1", "C": "z = y + 1"}.items():
        made.run(key, text)
    assert made.stale() == {}


def test_cells_and_names_below_an_edit_are_stale() -> None:
    """The next one by what was made anew, those below it by that one."""
    made = chain()
    made.run("A", "x = 2")
    assert made.stale() == {
        "B": "'x' was made anew by cell [4]",
        "C": "'y' comes from cell [2], which is stale",
    }
    assert list(made.book.stale_names()) == ["y", "z"]
    made.run("B", "y = x + 1")
    assert made.stale() == {"C": "'y' was made anew by cell [5]"}
    made.run("C", "z = y + 1")
    assert made.stale() == {}


def test_a_name_that_several_cells_write_in_turn_is_not_stale() -> None:
    """``df = df.dropna()`` below ``df = ...`` makes neither of them stale, nor a cell between them."""
    made = Notebook()
    for key, text in {"A": "df = 1", "B": "seen = df", "C": "df = df + 1", "D": "df += 1", "E": "end = df"}.items():
        made.run(key, text)
    assert made.stale() == {}
    made.run("C", "df = df + 2")
    assert list(made.stale()) == ["D", "E"]


def test_functions_carry_what_they_read() -> None:
    """A cell that calls a function is stale if a name that the function reads is made anew; the definition is not."""
    made = Notebook()
    for key, text in {"A": "k = 1", "B": "def f(v):\n    return v * k", "C": "out = f(2)"}.items():
        made.run(key, text)
    made.run("A", "k = 2")
    assert made.stale() == {"C": "'k' was made anew by cell [4]"}
    made.run("B", "def f(v):\n    return v + k")
    assert list(made.stale()) == ["C"]


def test_a_name_that_its_cell_makes_no_more_is_told() -> None:
    """The cell was edited, and binds another name."""
    made = chain()
    made.run("A", "other = 1")
    assert made.stale()["B"] == "'x' is not made any more by its cell, which is [4] now"


def test_a_name_that_comes_from_elsewhere_now_is_told() -> None:
    """A later cell has written it since; that alone makes nothing stale."""
    made = chain()
    made.run("D", "x = 9")
    assert made.stale() == {}
    assert made.book.lost("B") == {"x": ("A", "holds what cell [4] gave it")}
    assert made.book.lost("C") == {}
    made.run("E", "del y")
    assert made.book.lost("C") == {"y": ("B", "is not there any more")}


def test_equal_inputs_are_no_reason_to_run() -> None:
    """A cell whose inputs have the values that they had counts as run."""
    made = Notebook()
    made.run("A", "x = 1")
    made.run("B", "y = x", x=1)
    made.run("A", "x = 1  # the same")
    assert list(made.stale()) == ["B"]
    assert not made.book.as_before("B", lambda name, held: False)
    assert made.book.as_before("B", lambda name, held: (name, held) == ("x", 1))
    assert made.stale() == {}


def test_magics_have_names_too() -> None:
    """Task cells, loops over elements and scripts read and write as their text says."""
    same = lambda cell: cell  # noqa: E731
    assert flow_of("%%task -o z\nz = x\nw = 1", same) == CellFlow(frozenset("x"), writes=frozenset("z"))
    loop = CellFlow(frozenset({"xs", "n", "k"}), writes=frozenset({"out"}))
    assert flow_of("%%parallel for i in xs if i > n -> out\ni * k", same) == loop
    script = CellFlow(frozenset({"done", "word"}), writes=frozenset({"code"}))
    assert flow_of("%%bash_task --in done -o code\necho {word}", same) == script
    assert flow_of("%%html\n<b>", same) == CellFlow()
    assert flow_of("x = = 1", same) == CellFlow()


@given(st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("ABCDEF")), max_size=12), st.integers(0, 5))
def test_running_what_is_stale_in_order_leaves_nothing_stale(edges: list[tuple[str, str]], edited: int) -> None:
    """Of a notebook whose cells only need cells above them."""
    needs = {key: sorted({one.lower() for one, other in edges if other == key and one < key}) for key in "ABCDEF"}
    texts = {key: f"{key.lower()} = [{', '.join(needs[key])}]" for key in "ABCDEF"}
    made = Notebook()
    for key, text in texts.items():
        made.run(key, text)
    made.run("ABCDEF"[edited], texts["ABCDEF"[edited]])
    below = {"ABCDEF"[edited]}
    for key in "ABCDEF":
        if {need.upper() for need in needs[key]} & below:
            below.add(key)
    below.discard("ABCDEF"[edited])
    assert set(made.stale()) == below
    for key in list(made.stale()):
        made.run(key, texts[key])
    assert made.stale() == {}
