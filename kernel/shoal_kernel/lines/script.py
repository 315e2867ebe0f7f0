"""The text of a ``%%bash_task`` cell: where variables stand in it, and the command that it becomes.

Workers import this module, and nothing else of the kernel side.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from shoal.errors import CellError
from shoal_kernel.lines.shelltext import Reader

__all__ = ["check_value", "command", "is_word", "split_script"]

_PIECE = re.compile(r"\{\{|\}\}|\$\{[^{}]*\}|\{([^{}]*)\}|[{}]")
_WORDS = (list, tuple, set, frozenset, range)
_AT = {
    "bare": '"${%s[@]}"',
    "double": "${%s[*]}",
    "here": "${%s[*]}",
    "comment": "${%s[*]}",
    "single": "'\"${%s[*]}\"'",
    "ansi": "'\"${%s[*]}\"$'",
}
"""How the shell's own variable with the words stands in a script, wherever that is: what it holds is never read as a script."""

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"}
_BRACES = "write {{ and }} where the shell is to get a brace"


def split_script(script: str) -> list[tuple[str, str]]:
    """Take a script apart.

    ``{x}`` is a variable of the notebook; ``{{`` and ``}}`` are braces; ``${...}`` is the shell's own.

    Args:
        script: the body of a cell.

    Returns:
        Pairs of a text, and the name of the variable that follows it (empty after the last).

    Raises:
        CellError: a brace stands alone, or what stands in a pair is no name.
    """
    pieces: list[tuple[str, str]] = []
    text, end = "", 0
    for found in _PIECE.finditer(script):
        text += script[end : found.start()]
        end = found.end()
        piece, name = found[0], found[1]
        if piece in ("{{", "}}"):
            text += piece[0]
        elif piece.startswith("$"):
            text += piece
        elif name is None or not name.isidentifier():
            line = script.count("\n", 0, found.start()) + 2
            raise CellError(f"line {line} has '{piece}', which is no {{name}} of a variable", _BRACES)
        else:
            pieces.append((text, name))
            text = ""
    pieces.append((text + script[end:], ""))
    _places(pieces)
    return pieces


def _places(pieces: Sequence[tuple[str, str]]) -> list[str]:
    """Where each variable of a script stands: see :attr:`Reader.place`."""
    reader, places = Reader(), []
    for text, name in pieces:
        reader.feed(text)
        if name and reader.place == "literal":
            reason = f"'{{{name}}}' stands in a text after <<'MARK', in which the shell replaces nothing"
            raise CellError(reason, "write <<MARK without quotes, or give the text a variable")
        places.append(reader.place)
        if name:
            reader.value()
    return places


def is_word(value: object) -> bool:
    """Whether a value can stand in a script: text, a number, a path, or several of them."""
    if isinstance(value, _WORDS):
        return all(map(_is_single, value))
    return _is_single(value)


def check_value(name: str, value: object) -> None:
    """Refuse a value that cannot stand in a script.

    Args:
        name: the variable.
        value: what it holds.

    Raises:
        CellError: it is no word, nor several.
    """
    fix = "use text, numbers, paths, or a list of them; write other data to a file first"
    if not is_word(value):
        wrong = next((part for part in value if not _is_single(part)), value) if isinstance(value, _WORDS) else value
        holds = "is" if wrong is value else "has a part"
        raise CellError(f"'{{{name}}}' {holds} of type {type(wrong).__name__}, which is no word for a shell", fix)
    if any("\0" in word for word in _words(value)):
        raise CellError(
            f"'{{{name}}}' holds the character \\0, which no command can have", "write the text to a file first"
        )


def _is_single(value: object) -> bool:
    return isinstance(value, str | Real) or _path(value) is not None


def _path(value: object) -> str | None:
    text = os.fspath(value) if isinstance(value, os.PathLike) else None
    return text if isinstance(text, str) else None


def _words(value: Any) -> list[str]:
    return [_path(word) or str(word) for word in (value if isinstance(value, _WORDS) else [value])]


def command(pieces: Sequence[tuple[str, str]], values: Mapping[str, Any], folder: str) -> str:
    """The command for bash: what the script says, in the notebook's folder if the worker has it.

    Numbers stand in the script as they are. All else is given to variables of the shell in the first line, and these stand
    in the script: so no part of a value can be taken for a part of the script, be it within quotes or not.

    Args:
        pieces: from :func:`split_script`.
        values: of the variables, with values where futures stood.
        folder: the notebook's.

    Raises:
        CellError: a value cannot stand in a script.
    """
    given: dict[str, str] = {}
    parts: list[str] = []
    for (text, name), place in zip(pieces, _places(pieces), strict=True):
        parts.append(text)
        if not name:
            continue
        value = values[name]
        check_value(name, value)
        if isinstance(value, Real):
            parts.append(str(value))
        elif place == "sum":
            raise CellError(
                f"'{{{name}}}' stands in arithmetic, and is no number", f"write int({name}) in a cell before"
            )
        else:
            variable = given.setdefault(name, f"__shoal_{len(given)}")
            parts.append(_AT[place] % variable)
    first = [f"{given[name]}=({' '.join(map(_quoted, _words(values[name])))}); " for name in given]
    return "".join([*first, f"cd -- {_quoted(folder)} 2>/dev/null\n", *parts])


def _quoted(word: str) -> str:
    if "\n" not in word:
        return shlex.quote(word)
    return "$'" + "".join(_ESCAPES.get(char, char) for char in word) + "'"  # lines keep their numbers
