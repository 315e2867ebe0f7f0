"""The text of a ``%%bash_task`` cell."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import CellError
from shoal.files import File
from shoal_kernel.lines.script import command, is_word, split_script


def made(script: str, **values: Any) -> str:
    return command(split_script(script), values, "/home").partition("\n")[2]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo {x}", 'echo "${__shoal_0[@]}"'),
        ("echo {x}{n}", 'echo "${__shoal_0[@]}"3'),
        ("echo {x} {file} {x}", 'echo "${__shoal_0[@]}" "${__shoal_1[@]}" "${__shoal_0[@]}"'),
        ('echo "a {x} b"', 'echo "a ${__shoal_0[*]} b"'),
        ("echo 'a {x} b' {x}", "echo 'a '\"${__shoal_0[*]}\"' b' \"${__shoal_0[@]}\""),
        ("echo $'a\\'{x}'", "echo $'a\\''\"${__shoal_0[*]}\"$''"),
        ('echo "it\'s {x}"', 'echo "it\'s ${__shoal_0[*]}"'),
        ('echo "$(cat {x}) {x}"', 'echo "$(cat "${__shoal_0[@]}") ${__shoal_0[*]}"'),
        ("echo it\\'s {x}", 'echo it\\\'s "${__shoal_0[@]}"'),
        ("# it's\necho {x}", '# it\'s\necho "${__shoal_0[@]}"'),
        ("# about {x}\nls", "# about ${__shoal_0[*]}\nls"),
        ("cat <<A\n'{x}'\nA\necho {x}", "cat <<A\n'${__shoal_0[*]}'\nA\necho \"${__shoal_0[@]}\""),
        ("cat <<-A <<B\n\tA\n{x}\nB\necho {x}", 'cat <<-A <<B\n\tA\n${__shoal_0[*]}\nB\necho "${__shoal_0[@]}"'),
        ("cat <<< {x}", 'cat <<< "${__shoal_0[@]}"'),
        ("echo $(( ({n} << 2) + 1 )) {x}", 'echo $(( (3 << 2) + 1 )) "${__shoal_0[@]}"'),
        ("echo `cat {x}` {x}", 'echo `cat "${__shoal_0[@]}"` "${__shoal_0[@]}"'),
        ("awk '{{print $1}}' {file}", "awk '{print $1}' \"${__shoal_0[@]}\""),
        ("echo ${HOME} ${{HOME}} {{{n}}}", "echo ${HOME} ${HOME} {3}"),
        ("no braces at all\n", "no braces at all\n"),
        ("ls {empty}", 'ls "${__shoal_0[@]}"'),
    ],
)
def test_names_are_replaced_by_quoted_values(script: str, expected: str) -> None:
    """Text, numbers, paths and lists; doubled braces are braces, and ``${...}`` is the shell's."""
    values = {"x": "a b", "n": 3, "paths": ["p 1", Path("q")], "file": File("/data/in.txt"), "empty": [], "blank": ""}
    assert made(script, **values) == expected


@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_values_are_words_of_the_first_line(words: list[str]) -> None:
    """Whatever a variable holds, the shell takes it as these words, and the script keeps its lines."""
    lines = command(split_script("echo {x}"), {"x": words}, "/home").split("\n")
    assert len(lines) == 2
    first = lines[0].removesuffix("; cd -- /home 2>/dev/null")
    assert first[:11] == "__shoal_0=("
    if not any("\n" in word for word in words):
        assert shlex.split(first[11:-1]) == words


@given(st.text(st.sampled_from("ab '\"`$(){}<\\#\n;|")), st.text(min_size=1))
def test_no_text_is_a_part_of_the_script(script: str, value: str) -> None:
    """Wherever a variable stands, and whatever it holds, nothing of it is in the script."""
    try:
        pieces = split_script(script.replace("{", "{{").replace("}", "}}") + " {x}")
        made = command(pieces, {"x": "<" + value + ">"}, "/home")
    except CellError:
        return
    rest = made.split("\n", 1)[1]
    assert rest.startswith(script)
    words = "${__shoal_0[*]}"
    forms = ['"${__shoal_0[@]}"', words, f"'\"{words}\"'", f"'\"{words}\"$'"]
    assert rest.removeprefix(script + " ") in forms


@pytest.mark.parametrize(
    ("script", "values", "why"),
    [
        ("cat <<'A'\n{x}\nA", {"x": "a"}, "after <<'MARK'"),
        ('cat <<"A"\n{x}\nA', {"x": "a"}, "after <<'MARK'"),
        ("echo $(( {x} + 1 ))", {"x": "a[$(ls)]"}, "stands in arithmetic, and is no number"),
        ("echo {x}", {"x": "a\0b"}, "holds the character"),
        ("echo {x}", {"x": ["a", None]}, "has a part of type NoneType"),
    ],
)
def test_places_and_values_that_cannot_be_are_refused(script: str, values: dict[str, Any], why: str) -> None:
    """Each says why."""
    with pytest.raises(CellError, match=re.escape(why)):
        command(split_script(script), values, "/home")


@pytest.mark.parametrize("piece", ["{print $1}", "{}", "{a,b}", "{x.y}", "{", "}", "{1..3}"])
def test_braces_that_hold_no_name_are_refused(piece: str) -> None:
    """The sentence quotes them with their line, and says how to write a brace."""
    with pytest.raises(CellError, match="line 3 has .* write {{ and }}"):
        split_script(f"true\nawk {piece}")


def test_what_is_no_word_is_refused() -> None:
    """A value that has no one way to be written is said by its name and type."""
    assert is_word(["a", 1, Path("b")])
    assert is_word(range(3))
    assert is_word(np.int64(3))
    assert not is_word({"a": 1})
    assert not is_word([["a"]])
    assert not is_word(b"bytes")
    assert not is_word(None)
    with pytest.raises(CellError, match="'{x}' is of type dict"):
        made("{x}", x={})


def test_the_script_runs_in_the_notebooks_folder() -> None:
    """On a line of its own before the script, so that bash counts lines as the cell does, and quoted."""
    assert command(split_script("pwd"), {}, "/a b").splitlines() == ["cd -- '/a b' 2>/dev/null", "pwd"]
