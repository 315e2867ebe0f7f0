"""The text of a ``%%bash_task`` cell."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import CellError
from shoal.files import File
from shoal_kernel.script import command, is_word, split_script


def made(script: str, **values: Any) -> str:
    return command(split_script(script), values, "/home").partition("\n")[2]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo {x}", "echo 'a b'"),
        ("echo {x}{n}", "echo 'a b'3"),
        ("cat {paths}", "cat 'p 1' q"),
        ("cat {file}", "cat /data/in.txt"),
        ("awk '{{print $1}}' {file}", "awk '{print $1}' /data/in.txt"),
        ("echo ${HOME} ${{HOME}} {{{n}}}", "echo ${HOME} ${HOME} {3}"),
        ("no braces at all\n", "no braces at all\n"),
        ("ls {empty}", "ls "),
        ("echo {blank}", "echo ''"),
    ],
)
def test_names_are_replaced_by_quoted_values(script: str, expected: str) -> None:
    """Text, numbers, paths and lists; doubled braces are braces, and ``${...}`` is the shell's."""
    values = {"x": "a b", "n": 3, "paths": ["p 1", Path("q")], "file": File("/data/in.txt"), "empty": [], "blank": ""}
    assert made(script, **values) == expected


@given(st.text())
def test_no_text_is_more_than_one_word(text: str) -> None:
    """Whatever a variable holds, the shell takes it as one word."""
    assert shlex.split(made("{x}", x=text)) == [text]


@pytest.mark.parametrize("piece", ["{print $1}", "{}", "{a,b}", "{x.y}", "{", "}", "{1..3}"])
def test_braces_that_hold_no_name_are_refused(piece: str) -> None:
    """The sentence quotes them with their line, and says how to write a brace."""
    with pytest.raises(CellError, match="line 3 has .* write {{ and }}"):
        split_script(f"true\nawk {piece}")


def test_what_is_no_word_is_refused() -> None:
    """A value that has no one way to be written is said by its name and type."""
    assert is_word(["a", 1, Path("b")])
    assert not is_word({"a": 1})
    assert not is_word([["a"]])
    assert not is_word(b"bytes")
    assert not is_word(None)
    with pytest.raises(CellError, match="'{x}' is of type dict"):
        made("{x}", x={})


def test_the_script_runs_in_the_notebooks_folder() -> None:
    """On a line of its own before the script, so that bash counts lines as the cell does, and quoted."""
    assert command(split_script("pwd"), {}, "/a b").splitlines() == ["cd -- '/a b' 2>/dev/null", "pwd"]
