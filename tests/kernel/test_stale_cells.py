"""Cells that are stale, and ``%rerun``, in a real kernel: cells are known by the ids that the front end gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any


class Sheet:
    """A notebook whose cells have ids."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel, self.name = kernel, name
        self.texts: dict[str, str] = {}
        self.cells: dict[str, Any] = {}

    def run(self, key: str, text: str = "") -> Any:
        self.texts[key] = text or self.texts[key]
        cell = self.cells[key] = self.kernel.run(self.texts[key], f"{self.name}-{key}")
        assert cell.reply["status"] == "ok", cell.errors
        return cell

    def stale(self) -> str:
        return str(self.kernel.good("%tasks stale").text())


@pytest.fixture
def sheet(kernel: Kernel, request: pytest.FixtureRequest) -> Iterator[Sheet]:
    """A notebook of a plain cell and two task cells, each of which needs the one before."""
    made = Sheet(kernel, request.node.name)
    made.run("a", "size = 3")
    made.run("b", "%%task\nrows = list(range(size))")
    made.run("c", "%%task\nwhole = sum(rows)")
    kernel.good("%wait")
    yield made
    for key in "abc":  # what other tests leave behind is not stale
        made.run(key, f"gone_{key} = 1")


def test_an_edit_makes_cells_below_stale_and_their_lines_say_so(sheet: Sheet) -> None:
    """The task cells' own lines change; the table names each cell with why; ``%rerun`` runs them, and all is well."""
    assert "size" not in sheet.stale()
    sheet.run("a", "size = 5")
    sheet.kernel.until(lambda: "stale: 'size' was made anew by cell" in sheet.cells["b"].values()[0])
    sheet.kernel.until(lambda: "stale: 'rows' comes from cell" in sheet.cells["c"].values()[0])
    listed = sheet.stale()
    assert "'size' was made anew by cell" in listed
    assert "whole = sum(rows)" in listed
    done = sheet.kernel.good("%rerun")
    assert "2 cells ran again" in done.text()
    assert sheet.kernel.value("whole.result()") == "10"
    assert "rows" not in sheet.stale()


def test_equal_values_stop_it(sheet: Sheet) -> None:
    """A cell that was made anew with the same value makes nothing run below it."""
    before = sheet.kernel.value("whole.tid")
    sheet.run("b", "%%task\nrows = list(range(3))  # otherwise written")
    sheet.kernel.good("%wait")
    assert "whole = sum(rows)" in sheet.stale()
    assert "as it was, its inputs have the same values" in sheet.kernel.good("%rerun").text()
    assert sheet.kernel.value("whole.tid") == before
    assert "whole = sum(rows)" not in sheet.stale()


def test_a_deleted_name_is_made_again_and_that_is_said(sheet: Sheet) -> None:
    """The cell that makes it runs as well."""
    sheet.kernel.good("del rows")
    told = sheet.kernel.good("%rerun whole").text()
    assert "'rows', which a cell below needs, is not there any more" in told
    assert sheet.kernel.value("(rows.result(), whole.result())") == "([0, 1, 2], 3)"


def test_what_no_cell_makes_is_refused(sheet: Sheet) -> None:
    """One sentence."""
    assert "no cell that ran here makes 'nowhere'" in sheet.kernel.run("%rerun nowhere").errors[0]
    assert "there is no cell [99999]" in sheet.kernel.run("%rerun 99999").errors[0]


def test_a_cell_that_fails_again_ends_it(sheet: Sheet) -> None:
    """Those after it do not run, and stay stale."""
    sheet.run("d", "half = size / 2")
    sheet.run("a", "size = None")
    cell = sheet.kernel.run("%rerun half")
    assert "failed as it ran again" in cell.errors[-1]
    sheet.run("a", "size = 3")
    sheet.kernel.good("%rerun half")


def test_a_cell_that_failed_again_stays_stale(sheet: Sheet, tmp_path: Path) -> None:
    """What it was to make is not there. Once the cause is gone, it runs before those below it, which get no old value."""
    sheet.run("d", f"import os\npart = os.stat({str(tmp_path / 'data')!r}).st_size * size if size > 3 else 1")
    sheet.run("e", "twice = part * 2")
    sheet.run("a", "size = 5")
    assert "failed as it ran again" in sheet.kernel.run("%rerun twice").errors[-1]
    stale = sheet.stale()
    assert "it failed as it ran again" in stale
    assert "twice = part * 2" in stale
    (tmp_path / "data").write_text("abc")
    sheet.kernel.good("%rerun twice")
    assert sheet.kernel.value("(part, twice)") == "(15, 30)"
    assert "twice" not in sheet.stale()


def test_what_is_everywhere_counts(sheet: Sheet) -> None:
    """A task cell that uses what a cell for all workers binds is stale when that one is edited, and gets the new value."""
    sheet.run("d", "%%everywhere\nunit = 2")
    sheet.run("e", "%%task\nscaled = unit * 3")
    assert sheet.kernel.value("scaled.result()") == "6"
    sheet.run("d", "%%everywhere\nunit = 5")
    assert "'unit' was made anew by cell" in sheet.stale()
    sheet.kernel.good("%rerun scaled")
    assert sheet.kernel.value("scaled.result()") == "15"
    sheet.kernel.good("%everywhere --clear")


def test_a_cell_that_was_refused_has_not_run(sheet: Sheet) -> None:
    """It makes nothing, and nothing is stale by it."""
    before = sheet.stale()
    refused = sheet.kernel.run("%%task -o nope\nsize = 5", f"{sheet.name}-r")
    assert "CellError" in refused.errors[0]
    assert sheet.stale() == before
    assert "no cell that ran here makes 'nope'" in sheet.kernel.run("%rerun nope").errors[0]
