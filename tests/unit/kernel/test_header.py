"""The line of a ``%%parallel`` cell."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from shoal.errors import CellError
from shoal_kernel.lines.header import elements_of, read_header


@pytest.mark.parametrize(
    ("line", "names", "results", "options"),
    [
        ("for x in xs -> out", ("x",), "out", ""),
        ("for x in xs for y in ys if x < y -> out --quiet", ("x", "y"), "out", "--quiet"),
        ("  for (a, b), *rest in xs  ->  out  --name 'a -> b'", ("a", "b", "rest"), "out", " --name 'a -> b'"),
        ("for x in ['->', 'a'] -> out", ("x",), "out", ""),
        ("for i, x in enumerate({'a': 1}) -> out", ("i", "x"), "out", ""),
    ],
)
def test_a_line_is_taken_apart(line: str, names: tuple[str, ...], results: str, options: str) -> None:
    """Loops and conditions as Python has them, an arrow, a name, options; arrows in texts are no arrows."""
    header = read_header(line)
    assert (header.names, header.results, header.options) == (names, results, options)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("for x in xs", "no '-> NAME'"),
        ("x in xs -> out", "'x in xs' does not"),
        ("for x in -> out", "not how Python goes through"),
        ("for x in xs ->", "names no variable"),
        ("for x in xs -> 3x", "'-> 3x' names no variable"),
        ("for x in xs -> class", "names no variable"),
        ("for x in xs -> out.a", "names no variable"),
        ("for d[0] in xs -> out", "binds no name"),
        ("for x in xs] + [1 -> out", "not how Python goes through"),
        ("", "no '-> NAME'"),
    ],
)
def test_mistakes_in_the_line_are_named(line: str, said: str) -> None:
    """What is wrong is said in one sentence that quotes it, with the form to write."""
    with pytest.raises(CellError, match="Fix: write %%parallel for x in xs -> results"):
        read_header(line)
    with pytest.raises(CellError) as caught:
        read_header(line)
    assert said in str(caught.value)


def found(line: str, **notebook: Any) -> list[tuple[Any, ...]]:
    return elements_of(read_header(line), notebook)


def test_elements_are_what_python_would_go_through() -> None:
    """Nested loops, conditions, names of the loops before, and what the notebook defines."""
    assert found("for x in xs -> r", xs=(1, 2)) == [(1,), (2,)]
    assert found("for x in xs for y in range(x) if keep(y) -> r", xs=[1, 2, 3], keep=lambda y: y != 1) == [
        (1, 0), (2, 0), (3, 0), (3, 2),
    ]  # fmt: skip
    assert found("for k, v in d.items() -> r", d={"a": 1}) == [("a", 1)]
    assert found("for x in (y * 2 for y in xs) -> r", xs=[1, 2]) == [(2,), (4,)]
    assert found("for x in [] -> r") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("for x in nope -> r", "'nope' in the line of the cell is not defined here"),
        ("for x in n -> r", "'n' is an int, which has no elements"),
        ("for x in f -> r", "'f' is a future, so that its elements are not known yet. Fix: write f.result()"),
        ("for x in fs for y in x -> r", "'x' is a future"),
        ("for x in fs if x -> r", "the condition 'x' is a future"),
        ("for x in [1 / 0] -> r", "fails with ZeroDivisionError: division by zero"),
        ("for a, b in [1] -> r", "fails with TypeError"),
    ],
)
def test_what_cannot_be_gone_through_is_said(line: str, said: str) -> None:
    """A name that is not there, a future, a number, a line that fails: each in one sentence."""
    future: Future[Any] = Future()
    with pytest.raises(CellError) as caught:
        found(line, n=3, f=future, fs=[future])
    assert said in str(caught.value)
