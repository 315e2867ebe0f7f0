"""Programs that run notebooks (nbclient, as ``jupyter execute`` and papermill): what is saved in the file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

LOAD = """
import shoal
from shoal import Config, HighThroughputExecutor, LocalProvider
session = shoal.load(Config(run_dir={runs!r}, executors=[HighThroughputExecutor(
    label="pool", max_workers_per_node=2, provider=LocalProvider(init_blocks=1, max_blocks=1))]))
"""


def run(folder: Path, *cells: str, file: bool = True, **options: Any) -> Any:
    """Run a notebook of these cells after one that loads a session, with a file of it beside or without; returns it."""
    sources = [LOAD.format(runs=str(folder / "runs")), *cells]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    if file:
        nbformat.write(notebook, folder / "n.ipynb")
        nbformat.write(new_notebook(cells=[]), folder / "other.ipynb")
        (folder / "broken.ipynb").write_text("{")
    options = {"timeout": 90, "resources": {"metadata": {"path": str(folder)}}, **options}
    try:
        NotebookClient(notebook, kernel_name="shoal", **options).execute()
    except CellExecutionError as error:
        error.notebook = notebook
        raise
    nbformat.validate(notebook)
    return notebook


def text(cell: Any) -> str:
    """All that is shown under a cell, as text."""
    parts = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(parts)


def test_late_output_is_saved_under_its_own_cell(tmp_path: Path) -> None:
    """What a task prints after its cell ended, its value and its end are saved there; a ``%wait`` comes last."""
    _, task, plain, wait = run(
        tmp_path,
        "%%task\nimport time\ntime.sleep(0.6)\nprint('late', 1)\ntime.sleep(0.6)\nprint('late', 2)\nx = 5\nx * 2",
        "print('plain')",
        "%wait",
    ).cells
    assert "late 1\nlate 2" in text(task)
    assert "10" in [output.get("data", {}).get("text/plain") for output in task.outputs]
    assert "done after" in text(task)
    assert "late" not in text(plain)
    assert "late" not in text(wait)
    assert "all finished" in text(wait)


def test_a_notebook_without_wait_waits_at_its_end(tmp_path: Path) -> None:
    """Its file tells which cell is the last: this one waits, and what tasks print late is saved under their own cells."""
    _, _, task, _, after, _, last = run(
        tmp_path,
        "%autotask on",
        "from time import sleep\nsleep(1)\nprint('late')\nlate_1 = 4",
        "%autotask off",
        "print(late_1.done())",
        "",
        "%%task\nlate_1 + 1",
    ).cells
    assert "late" in text(task)
    assert "done after" in text(task)
    assert text(after) == "False\n"
    assert "5" in [output.get("data", {}).get("text/plain") for output in last.outputs]
    assert "late" not in text(last)


def test_where_no_file_tells_the_last_cell_each_waits(tmp_path: Path) -> None:
    """Nothing is lost; that cells do not run side by side is said once, with what to do."""
    _, first, after, last = run(
        tmp_path,
        "%%task\nimport time\ntime.sleep(0.5)\nprint('one')\nx = 1",
        "print(x.done())",
        "%%task\nimport time\ntime.sleep(0.5)\nprint('two')",
        file=False,
    ).cells
    assert "one" in text(first)
    assert "Set SHOAL_NOTEBOOK to the file's path" in text(first)
    assert text(after) == "True\n"
    assert "two" in text(last)
    assert "SHOAL_NOTEBOOK" not in text(last)


def test_autotask_runs_side_by_side_without_a_file(tmp_path: Path) -> None:
    """That is what it is for; that the notebook has to end with ``%wait`` then is said once."""
    cell = "from time import sleep, time\nbegan{0} = time()\nsleep(0.7)\nended{0} = time()\nprint('cell {0}')"
    _, _, one, two, _, together = run(
        tmp_path, "%autotask on", cell.format(1), cell.format(2), "%autotask off", "print(began2 < ended1)", file=False
    ).cells
    assert "let it be %wait" in text(one)
    assert "SHOAL_NOTEBOOK" not in text(two)
    assert "cell 1" in text(one)
    assert "cell 2" in text(two)
    assert "True" in text(together)


def test_cells_that_fail_where_they_may_do_not_end_the_waiting(tmp_path: Path) -> None:
    """Under ``allow_errors`` the last cell waits, though it fails itself; the task that it needed shows its traceback."""
    _, failed, late, last = run(
        tmp_path,
        "%%task\nbad = 1 / 0",
        "%%task\nimport time\ntime.sleep(0.8)\nprint('late')",
        "bad + 1",
        allow_errors=True,
    ).cells
    assert "ZeroDivisionError" in text(failed)
    assert "late" in text(late)
    assert "needs 'bad', but cell" in last.outputs[-1]["evalue"]


def test_a_cell_that_stops_the_notebook_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It is the last that runs, and ends at once; what was over by then is saved."""
    began = time.monotonic()
    with pytest.raises(CellExecutionError, match="needs 'bad', but cell") as stopped:
        run(tmp_path, "%%task\nimport time\ntime.sleep(600)", "%%task\nbad = 1 / 0", "bad + 1", "print('never')")
    assert time.monotonic() - began < 90
    assert "ZeroDivisionError" in text(stopped.value.notebook.cells[2])


