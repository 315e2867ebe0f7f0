"""The worker's half of ``%%task``, run in this process."""

from __future__ import annotations

import io
import pickle
import sys
import threading
from types import FunctionType
from typing import Any

import pytest

from shoal.errors import CellError
from shoal.outcome import Failure, Raised, Skipped
from shoal_kernel.output.errors import explain
from shoal_kernel.output.shown import plain_text
from shoal_kernel.worker.cellrun import REPORT, CellCode, Report, run_cell


def body() -> None:
    """What the anchor is a copy of."""


def anchor(**known: Any) -> FunctionType:
    return FunctionType(body.__code__, {"__name__": "__main__", **known})


def run(text: str, *outputs: str, at: FunctionType | None = None, **names: Any) -> tuple[dict[str, Any], Report]:
    code = CellCode("\n" + text, "<Cell In[7]>", outputs)
    results = run_cell(code, at or anchor(), **names)
    return results, results.pop(REPORT)


def test_outputs_and_the_last_value() -> None:
    """The wanted names come back; the value of the last expression is shown, and is no output."""
    results, report = run("b = a + 1\nc = 2\nb * 10", "b", a=1)
    assert results == {"b": 2}
    assert report.shown == ({"text/plain": "20"}, {})


@pytest.mark.parametrize("text", ["a = 1", "None", "print()"])
def test_nothing_to_show(text: str) -> None:
    """A statement, and the value None, show nothing."""
    assert run(text)[1].shown is None


def test_functions_see_the_cells_names() -> None:
    """A function that came with the anchor reads what the cell writes, and the other way round."""
    home = anchor()
    shared = home.__globals__
    exec("def area(): return width * height", shared)
    results, _ = run("width = 6\nresult = area()", "result", at=home, height=7, area=shared["area"])
    assert results == {"result": 42}


def test_top_level_await() -> None:
    """A cell may await."""
    assert run("import asyncio\nx = await asyncio.sleep(0, 5)\nx", "x")[0] == {"x": 5}


def test_classes_that_travelled_are_not_made_again() -> None:
    """So that an instance is one of the notebook's own class."""

    class P:
        pass

    code = CellCode("class P:\n    pass\np = P()", "<cell>", ("p",), classes=("P",))
    assert isinstance(run_cell(code, anchor(), P=P)["p"], P)


def test_a_deleted_name_need_not_travel() -> None:
    """``del`` of a name whose value stayed at home works."""
    code = CellCode("del big", "<cell>", existing=("big",))
    assert run_cell(code, anchor()).keys() == {REPORT}


def test_missing_and_unpicklable_names_are_reported() -> None:
    """Each is named with its reason; reading its value raises, wherever it arrives; all else is there."""
    results, report = run("if a:\n    b = 1\nc = lock\nd = 4", "b", "c", "d", a=0, lock=threading.Lock())
    assert results["d"] == 4
    assert "was not set" in report.missing["b"]
    assert "(a lock) stayed on the worker" in report.stayed["c"]
    for name in "bc":
        with pytest.raises(CellError, match=f"'{name}'"):
            pickle.loads(pickle.dumps(results[name]))


def test_a_value_that_cannot_be_shown_costs_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """A ``_repr_`` method that raises is named; the value is shown by the others."""
    text = "class Bad:\n    def _repr_html_(self): return 1 / 0\nb = 1\nBad()"
    results, report = run(text, "b")
    assert results == {"b": 1}
    assert report.shown is not None
    assert "Bad object" in report.shown[0]["text/plain"]
    assert "Bad._repr_html_ failed: ZeroDivisionError" in capsys.readouterr().err


def test_display_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows values where the cell prints; where only text can be read, that is their plain text."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "__stdout__", out)
    run("display([1, 2], 'x')")
    assert plain_text(out.getvalue()) == "[1, 2]\n'x'\n"


def caught(text: str) -> BaseException:
    try:
        run(text)
    except Exception as error:
        here = error.__traceback__
        assert here is not None
        assert here.tb_next is not None
        return error.with_traceback(here.tb_next.tb_next)  # without the frames of this file
    raise AssertionError("it did not fail")


def test_a_failure_is_explained_by_the_users_own_lines() -> None:
    """Type, message, and the frames of cells by their names; frames of Shoal are left out."""
    failure = Failure.of(caught("def f(n):\n    return 1 / n\n\nf(0)"))
    explained = explain(failure, "cell 7 (task 0)")
    assert explained is not None
    kind, message, lines = explained
    assert (kind, message) == ("ZeroDivisionError", "division by zero")
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith("  Cell In[7], line 5, in <module>")
    assert any(line.startswith("  Cell In[7], line 3, in f") for line in lines)
    assert lines[-1].endswith("ZeroDivisionError\x1b[0m: division by zero")
    assert "cellrun" not in "".join(lines)


def test_chained_errors_are_all_there() -> None:
    """The cause of an error is shown before it."""
    error = caught("try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('no k') from e")
    explained = explain(Failure.of(error), "t")
    assert explained is not None
    text = "\n".join(explained[2])
    assert text.index("KeyError: 'k'") < text.index("direct cause") < text.index("no k")
    assert text.count("no k") == 2  # the statement, and the last line


def test_the_last_line_is_there_once() -> None:
    """Also for types with a module, types of the notebook, messages of several lines, and notes."""
    for text, last in [
        ("import json\njson.loads('x')", "JSONDecodeError"),
        ("class Own(Exception): pass\nraise Own('two\\nlines')", "Own"),
        ("e = ValueError('m')\ne.add_note('a note')\nraise e", "ValueError"),
    ]:
        explained = explain(Failure.of(caught(text)), "t")
        assert explained is not None
        shown = "\n".join(explained[2])
        assert shown.count(f"\x1b[31m{explained[0]}") == 1
        assert explained[0].endswith(last)
        assert ("a note" in shown) == ("a note" in text)


def test_other_ends_take_one_line() -> None:
    """A lost worker, a failed input and an error of Shoal's own have no traceback worth showing."""
    lost = Failure("shoal.errors.WorkerLost", "it ended", "Traceback ...", lost=True)
    skipped = Skipped(lost, ("x of cell 1 (task 0)",))
    for outcome in (lost, skipped, Raised(CellError("no", "yes"))):
        explained = explain(outcome, "cell 2 (task 1)")
        assert explained is not None
        assert len(explained[2]) == 1
    assert "x of cell 1 (task 0)" in explain(skipped, "cell 2 (task 1)")[1]  # type: ignore[index]
