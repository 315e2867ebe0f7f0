"""The tour and the live graph in JupyterLab: what people see while a notebook works, after a reload, and in the dark."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from harness import CELL, SHOTS, Lab, shot
from playwright.sync_api import Page, expect

TOUR = Path(__file__).parents[2] / "binder" / "00-tour.ipynb"
LOAD = """\
%load_ext shoal_kernel
import shoal, time
from shoal import python_app, Config, HighThroughputExecutor, LocalProvider
session = shoal.load(Config(run_dir="runs", executors=[HighThroughputExecutor(
    label="pool", max_workers_per_node=2, provider=LocalProvider(init_blocks=1, max_blocks=1))]))

@python_app
def nap(seconds, *before):
    import time
    time.sleep(seconds)
    return seconds

@python_app
def oops(*before):
    raise ValueError("on purpose")
"""
GRAPH = ".shoal-graph"


def states(page: Page) -> list[str]:
    """The states of the tasks in the picture, in their order."""
    return page.locator(f"{GRAPH} .shoal-node").evaluate_all("nodes => nodes.map(n => n.dataset.state)")


def running(page: Page, index: int) -> bool:
    """Whether the front end takes a cell for running."""
    return page.evaluate(f"index => ({CELL})(index).executionState", index) == "running"


def test_the_graph_moves_while_a_cell_runs(page: Page, lab: Lab):
    """States change in the picture while one cell keeps the kernel busy, and the last picture tells the truth."""
    work = "naps = [nap(0.6) for _ in range(8)]\nlast = nap(0.3, *naps)\nbad = oops(naps[0])\ntime.sleep(5)"
    lab.open_notebook(page, lab.write_notebook("moves.ipynb", LOAD, "%graph", work, "last.result()"))
    lab.run_cell(page, 0)
    lab.run_cell(page, 1)
    expect(page.locator(".shoal-output")).to_have_text("No tasks yet: call an app, or begin a cell with %%task.")
    lab.run_cell(page, 2, wait=None)
    seen = set()
    deadline = time.monotonic() + 20
    while "failed" not in states(page) or states(page).count("done") < 9:
        seen.add(tuple(states(page)))
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert running(page, 2), "all of this happened during the cell"
    assert len(seen) >= 4
    assert any("running" in moment and "queued" in moment and "waiting" in moment for moment in seen)
    expect(page.locator(f"{GRAPH} .shoal-line")).to_contain_text("9 of 10 done · 1 failed")
    shot(page, "graph-small")
    lab.wait_for_cell(page, 2)


def test_the_widget_draws_where_the_extension_is_not(page: Page, lab: Lab):
    """As in VS Code or Colab: without the output type of the lab extension, the widget shows the same live graph."""
    widget = (
        "from shoal_kernel.views.hub import MIME_TYPE, hub\nfrom IPython.display import display\n"
        "data, metadata = hub(get_ipython()).bundle()\ndel data[MIME_TYPE]\ndisplay(data, metadata=metadata, raw=True)\n"
        "hub(get_ipython()).feed.start()"
    )
    work = "naps = [nap(0.6) for _ in range(8)]\ntime.sleep(5)"
    lab.open_notebook(page, lab.write_notebook("widget.ipynb", LOAD, widget, work))
    lab.run_cell(page, 0)
    lab.run_cell(page, 1)
    expect(page.locator(GRAPH)).to_be_visible()
    lab.run_cell(page, 2, wait=None)
    expect(page.locator(f"{GRAPH} [data-state=running]")).not_to_have_count(0)
    expect(page.locator(f"{GRAPH} [data-state=done]")).to_have_count(8)
    assert running(page, 2), "all of this happened during the cell"
    lab.wait_for_cell(page, 2)


def test_a_reload_keeps_the_graph_alive(page: Page, lab: Lab):
    """After a reload of the page during a long cell the graph is there, right, and goes on moving."""
    work = "naps = [nap(1.0) for _ in range(24)]\ntime.sleep(16)"
    path = lab.write_notebook("reload.ipynb", LOAD, "%graph", work, "print('after')")
    lab.open_notebook(page, path)
    lab.run_cell(page, 0)
    lab.run_cell(page, 1)
    lab.run_cell(page, 2, wait=None)
    expect(page.locator(f"{GRAPH} .shoal-node")).to_have_count(24)
    page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); }")
    lab.reload(page, path)
    expect(page.locator(f"{GRAPH} .shoal-node")).to_have_count(24, timeout=10_000)
    first = states(page).count("done")
    assert first < 20, "the cell still runs"
    page.wait_for_function(
        f"before => document.querySelectorAll('{GRAPH} [data-state=done]').length > before", arg=first, timeout=6000
    )
    page.wait_for_function(
        f"() => document.querySelectorAll('{GRAPH} [data-state=done]').length === 24", timeout=30_000
    )


def test_a_closed_notebook_shows_its_last_picture(page: Page, lab: Lab):
    """Opened again with a fresh kernel, the notebook shows the graph as it was; a new session takes its place."""
    path = lab.write_notebook(
        "closed.ipynb", LOAD, "%graph", "[nap(0.1) for _ in range(7)]\nsession.wait()\ntime.sleep(1)"
    )
    lab.open_notebook(page, path)
    for index in range(3):
        lab.run_cell(page, index)
    expect(page.locator(f"{GRAPH} .shoal-line")).to_contain_text("7 of 7 done")
    page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); }")
    page.evaluate("async () => { await window.jupyterapp.serviceManager.sessions.shutdownAll(); }")
    lab.open(page)
    lab.open_notebook(page, path)
    expect(page.locator(".shoal-static")).to_contain_text("7 of 7 done")
    time.sleep(1)
    expect(page.locator(".shoal-static")).to_be_visible()
    lab.run_cell(page, 0)
    expect(page.locator(f"{GRAPH} .shoal-line")).to_contain_text("No tasks yet")


def test_keyboard_pointer_and_words(page: Page, lab: Lab):
    """Tasks are reached with the keyboard, tell what they are, and are summed up in words; nothing is colour alone."""
    work = "a = nap(0.1)\nb = [nap(0.1, a) for _ in range(3)]\nc = oops(*b)\nsession.wait()\ntime.sleep(1)"
    lab.open_notebook(page, lab.write_notebook("words.ipynb", LOAD, "%graph", work))
    for index in range(3):
        lab.run_cell(page, index)
    graph = page.locator(GRAPH)
    expect(graph.locator(".shoal-line")).to_contain_text("4 of 5 done · 1 failed")
    graph.locator(".shoal-node[tabindex='0']").focus()
    expect(graph.locator(".shoal-tip")).to_contain_text("nap (task 0)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(graph.locator(".shoal-tip")).to_contain_text("oops (task 4)")
    expect(graph.locator(".shoal-tip")).to_contain_text("ValueError: on purpose")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "oops 4: failed"
    graph.locator(".shoal-node").nth(1).hover()
    expect(graph.locator(".shoal-tip")).to_contain_text("nap (task 1)")
    expect(graph.locator(".shoal-spoken")).to_contain_text("4 of 5 done")
    shapes = graph.locator(".shoal-legend path").evaluate_all("paths => paths.map(p => p.getAttribute('d'))")
    assert len(set(shapes)) == len(shapes) == 2
    found = Axe().run(page, context=GRAPH)
    assert found.response["violations"] == [], found.generate_report()


def test_many_tasks_are_drawn_as_groups(page: Page, lab: Lab):
    """Thousands of tasks are shown by label, counted, and the view says so."""
    work = (
        "@python_app\ndef square(i): return i * i\n@python_app\ndef total(*parts): return sum(parts)\n"
        "squares = [square(i) for i in range(3000)]\nsums = [total(*squares[i::30]) for i in range(30)]\n"
        "total(*sums).result()\ntime.sleep(1)"
    )
    lab.open_notebook(page, lab.write_notebook("groups.ipynb", LOAD, "%graph", work))
    for index in range(3):
        lab.run_cell(page, index, wait=90)
    graph = page.locator(GRAPH)
    expect(graph.locator(".shoal-scope")).to_have_text("showing 2 groups of 3,031 tasks")
    expect(graph.locator(".shoal-group")).to_have_count(2)
    expect(graph.locator(".shoal-line")).to_contain_text("3,031 of 3,031 done")
    expect(graph.locator(".shoal-edge-counts text")).to_have_text("3,000")
    shot(page, "graph-groups")


def test_task_cells_print_under_themselves(page: Page, lab: Lab):
    """Under "Run All": each task cell has its own output, in order, and a failed one stops nothing."""
    cell = "%%task --name {0}\nimport time\nfor i in range(3):\n    print('{0}', i)\n    time.sleep(0.3)\n'{0} is over'"
    failing = "%%task\nimport time\ntime.sleep(0.3)\n1 / 0"
    lab.open_notebook(
        page,
        lab.write_notebook(
            "cells.ipynb", LOAD, cell.format("one"), failing, cell.format("two"), "print('plain')", "%wait"
        ),
    )
    lab.run_all(page)
    expect(page.locator(".jp-OutputArea-output", has_text="'two is over'")).to_be_visible()
    for index, name in [(1, "one"), (3, "two")]:
        text = lab.text(page, index)
        assert f"{name} 0\n{name} 1\n{name} 2\n" in text
        assert f"'{name} is over'" in text
        assert f"{name} (task" in text
        assert "done after" in text
    assert "ZeroDivisionError" in lab.text(page, 2)
    assert "line 4, in <module>" in lab.text(page, 2)
    assert lab.text(page, 4) == "plain\n"
    assert "all finished" in lab.text(page, 5)
    show(page, 1)
    page.locator(".jp-NotebookPanel-notebook").screenshot(path=SHOTS / "task-cells.png")


def test_the_tour(page: Page, lab: Lab):
    """Every cell of the tour runs, the graph moves meanwhile, the scores are those of the plain loop, the plot shows."""
    shutil.copy(TOUR, lab.root / "tour.ipynb")
    page.set_viewport_size({"width": 1300, "height": 1000})
    lab.open_notebook(page, "tour.ipynb")
    sources = page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.source)"
    )
    number = {source.splitlines()[0]: index for index, source in enumerate(sources)}
    page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    show(page, number["%graph"])
    expect(page.locator(f"{GRAPH} .shoal-line")).to_contain_text("running", timeout=90_000)
    page.wait_for_function(f"() => document.querySelectorAll('{GRAPH} [data-state=done]').length > 45")
    page.locator(GRAPH).screenshot(path=SHOTS / "graph.png")
    shot(page, "tour-running")
    last = number["%blocks"]
    lab.wait_for_cell(page, last, 150)
    outputs = {index: lab.text(page, index) for index, source in enumerate(sources) if lab_has_output(page, index)}
    assert "the same 60 scores" in "".join(outputs.values())
    assert "again the same scores" in "".join(outputs.values())
    assert "Error" not in "".join(outputs.values())
    show(page, number["%graph"])
    expect(page.locator(f"{GRAPH} .shoal-line")).to_contain_text("79 of 79 done")
    for name, theme in [("tour-light", "JupyterLab Light"), ("tour-dark", "JupyterLab Dark")]:
        lab.theme(page, theme)
        show(page, number["%graph"])
        shot(page, name)
        show(page, number["from bokeh.plotting import figure"])
        page.wait_for_selector(".bk-Figure canvas", state="attached")
        time.sleep(0.5)
        shot(page, f"{name}-plot")
        show(page, number["%%task --name confusion"])
        shot(page, f"{name}-cells")
    assert (SHOTS / "tour-dark-cells.png").exists()


def lab_has_output(page: Page, index: int) -> bool:
    """Whether a cell is code (others have no outputs)."""
    return bool(page.evaluate(f"index => ({CELL})(index).type === 'code'", index))


def show(page: Page, index: int) -> None:
    """Scroll a cell to the top of the view."""
    page.evaluate(
        """async index => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = index;
          await notebook.scrollToItem(index, 'start');
        }""",
        index,
    )
    time.sleep(0.3)
