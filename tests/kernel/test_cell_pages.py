"""What pages of JupyterLab get about task cells: records for pages that were loaded anew, and answers while a cell runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.lookingpage import Page

Kernel = Any
LINE = "application/vnd.shoal.task+json"


@pytest.fixture
def page(kernel: Kernel) -> Iterator[Page]:
    """A page that shows cells a and b."""
    opened = Page(kernel, ["a", "b"])
    yield opened
    opened.close()


def text(told: dict[str, Any]) -> str:
    return "".join(output.get("text", "") for output in told["outputs"])


def line(told: dict[str, Any]) -> dict[str, Any]:
    return dict(told["outputs"][0]["data"][LINE])


def test_a_page_gets_the_record_and_what_comes_after_it(kernel: Kernel, page: Page) -> None:
    """The record has what was sent before it on the same channel, and nothing of what is sent after it."""
    cell = kernel.start("%%task --name told\nimport time\nfor i in range(8):\n    print(i)\n    time.sleep(0.2)", "a")
    kernel.until(lambda: "2\n" in cell.text())
    told = page.answer("want -> cell", cells=["a"])
    place = kernel.arrived.index(page.messages()[-1])
    own = [m for m in kernel.arrived if m["parent_header"].get("msg_id") == cell.msg_id]
    before = [m for m in own if kernel.arrived.index(m) < place and m["header"]["msg_type"] == "stream"]
    assert text(told) == "".join(m["content"]["text"] for m in before)
    assert told["request"] == cell.msg_id
    kernel.until(lambda: "7\n" in cell.text())
    kernel.good("%wait")
    told = page.answer("want -> cell", cells=["a"])
    assert text(told) == "0\n1\n2\n3\n4\n5\n6\n7\n" == cell.text()
    assert line(told)["state"] == "done"
    assert line(told)["cell"] == "a"
    assert all(m["metadata"] == {"shoal": {"cell": "a"}} for m in before)
    listed = {cell: (request, size) for cell, request, size in page.answer("cells -> cells")["cells"]}
    assert listed["a"][0] == cell.msg_id
    assert listed["a"][1] >= len(cell.text())


def test_a_cell_that_ran_again_has_no_old_record(kernel: Kernel, page: Page) -> None:
    """A plain run of the cell takes the record away, also if the old task goes on to print."""
    cell = kernel.start("%%task\nimport time\nfor i in range(6):\n    print(i)\n    time.sleep(0.2)", "b")
    kernel.until(lambda: "1\n" in cell.text())
    kernel.run("print('plain')", "b")
    kernel.until(lambda: "5\n" in cell.text())
    assert page.answer("want -> cell", cells=["b"])["request"] == ""


def test_cells_alone_make_no_messages(kernel: Kernel, page: Page) -> None:
    """A page that shows no graph is sent nothing by itself while tasks run."""
    kernel.good("1")
    before = len(page.messages())
    kernel.good("%%task\nimport time\ntime.sleep(0.5)\nunseen = 2")
    kernel.good("%wait")
    kernel.good("time.sleep(0.5)")
    assert len(page.messages()) == before
    page.say("look")
    kernel.until(lambda: page.news()[-1]["kind"] == "full")
    page.say("leave")


def test_cancel_and_stale_are_answered_while_a_cell_runs(kernel: Kernel, page: Page) -> None:
    """Also after the busy cell has sent output below the cells that are asked about."""
    kernel.run("far = 1", "top")
    kernel.run("%%task\nimport time\ntime.sleep(60 * far)\nslow = 1", "low")
    told = line(page.answer("want -> cell", cells=["low"]))
    kernel.run("far = 2", "top")
    busy = kernel.start("time.sleep(6)")
    assert page.answer("stale -> stale", 4)["cells"] == ["low"]
    assert page.answer("cancel -> cancelled", 4, line=told["line"])["count"] == 1
    assert page.answer("cancel -> cancelled", 4, line="of nobody")["count"] == 0
    kernel.until(lambda: line(page.answer("want -> cell", 4, cells=["low"]))["state"] == "cancelled", 4)
    assert busy.reply is None, "the cell is still running"
    kernel.until(lambda: busy.reply is not None)


def test_a_line_below_rerun_means_the_cell_that_ran_again(kernel: Kernel, page: Page) -> None:
    """The line stands below %rerun, and its buttons act on the cell whose text ran."""
    kernel.run("near = 1", "first")
    kernel.run("%%task\nnext_ = near + 1", "second")
    kernel.run("near = 2", "first")
    kernel.run("%rerun next_", "again")
    kernel.good("%wait")
    told = page.answer("want -> cell", cells=["again"])
    lines = [output["data"][LINE] for output in told["outputs"] if LINE in output.get("data", {})]
    assert [line["cell"] for line in lines] == ["second"]


RESTORE = """
from shoal_kernel.output.place import CellOutput
place = CellOutput.restored(get_ipython(), {cell!r}, 4)
again = CellOutput.restored(get_ipython(), {cell!r}, 4)
place.status("how it is", "<b>how it is</b>")
place.stream("stdout", "from the past\\n")
again.stream("stdout", "and more\\n")
"""


def answering(page: Page) -> None:
    """Let the page tell what it shows, as often as the kernel asks."""
    asked = sum(head["kind"] == "who" for head in page.news())
    if asked > getattr(page, "told", 0):
        page.told = asked
        page.say("me", cells=["a", "b"])


def test_restored_output_goes_to_its_old_cell_in_a_page(kernel: Kernel, page: Page) -> None:
    """Where a page shows the cell, no request that any front end knows gets the output; the page is told the cell."""
    page.told = 0
    cell = kernel.start(RESTORE.format(cell="b"), "x")
    kernel.until(lambda: answering(page) or cell.reply is not None)
    assert cell.reply["status"] == "ok"
    assert cell.text() == ""
    own = [m for m in kernel.stray if m["metadata"].get("shoal") == {"cell": "b"}]
    assert [m["content"].get("text", "") for m in own] == ["", "from the past\n", "and more\n"]
    told = page.answer("want -> cell", cells=["b"])
    assert told["restored"]
    assert text(told) == "from the past\nand more\n"
    assert told["request"] == own[0]["parent_header"]["msg_id"]


def test_restored_output_appears_where_it_can_elsewhere(kernel: Kernel, page: Page) -> None:
    """Where no page shows the cell, the output appears below the cell that runs, with one line that names the other."""
    page.told = 0
    cell = kernel.start(RESTORE.format(cell="gone"), "x")
    kernel.until(lambda: answering(page) or cell.reply is not None)
    assert cell.values() == ["below cell [4], which an earlier kernel ran:", "how it is"]
    assert cell.text() == "from the past\nand more\n"