def test_a_limit_of_time_ends_the_waiting_at_the_end(tmp_path: Path) -> None:
    """A program that interrupts a cell which takes too long stops the waiting; what came is saved."""
    limit = 4
    _, task, last = run(
        tmp_path,
        "%%task\nimport time\nprint('begun', flush=True)\ntime.sleep(600)",
        "print('last')",
        timeout_func=lambda cell: limit if "last" in cell.source else 90,
        interrupt_on_timeout=True,
    ).cells
    assert "begun" in text(task)
    assert "stopped waiting for the tasks of the notebook; the tasks go on" in text(last)


def test_a_later_cell_that_takes_its_time_is_enough(tmp_path: Path) -> None:
    """Output that came while another cell ran is saved without a ``%wait``."""
    _, task, _, _ = run(
        tmp_path,
        "%%task\nimport time\ntime.sleep(0.3)\nprint('came late')",
        "session.wait(20)\nimport time; time.sleep(0.3)",
        "1",
    ).cells
    assert "came late" in text(task)
    assert "done after" in text(task)


def test_a_failed_task_is_saved_and_stops_nothing(tmp_path: Path) -> None:
    """The traceback stands under its cell; the notebook runs to its end."""
    _, task, _, after = run(tmp_path, "%%task\nprint('before')\nbad = 1 / 0", "%wait", "print('after')").cells
    assert "before" in text(task)
    assert "ZeroDivisionError" in text(task)
    assert "line 3" in text(task)
    assert text(after) == "after\n"


def test_a_cell_that_cannot_become_a_task_stops_the_notebook(tmp_path: Path) -> None:
    """A mistake in a task cell is an error as in any cell."""
    with pytest.raises(CellExecutionError, match="is not defined here"):
        run(tmp_path, "%%task\na = nowhere")


def test_the_graph_is_saved_as_a_picture_of_the_end(tmp_path: Path) -> None:
    """The saved HTML shows the last state, though the widget was shown at the start; it needs no script and no network."""
    notebook = run(tmp_path, "%graph", "%%task --name counting\nx = 1", "%wait", store_widget_state=True)
    (output,) = notebook.cells[1].outputs
    html = output["data"]["text/html"]
    assert "1 of 1 done" in html
    assert "counting" in html
    assert "<svg" in html
    assert "<script" not in html
    assert "src=" not in html
    assert "application/vnd.jupyter.widget-view+json" in output["data"]
    (state,) = [
        model["state"]
        for model in notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
        if "snapshot" in model["state"]
    ]
    assert state["snapshot"]["head"]["counts"][3] == 1
