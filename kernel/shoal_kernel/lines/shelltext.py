"""Where in a shell script one is: within quotes, in a here-document, in arithmetic. PURE.

Workers import this module, and nothing else of the kernel side.
"""

from __future__ import annotations

import re

__all__ = ["Reader"]

_MARK = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]+)'|\"([^\"\n]+)\"|(\\?)([\w.-]+))")


class Reader:
    """Reads a script piece by piece.

    A mistake about a script that is stranger than this knows may split a value into words, but has no part of it run.

    Attributes:
        place: ``bare``, ``double``, ``single``, ``ansi`` (``$'...'``), ``comment``, ``sum`` (arithmetic), ``here`` (a here-document),
            ``literal`` (one whose mark is quoted).
    """

    def __init__(self) -> None:
        self._within = ["bare"]
        self._pending: list[tuple[str, bool, bool]] = []
        self._here: tuple[str, bool, bool] | None = None
        self._line = ""
        self._last = "\n"

    @property
    def place(self) -> str:
        """Where the next character stands."""
        if self._here is not None:
            return "literal" if self._here[1] else "here"
        top = self._within[-1]
        return "bare" if top in ("(", "`") else top

    def value(self) -> None:
        """A value stands here."""
        self._line += "\0"
        self._last = "\0"

    def feed(self, text: str) -> None:
        """Go on by a piece of the script."""
        at = 0
        while at < len(text):
            char = text[at]
            if self._here is not None:
                at += 1
                self._in_here(char)
            elif char == "\\" and self._within[-1] not in ("single", "comment"):
                at += 2
                self._last = "\\"
            else:
                at += self._step(text, at)
                self._last = text[at - 1]

    def _in_here(self, char: str) -> None:
        assert self._here is not None, "asked for it"
        if char != "\n":
            self._line += char
            return
        mark, _, tabs = self._here
        if (self._line.lstrip("\t") if tabs else self._line) == mark:
            self._here = self._pending.pop(0) if self._pending else None
        self._line, self._last = "", "\n"

    def _step(self, text: str, at: int) -> int:
        """One character outside of here-documents; returns how many were read."""
        char, top, within = text[at], self._within[-1], self._within
        if top == "comment":
            if char != "\n":
                return 1
            within.pop()
        elif top in ("single", "ansi"):
            if char == "'":
                within.pop()
            return 1
        if char == '"':
            within.pop() if top == "double" else within.append("double")
        elif char == "`":
            within.pop() if top == "`" else within.append("`")
        elif text.startswith("$((", at) or (top != "double" and text.startswith("((", at)):
            within.append("sum")
            return 3 if char == "$" else 2
        elif text.startswith("$(", at):
            within.append("(")
            return 2
        elif top != "double":
            return self._bare(text, at)
        return 1

    def _bare(self, text: str, at: int) -> int:
        char, top, within = text[at], self._within[-1], self._within
        if char == "'":
            within.append("ansi" if self._last == "$" else "single")
        elif char == "(":
            within.append("(")
        elif char == ")" and top in ("(", "sum"):
            within.pop()
            return 2 if top == "sum" and text.startswith("))", at) else 1
        elif char == "#" and top != "sum" and self._last in " \t\n;(&|":
            within.append("comment")
        elif text.startswith("<<<", at):
            return 3
        elif top != "sum" and (mark := _MARK.match(text, at)):
            quoted = mark[2] or mark[3]
            self._pending.append((quoted or mark[5], bool(quoted or mark[4]), bool(mark[1])))
            return mark.end() - at
        elif char == "\n" and self._pending:
            self._here, self._line = self._pending.pop(0), ""
        return 1
