"""What a task displays travels in what it prints, and is taken out again, whatever the pieces are that it comes in."""

from __future__ import annotations

import io
import itertools
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal_kernel.output.shown import Pieces, Shown, Splitter, plain_text
from shoal_kernel.worker.showing import BEGIN, END, display, stage, update_display

PIECES = st.lists(st.one_of(st.text(alphabet="ab\x1b_shoal;\\\n", max_size=8), st.integers(0, 5)), max_size=8)


def printed(parts: list[str | int], monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    """What a worker prints: text as it is, numbers displayed."""
    out, real = io.StringIO(), sys.__stdout__
    sys.__stdout__ = out  # type: ignore[misc]
    try:
        with stage(""):
            for part in parts:
                if isinstance(part, str):
                    out.write(part)
                else:
                    display(part)
    finally:
        sys.__stdout__ = real  # type: ignore[misc]
    return out.getvalue()


def split(text: str, cuts: list[int]) -> list[str | Shown]:
    """What comes out, adjacent text put together."""
    found: list[str | Shown] = []

    def add(_stream: str, more: str) -> None:
        if found and isinstance(found[-1], str):
            found[-1] += more
        else:
            found.append(more)

    splitter = Splitter(add, found.append)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    for start, end in itertools.pairwise(places):
        splitter("stdout", text[start:end])
    return found


@given(PIECES, st.lists(st.integers(0, 600), max_size=12))
def test_text_and_displays_come_out_in_order(parts: list[str | int], cuts: list[int]) -> None:
    """However the text is cut on its way; only what may be the beginning of a frame is kept back at the end."""
    whole = printed([*parts, "."])
    wanted: list[Any] = []
    for part in [*parts, "."]:
        if isinstance(part, str) and wanted and isinstance(wanted[-1], str):
            wanted[-1] += part
        elif part != "":
            wanted.append(part)
    found = split(whole, cuts)
    told = [piece if isinstance(piece, str) else int(piece.data["text/plain"]) for piece in found]
    if BEGIN not in "".join(part for part in parts if isinstance(part, str)):
        assert told == wanted


def test_what_only_looks_like_a_frame_harms_nobody() -> None:
    """Frames of nonsense are dropped; what comes after them is not."""
    for body in ("", "e30=", "W10=", "eyJuYW1lIjogMX0="):
        assert split(f"a{BEGIN}{body}{END}b", []) == ["ab"]
    assert split(f"a{BEGIN}never", []) == ["a"]


@pytest.mark.parametrize("cuts", [[], [3], [9, 10, 11, 14], list(range(40))])
def test_a_frame_that_was_cut_off_hides_nothing_after_it(cuts: list[int]) -> None:
    """A worker was killed while it sent a picture: what the next attempt prints and shows is there."""
    text = f"a{BEGIN}AAAA\nnext {printed([7])}{BEGIN}BBBB{printed([8])}."
    whole = split(text, cuts)
    assert [piece if isinstance(piece, str) else piece.data["text/plain"] for piece in whole] == [
        "a\nnext ",
        "7",
        "8",
        ".",
    ]
    assert plain_text(text) == "a\nnext 7\n8\n."


def test_the_other_stream_goes_by() -> None:
    """A frame that has not ended on stdout does not hold up stderr."""
    got: list[tuple[str, str]] = []
    splitter = Splitter(lambda stream, text: got.append((stream, text)), lambda shown: None)
    splitter("stdout", BEGIN + "abc")
    splitter("stderr", "a warning")
    assert got == [("stderr", "a warning")]


def test_updates_and_large_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update names its place; what is too large for stdout is said there, and kept for the report."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "__stdout__", out)
    with stage("") as shown:
        handle = display("first", display_id="x")
        assert handle is not None
        handle.update("second")
        update_display("third", display_id="x")
        display({"text/plain": "huge", "image/png": "A" * 700_000}, raw=True)
        display("small")
    found = [piece for piece in split(out.getvalue(), []) if isinstance(piece, Shown)]
    assert [(piece.name, piece.update) for piece in found[:3]] == [("x", False), ("x", True), ("x", True)]
    assert found[3].data == {"text/plain": "huge [0.9 MB: shown when the task has ended well]"}
    assert list(shown.late) == [found[3].name]
    assert found[4].data["text/plain"] == "'small'"


def test_plain_text_has_the_plain_text_of_displays() -> None:
    """Where only text can be shown."""
    assert plain_text(printed(["a\n", 7, "b\n"])) == "a\n7\nb\n"


@given(st.lists(st.one_of(st.text(max_size=5), st.tuples(st.sampled_from("xyz"), st.booleans())), max_size=12))
def test_one_display_holds_all(parts: list[Any]) -> None:
    """Text alone stays text; with displays there is HTML as well; an update changes what is there."""
    pieces = Pieces(1_000)
    for part in parts:
        pieces.add(part if isinstance(part, str) else Shown(part[0], {"text/html": f"<i>{part[0]}</i>"}, {}, part[1]))
    bundle = pieces.bundle()
    shows = any(not isinstance(part, str) for part in parts)
    assert ("text/html" in bundle) == shows
    if not shows:
        assert bundle["text/plain"] == "".join(parts).rstrip("\n")


def test_text_is_no_markup() -> None:
    """What a task prints cannot become HTML."""
    pieces = Pieces(1_000)
    pieces.add("<script>alert(1)</script>")
    pieces.add(Shown("x", {"text/plain": "<b>"}, {}, False))
    assert "<script>" not in pieces.bundle()["text/html"]
    assert "<b>" not in pieces.bundle()["text/html"]


def test_the_display_that_holds_all_can_be_read_without_html_and_has_no_codes_in_it() -> None:
    """One picture is there as a picture as well; colours of a traceback stand in the text, not in the HTML."""
    pieces = Pieces(1_000)
    pieces.add(Shown("a", {"image/png": "AAAA", "text/plain": "<Figure>"}, {}, False))
    pieces.add("\x1b[31mValueError\x1b[0m: <x>\n")
    bundle = pieces.bundle()
    assert bundle["image/png"] == "AAAA"
    assert "\x1b[31m" in bundle["text/plain"]
    assert bundle["text/html"].endswith("<pre>ValueError: &lt;x&gt;\n</pre>")
    pieces.add(Shown("b", {"image/png": "BBBB"}, {}, False))
    assert "image/png" not in pieces.bundle(), "one of two would pass for all"
