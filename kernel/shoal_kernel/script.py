"""The text of a ``%%bash_task`` cell: where variables stand in it, and the command that it becomes.

Workers import this module, and nothing else of the kernel side.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import CellError

__all__ = ["command", "is_word", "split_script"]

_PIECE = re.compile(r"\{\{|\}\}|\$\{[^{}]*\}|\{([^{}]*)\}|[{}]")
_WORDS = (list, tuple, set, frozenset)
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
    return [*pieces, (text + script[end:], "")]


def is_word(value: object) -> bool:
    """Whether a value can stand in a script: text, a number, a path, or several of them."""
    if isinstance(value, _WORDS):
        return all(map(_is_single, value))
    return _is_single(value)


def _is_single(value: object) -> bool:
    return isinstance(value, str | int | float) or _path(value) is not None


def _path(value: object) -> str | None:
    text = os.fspath(value) if isinstance(value, os.PathLike) else None
    return text if isinstance(text, str) else None


def command(pieces: Sequence[tuple[str, str]], values: Mapping[str, Any], folder: str) -> str:
    """The command for bash: what the script says, in the notebook's folder if the worker has it.

    Args:
        pieces: from :func:`split_script`.
        values: of the variables, with values where futures stood.
        folder: the notebook's.

    Raises:
        CellError: a value cannot stand in a script.
    """
    parts = [f"cd -- {shlex.quote(folder)} 2>/dev/null\n"]
    for text, name in pieces:
        parts.append(text)
        if name:
            parts.append(_quoted(name, values[name]))
    return "".join(parts)


def _quoted(name: str, value: Any) -> str:
    if not is_word(value):
        fix = "use text, numbers, paths, or a list of them; write other data to a file first"
        raise CellError(f"'{{{name}}}' is of type {type(value).__name__}, which is no word for a shell", fix)
    words = value if isinstance(value, _WORDS) else [value]
    return " ".join(shlex.quote(_path(word) or str(word)) for word in words)
