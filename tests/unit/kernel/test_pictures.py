"""What is shown without a live view: saved pictures, values, tables, durations."""

from __future__ import annotations

import re
import xml.dom.minidom
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from shoal import card
from shoal.events import AttemptEnded, AttemptStarted, TaskEnded, TaskSubmitted
from shoal.record.runs import STATE_NAMES, RunView
from shoal.task import ValueId
from shoal_kernel.notebook import looks
from shoal_kernel.notebook.tables import table
from shoal_kernel.views.static_svg import picture_of
from shoal_kernel.worker.bundle import bundle_of

STATES_TS = Path(__file__).parents[3] / "labextension" / "src" / "views" / "states.ts"


def run(total: int, label: str = "fit") -> RunView:
    """A run of ``total`` tasks, each but the first with the first as its input, in various states."""
    view = RunView()
    for tid in range(total):
        values = [ValueId(0)] if tid else []
        view.apply([TaskSubmitted(10.0 + tid, tid, label, "pool", values, [], (), b"", b"", b"")])
    view.apply([AttemptEnded(0, 1, "value", "w", 11.0, 12.0)] if total else [])
    if total > 2:
        view.apply([AttemptStarted(13.0, 1, 1, "w"), TaskEnded(14.0, 2, "failed", "ValueError: <b>")])
    return view


@pytest.mark.parametrize("total", [0, 1, 3, 24, 25, 300, 301, 5000])
def test_a_picture_is_whole_and_needs_nothing(total: int) -> None:
    """Whatever the size: well-formed, no script, nothing fetched, and it says how the run is."""
    html = picture_of(run(total, "<fit> & co"), 20.0)
    document = xml.dom.minidom.parseString(html.replace("&ensp;", " "))
    assert not re.search(r"<script|src=|href=|url\(", html)
    text = "".join(node.data for node in _texts(document))
    assert (f"of {total:,} done" in text) or not total
    assert ("showing 1 groups" in text) == (total > 300)
    assert len(html) < 250_000


def _texts(node: xml.dom.minidom.Node) -> list[xml.dom.minidom.Text]:
    found = [node] if node.nodeType == node.TEXT_NODE else []
    for child in node.childNodes:
        found += _texts(child)
    return found  # type: ignore[return-value]


def test_a_picture_draws_every_task() -> None:
    """Up to 300 tasks each has its shape, with its name and state for who points at it."""
    html = picture_of(run(40), 20.0)
    assert html.count("<title>") == 40
    assert "<title>fit: 1 failed</title>" in html


def test_groups_that_are_not_drawn_are_said() -> None:
    """With more labels than fit, the picture says how many are missing."""
    view = RunView()
    view.apply([TaskSubmitted(1.0, tid, f"app{tid}", "p", [], [], (), b"", b"", b"") for tid in range(400)])
    assert "showing 60 groups of 400 tasks (340 smaller groups not drawn)" in picture_of(view, 2.0)


def test_both_languages_draw_states_alike() -> None:
    """Colours, shapes and names are those of the live view."""
    text = STATES_TS.read_text()
    for value in [*looks.COLOURS, *looks.SHAPES, *STATE_NAMES]:
        assert f"'{value}'" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.00042, "0.4 ms"),
        (0.0071, "7 ms"),
        (0.123, "0.12 s"),
        (3.21, "3.2 s"),
        (59.6, "1 min 0 s"),
        (75, "1 min 15 s"),
        (7260, "2 h 1 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """Durations read well, and as in the live view."""
    assert card.duration(seconds) == text


class Rich:
    """Shows itself in many ways."""

    def __repr__(self) -> str:
        return "plain"

    def _repr_html_(self) -> str:
        return "<b>rich</b>"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return b"\x89PNG", {"width": 3}

    def _repr_mimebundle_(self, **_options: object) -> tuple[dict[str, object], dict[str, object]]:
        return {"application/x-own": {"a": 1}}, {"isolated": True}

    def _repr_latex_(self) -> None:
        return None


def test_values_show_themselves() -> None:
    """The methods of a value give its representations; bytes become base64, None is none."""
    data, metadata = bundle_of(Rich())
    assert data == {
        "text/plain": "plain",
        "text/html": "<b>rich</b>",
        "image/png": "iVBORw==",
        "application/x-own": {"a": 1},
    }
    assert metadata == {"image/png": {"width": 3}, "isolated": True}


def test_classes_and_containers_are_text() -> None:
    """A class is not asked for what its instances show; long containers are folded, huge texts cut."""
    assert bundle_of(Rich)[0].keys() == {"text/plain"}
    assert len(bundle_of(list(range(100)))[0]["text/plain"].splitlines()) > 3
    assert bundle_of("x" * 200_000)[0]["text/plain"].endswith("the rest is cut]")


def test_a_value_that_looks_wrong_is_shown_as_far_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """What a method raises is said, and the others count; what says yes to every name, or cannot be saved, is left out."""

    class Half:
        def __repr__(self) -> str:
            return "half"

        def _repr_html_(self) -> str:
            raise ValueError("no markup")

        def _repr_latex_(self) -> str:
            raise NotImplementedError

        def _repr_mimebundle_(self, include: object, exclude: object) -> dict[str, Any]:
            return {"text/markdown": "*half*", "application/json": {"a": object()}}

    class Words(dict[str, int]):
        def __getattr__(self, name: str) -> int:
            return self[name]

    class Dumb:
        def __repr__(self) -> str:
            raise KeyError("me")

    assert bundle_of(Half()) == ({"text/plain": "half", "text/markdown": "*half*"}, {})
    assert capsys.readouterr().err == "Half._repr_html_ failed: ValueError: no markup\n"
    assert bundle_of(Words(a=1)) == ({"text/plain": "{'a': 1}"}, {})
    assert bundle_of(Dumb())[0] == {"text/plain": "<Dumb that cannot be shown: KeyError: 'me'>"}
    assert bundle_of(mock.MagicMock(name="x"))[0].keys() == {"text/plain"}
    assert capsys.readouterr().err == ""


def test_tables_line_up() -> None:
    """Columns are as wide as their widest cell; numbers may stand at the right; long cells are cut."""
    text = table(["n", "name"], [[1, "a"], [10, "b" * 60]], right=(0,))
    assert text.splitlines()[2:] == [" 1  a", "10  " + "b" * 43 + "…"]
