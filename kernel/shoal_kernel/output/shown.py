"""The kernel's half of rich output: takes what tasks display out of what they print. PURE."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

from shoal_kernel.worker.showing import BEGIN, END

__all__ = ["Pieces", "Shown", "Splitter", "plain_text"]

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_BODY = re.compile("[A-Za-z0-9+/=]*")
_FRAME = re.compile(f"{re.escape(BEGIN)}({_BODY.pattern})(?:{re.escape(END)})?")


class Shown(NamedTuple):
    """Something that a task displays.

    Args:
        name: of the place below the cell.
        data: representations by MIME type.
        metadata: of these.
        update: whether it takes the place of what is shown there.
    """

    name: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    update: bool


class Splitter:
    """Takes text as it comes, in pieces of any length, and hands on text and displays in order.

    Args:
        text: called with the stream and text.
        show: called with what is displayed.
    """

    def __init__(self, text: Callable[[str, str], object], show: Callable[[Shown], object]) -> None:
        self._text, self._show = text, show
        self._held: dict[str, str] = {}

    def __call__(self, stream: str, text: str) -> None:
        """Text has come.

        Args:
            stream: ``stdout`` or ``stderr``.
            text: the next piece.
        """
        text = self._held.pop(stream, "") + text
        while text:
            before, begin, rest = text.partition(BEGIN)
            if not begin:
                kept = _beginning(text)
                self._pass_on(stream, text[: len(text) - kept])
                self._hold(stream, text[len(text) - kept :])
                return
            self._pass_on(stream, before)
            length = len(_BODY.match(rest)[0])  # type: ignore[index]  # it matches always
            if END.startswith(rest[length : length + len(END)]) and len(rest) < length + len(END):
                self._hold(stream, BEGIN + rest)
                return
            shown = _read(rest[:length])
            whole = rest.startswith(END, length)  # or its worker was killed amid it, and another one goes on
            if whole and shown is not None:
                self._show(shown)
            text = rest[length + len(END) * whole :]

    def _pass_on(self, stream: str, text: str) -> None:
        if text:
            self._text(stream, text)

    def _hold(self, stream: str, text: str) -> None:
        if text:
            self._held[stream] = text


class Pieces:
    """What comes below a cell, in one display: text alone while there is nothing else, with HTML besides if there is.

    Args:
        most: characters of text that are kept, the last ones.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: list[str | Shown] = []

    def add(self, piece: str | Shown) -> None:
        """Add text, or what a task displays; an update takes the place of what is there under its name."""
        if isinstance(piece, Shown) and piece.update:
            same = [i for i, old in enumerate(self._all) if isinstance(old, Shown) and old.name == piece.name]
            for index in same:
                self._all[index] = piece
            if same:
                return
        if isinstance(piece, str) and self._all and isinstance(self._all[-1], str):
            self._all[-1] += piece
        else:
            self._all.append(piece)

    def bundle(self) -> dict[str, Any]:
        """All of it by MIME type."""
        whole = "".join(piece if isinstance(piece, str) else _told(piece) for piece in self._all)
        if len(whole) > self._most:
            whole = f"[{len(whole) - self._most:,} characters before this are left out]\n{whole[-self._most :]}"
        found = {"text/plain": whole.rstrip("\n")}
        shown = [piece for piece in self._all if isinstance(piece, Shown)]
        if shown:
            found["text/html"] = "".join(map(_markup, self._all))
        pictures = [piece.data["image/png"] for piece in shown if "image/png" in piece.data]
        if len(pictures) == 1:  # for what does not read HTML, such as LaTeX
            found["image/png"] = pictures[0]
        return found


def _markup(piece: str | Shown) -> str:
    if isinstance(piece, str):
        return f"<pre>{escape(_COLOUR.sub('', piece[-100_000:]))}</pre>"
    data = piece.data
    for mime in ("image/png", "image/jpeg"):
        if mime in data:
            return f'<div><img src="data:{mime};base64,{data[mime]}"></div>'
    for mime in ("text/html", "image/svg+xml"):
        if mime in data:
            return f"<div>{data[mime]}</div>"
    return f"<pre>{escape(_told(piece))}</pre>"


def _told(shown: Shown) -> str:
    text = str(shown.data.get("text/plain", ""))
    return f"{text}\n" if text else ""


def _beginning(text: str) -> int:
    """How many characters at the end of a text may be the beginning of a frame's beginning."""
    return next((n for n in range(min(len(BEGIN) - 1, len(text)), 0, -1) if BEGIN.startswith(text[-n:])), 0)


def _read(body: str) -> Shown | None:
    """A frame's content; None if it is none of ours: anything can be printed."""
    try:
        found = json.loads(base64.b64decode(body, validate=True))
        name, data, metadata = str(found["name"]), dict(found["data"]), dict(found["metadata"])
        return Shown(name, data, metadata, bool(found["update"]))
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


def plain_text(text: str) -> str:
    """What a task has printed, the plain text of what it displayed in its place.

    Args:
        text: all of it, of one stream.
    """

    def plain(frame: re.Match[str]) -> str:
        shown = _read(frame[1])
        return "" if shown is None else _told(shown)

    return _FRAME.sub(plain, text)
