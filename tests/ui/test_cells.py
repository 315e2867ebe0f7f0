"""Task cells in JupyterLab: output under its own cell whatever happens to the page, the line below a cell, and its buttons."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from harness import CELL, SHOTS, Lab
from playwright.sync_api import Browser, Locator, Page, expect

LOAD = """\
import shoal, time
from shoal import Config, HighThroughputExecutor, LocalProvider
session = shoal.load(Config(run_dir="runs", executors=[HighThroughputExecutor(
    label="pool", max_workers_per_node=4, provider=LocalProvider(init_blocks=1, max_blocks=1))]))
"""
NOTEBOOK = "board.ipynb"
LIMIT = 30_000
COUNTS = "%%task --name {0}\nimport time\nfor i in range({1}):\n    print('{0}', i)\n    time.sleep({2})\n'{0} is over'"
FAILS = "%%task --name {0}\nimport time\nprint('before it fails')\ntime.sleep({1})\n1 / 0"


class Board:
    """One page with one notebook and its kernel, for all tests of this file; each test puts its own cells there."""

    def __init__(self, lab: Lab, browser: Browser) -> None:
        self.lab = lab
        self.context = browser.new_context(viewport={"width": 1100, "height": 1000})
        self.broken: list[str] = []
        self.page = self.tab()
        lab.open_notebook(self.page, lab.write_notebook(NOTEBOOK, LOAD))
        lab.run_cell(self.page, 0)

    def tab(self, workspace: str = "one") -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.broken.append(f"{error}\n{error.stack}"))
        self.lab.open(page, f"/lab/workspaces/{workspace}")
        return page

    def fill(self, *cells: str) -> None:
        self.lab.fill(self.page, *cells)

    def run(self, index: int, wait: float | None = 60.0) -> None:
        self.lab.run_cell(self.page, index, wait)

    def text(self, index: int, page: Page | None = None) -> str:
        return self.lab.text(page or self.page, index)

    def value(self, index: int) -> str:
        """The value that a cell shows last."""
        outputs = self.lab.outputs(self.page, index)
        return str(outputs[-1].get("data", {}).get("text/plain", "")) if outputs else ""

    def line(self, index: int, page: Page | None = None) -> Locator:
        """The line below a cell."""
        return (page or self.page).locator(".jp-Notebook-cell").nth(index).locator(".shoal-Task")

    def button(self, index: int, deed: str) -> Locator:
        return self.line(index).locator(f"button[data-deed={deed}]")

    def expect_state(self, index: int, state: str, page: Page | None = None) -> None:
        expect(self.line(index, page)).to_have_attribute("data-state", state, timeout=LIMIT)

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + LIMIT / 1000
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen in time; the first cells say {self.said()}"
            self.page.wait_for_timeout(50)

    def said(self) -> list[str]:
        count = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
        return [self.text(index)[-500:] for index in range(min(3, count))]

    def running(self, index: int) -> bool:
        return self.page.evaluate(f"index => ({CELL})(index).executionState", index) == "running"


@pytest.fixture(scope="module")
def whole_board(lab: Lab, browser: Browser) -> Iterator[Board]:
    lab.theme_setting.unlink(missing_ok=True)
    made = Board(lab, browser)
    yield made
    made.context.close()


@pytest.fixture
def board(whole_board: Board) -> Iterator[Board]:
    """The board, with no task left and no script broken after each test."""
    yield whole_board
    for other in whole_board.context.pages:
        if other is not whole_board.page:
            other.close()
    whole_board.fill("%wait --timeout 30")
    whole_board.run(0)
    assert whole_board.broken == []


def shown(outputs: list[dict[str, Any]]) -> str:
    """What outputs say."""
    parts = []
    for output in outputs:
        said = output.get("text") or output.get("data", {}).get("text/plain") or output.get("traceback") or ""
        parts.append(joined(said))
    return "\n".join(parts)


def joined(text: str | list[str]) -> str:
    """Text, which files of notebooks have as lists of lines."""
    return text if isinstance(text, str) else "".join(text)


def test_run_all_files_output_under_its_own_cell(board: Board):
    """Interleaved output of cells that go on after later cells ran stands under its own cell, in order; so it is saved."""
    board.fill(COUNTS.format("red", 4, 0.3), FAILS.format("bad", 0.5), COUNTS.format("blue", 4, 0.3), "print('plain')")
    board.lab.run_all(board.page)
    assert board.text(3) == "plain\n"
    for index, state in enumerate(["done", "failed", "done"]):
        board.expect_state(index, state)
    board.until(lambda: all("is over" in board.text(index) for index in (0, 2)))
    board.until(lambda: "ZeroDivisionError" in board.text(1))
    for index, name in [(0, "red"), (2, "blue")]:
        assert board.text(index).count(f"{name} 0\n{name} 1\n{name} 2\n{name} 3\n") == 1
        assert board.text(index).count(name) == 6, "the line, four times printed, the value"
    assert board.text(3) == "plain\n"
    saved = board.lab.save(board.page, NOTEBOOK)
    for index in range(4):
        assert shown(saved[index]["outputs"]) == shown(board.lab.outputs(board.page, index))
    line = saved[0]["outputs"][0]["data"]
    assert "red (task" in joined(line["text/plain"])
    assert "red (task" in joined(line["text/html"])
    assert line["application/vnd.shoal.task+json"]["state"] == "done"


def test_a_reload_loses_and_doubles_nothing(board: Board):
    """Tasks that go on over a reload, during a busy cell: their text, state, value and traceback appear, each once."""
    board.fill(
        COUNTS.format("slow", 12, 0.5),
        FAILS.format("bad", 4),
        "%%parallel for x in range(8) -> squares\nimport time\ntime.sleep(1.5)\nprint('element', x)\nx * x",
        "time.sleep(9)",
        COUNTS.format("short", 2, 0.1),
    )
    board.run(4)
    board.expect_state(4, "done")
    board.until(lambda: "'short is over'" in board.text(4))
    for index in range(3):
        board.run(index)
    board.until(lambda: "slow 1\n" in board.text(0))
    before = board.lab.save(board.page, NOTEBOOK)
    board.run(3, wait=None)
    board.lab.reload(board.page, NOTEBOOK)
    board.until(lambda: "slow 3\n" in board.text(0))
    assert "is over" not in board.text(0), "it still runs"
    other = board.tab("other")
    board.lab.open_notebook(other, NOTEBOOK)
    for page in (board.page, other):
        for index, state in enumerate(["done", "failed", "done"]):
            board.expect_state(index, state, page)
        board.until(lambda page=page: "'slow is over'" in board.text(0, page))
        board.until(lambda page=page: "ZeroDivisionError" in board.text(1, page))
        assert "".join(f"slow {i}\n" for i in range(12)) in board.text(0, page)
        assert board.text(0, page).count("slow") == 14
        assert board.text(1, page).count("before it fails") == 1
        assert board.text(2, page).count("element") == 8
        assert "8 of 8 done" in board.text(2, page)
        assert board.text(4, page).count("short") == 4
    dirty = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"
    assert not other.evaluate(dirty), "one of the two saves it"
    board.until(lambda: board.page.evaluate(dirty))
    other.close()
    saved = board.lab.save(board.page, NOTEBOOK)
    assert saved[4]["outputs"] == before[4]["outputs"], "what was right is as it was"
    assert "slow 11" in shown(saved[0]["outputs"])


def test_a_second_page_sees_what_the_first_one_runs(board: Board):
    """A page that was open before a cell ran shows its output, live; the page that ran it shows it once."""
    board.fill(COUNTS.format("both", 4, 0.4), "# shoal\nprint('mine')")
    board.lab.save(board.page, NOTEBOOK)
    other = board.tab("other")
    board.lab.open_notebook(other, NOTEBOOK)
    for _ in range(2):
        board.run(0)
        for page in (other, board.page):
            board.until(lambda page=page: "'both is over'" in board.text(0, page))
            assert "both 0\nboth 1\nboth 2\nboth 3\n" in board.text(0, page)
            assert board.text(0, page).count("both") == 6
    assert not other.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.dirty"), (
        "the first page saves it"
    )
    other.close()


def test_two_views_of_a_notebook_share_one_output(board: Board):
    """Two views of one page have the same cells: output comes once, also where one view has the request and the other not."""
    board.fill(COUNTS.format("shared", 3, 0.2))
    board.page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:clone'); }")
    board.run(0)
    board.until(lambda: "'shared is over'" in board.text(0))
    assert board.text(0).count("shared") == 5
    board.page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    board.lab.open_notebook(board.page, NOTEBOOK)


def test_cancel_works_while_a_cell_runs(board: Board):
    """The button below a task cell, and that below a %%parallel cell, cancel at once though the kernel is busy."""
    board.fill(
        COUNTS.format("long", 100, 0.3),
        "%%parallel for x in range(20) -> many\nimport time\ntime.sleep(20)",
        "time.sleep(8)",
    )
    board.run(0)
    board.run(1)
    board.run(2, wait=None)
    board.expect_state(0, "running")
    expect(board.line(0)).to_contain_text("running for", timeout=LIMIT)
    board.button(0, "cancel").focus()
    board.page.keyboard.press("Enter")
    board.expect_state(0, "cancelled")
    board.button(1, "cancel").click()
    board.until(lambda: "cancelled" in board.text(1))
    assert board.running(2), "all of this happened during the cell"
    expect(board.button(0, "cancel")).to_have_count(0)
    expect(board.button(0, "again")).to_be_visible()
    board.lab.wait_for_cell(board.page, 2)


def test_stale_cells_say_so_and_run_again_in_place(board: Board):
    """After an edit the cells below get a badge with the reason; one button runs one, another all of them, in order."""
    board.fill(
        "base = 2", "%%task --name twice\ndouble = 2 * base\ndouble", "%%task --name more\nmore = double + 1\nmore"
    )
    board.lab.run_all(board.page)
    board.until(lambda: board.value(2) == "5")
    expect(board.line(2).locator(".shoal-Badge")).to_be_hidden()
    board.page.evaluate(f"() => ({CELL})(0).sharedModel.setSource('base = 10')")
    board.run(0)
    badge = board.line(1).locator(".shoal-Badge")
    expect(badge).to_contain_text("'base' was made anew by cell", timeout=LIMIT)
    expect(board.line(2).locator(".shoal-Badge")).to_contain_text("which is stale", timeout=LIMIT)
    board.button(2, "stale").click()
    board.until(lambda: board.value(2) == "21")
    assert board.value(1) == "20"
    expect(badge).to_be_hidden(timeout=LIMIT)
    expect(board.button(2, "stale")).to_have_count(0)
    board.page.evaluate(f"() => ({CELL})(0).sharedModel.setSource('base = 3')")
    board.run(0)
    expect(badge).to_be_visible(timeout=LIMIT)
    board.page.evaluate("async () => { await window.jupyterapp.commands.execute('shoal:run-stale'); }")
    board.until(lambda: (board.value(1), board.value(2)) == ("6", "7"))


def test_a_failed_cell_offers_what_helps(board: Board):
    """'Debug here' puts the two lines below the cell, which run; 'More memory' is only there where memory was short."""
    board.fill(
        "%%task --name bad\nx = 0\n1 / x",
        "%%task --name hungry\nraise MemoryError('no more')",
        "%%task --name fine\n1",
    )
    board.lab.run_all(board.page)
    for index, state in enumerate(["failed", "failed", "done"]):
        board.expect_state(index, state)
    expect(board.button(1, "memory")).to_be_visible()
    expect(board.button(0, "memory")).to_have_count(0)
    expect(board.line(2).locator("button")).to_have_count(0)
    task = board.line(0).get_attribute("aria-label")
    board.button(0, "again").click()
    board.until(lambda: board.line(0).get_attribute("aria-label") not in (task, None))
    board.expect_state(0, "failed")
    board.button(1, "memory").click()
    board.button(0, "debug").click()
    sources = board.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.source)"
    )
    assert sources[1].startswith("%retry ")
    assert sources[1].endswith(" --here")
    assert sources[2] == "%debug"
    assert sources[4].endswith('--memory "8 GB"')
    board.run(1)
    assert "ZeroDivisionError" in board.text(1)


def test_all_kinds_of_lines_in_light_and_dark(board: Board):
    """What people see: pictures of each kind of line with both themes, and no fault that a checker of accessibility finds."""
    board.fill(
        "rows = list(range(1000))",
        "%%task --name total\ntotal = sum(rows)\ntotal",
        COUNTS.format("report", 100, 0.5),
        "%%task --name ratio\n1 / len([])",
        "%%task --name huge\nraise MemoryError('cannot allocate 12 GB')",
        "%%parallel for depth in range(8) -> scores\nimport time\ntime.sleep(60 if depth else 0)\ndepth",
    )
    board.lab.run_all(board.page)
    for index, state in [(1, "done"), (2, "running"), (3, "failed"), (4, "failed"), (5, "running")]:
        board.expect_state(index, state)
    board.run(0)
    expect(board.line(1).locator(".shoal-Badge")).to_be_visible(timeout=LIMIT)
    expect(board.line(5)).to_contain_text("1 of 8 done", timeout=LIMIT)
    board.page.set_viewport_size({"width": 1100, "height": 1140})
    for theme in ("Light", "Dark"):
        board.lab.theme(board.page, f"JupyterLab {theme}")
        board.page.locator(".jp-NotebookPanel-notebook").screenshot(path=SHOTS / f"cells-{theme.lower()}.png")
    found = Axe().run(board.page, context=".shoal-Task")
    assert found.response["violations"] == [], found.generate_report()
    board.lab.theme(board.page, "JupyterLab Light")
    board.button(2, "cancel").click()
    board.button(5, "cancel").click()
    board.expect_state(2, "cancelled")
    board.until(lambda: "cancelled" in board.text(5))


def test_interrupts_stop_the_waiting_and_then_the_tasks(board: Board):
    """The first interrupt stops the waiting, and the task goes on; a second one within two seconds cancels it."""
    board.fill("%%task --name long\nimport time\nvalue = time.sleep(25)", "value + 1")
    board.run(0)
    interrupt = "async () => { await window.jupyterapp.commands.execute('notebook:interrupt-kernel'); }"
    board.run(1, wait=None)
    board.until(lambda: "waiting for 'value'" in board.text(1))
    board.page.evaluate(interrupt)
    board.until(lambda: "the tasks go on" in board.text(1))
    board.page.wait_for_timeout(2500)
    board.expect_state(0, "running")
    board.run(1, wait=None)
    board.until(lambda: "waiting for 'value'" in board.text(1) and "the tasks go on" not in board.text(1))
    board.page.evaluate(interrupt)
    board.page.evaluate(interrupt)
    board.expect_state(0, "cancelled")
    board.lab.wait_for_cell(board.page, 1)  # what is sent before its end would be aborted with it


def test_a_restart_ends_the_lines_of_the_old_kernel(board: Board):
    """After a restart a line says that its task was not over then, and offers no buttons, until its output is restored."""
    restore = (
        "from shoal_kernel.output.place import CellOutput\nplace = CellOutput.restored(get_ipython(), {!r}, 2)\n"
        "place.status('restored', '<p>restored</p>')\nplace.stream('stdout', 'of the old one')"
    )
    board.fill(LOAD, COUNTS.format("lost", 100, 0.3), COUNTS.format("anew", 2, 0.1), "")
    board.run(1)
    board.expect_state(1, "running")
    board.lab.restart_kernel(board.page)
    board.expect_state(1, "lost")
    expect(board.line(1)).to_contain_text("kernel restarted (it was running)")
    expect(board.line(1).locator("button")).to_have_count(0)
    board.run(0)
    board.run(2)
    board.until(lambda: "'anew is over'" in board.text(2))
    cell_id = board.page.evaluate(f"() => ({CELL})(1).id")
    board.page.evaluate(f"source => ({CELL})(3).sharedModel.setSource(source)", restore.format(cell_id))
    board.run(3)
    board.until(lambda: board.text(1) == "restoredof the old one")
    assert board.text(3) == ""
    saved = board.lab.save(board.page, NOTEBOOK)
    assert "of the old one" in shown(saved[1]["outputs"])
