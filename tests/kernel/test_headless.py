"""Programs that run notebooks (nbclient, as ``jupyter execute`` and papermill): what is saved in the file."""

from __future__ import annotations

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


def run(folder: Path, *cells: str, **options: Any) -> Any:
    """Run a notebook of these cells after one that loads a session; its cells without that one."""
    sources = [LOAD.format(runs=str(folder / "runs")), *cells]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    NotebookClient(
        notebook, kernel_name="shoal", timeout=90, resources={"metadata": {"path": str(folder)}}, **options
    ).execute()
    nbformat.validate(notebook)
    return notebook.cells[1:] if not options else notebook


def text(cell: Any) -> str:
    """All that is shown under a cell, as text."""
    parts = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(parts)


def test_late_output_is_saved_under_its_own_cell(tmp_path: Path) -> None:
    """What a task prints after its cell ended, its value and its end are saved there; a ``%wait`` comes last."""
    task, plain, wait = run(
        tmp_path,
        "%%task\nimport time\ntime.sleep(0.6)\nprint('late', 1)\ntime.sleep(0.6)\nprint('late', 2)\nx = 5\nx * 2",
        "print('plain')",
        "%wait",
    )
    assert "late 1\nlate 2" in text(task)
    assert "10" in [output.get("data", {}).get("text/plain") for output in task.outputs]
    assert "done after" in text(task)
    assert "late" not in text(plain)
    assert "late" not in text(wait)
    assert "all finished" in text(wait)


def test_a_notebook_without_wait_waits_at_its_end(tmp_path: Path) -> None:
    """Its file tells which cell is the last: this one waits, and what tasks print late is saved under their own cells."""
    sources = [
        LOAD.format(runs=str(tmp_path / "runs")),
        "%autotask on",
        "from time import sleep\nsleep(1)\nprint('late')\nlate_1 = 4",
        "",
        "late_1 + 1",
    ]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    nbformat.write(notebook, tmp_path / "n.ipynb")
    nbformat.write(new_notebook(cells=[]), tmp_path / "other.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="shoal", timeout=90, resources=resources).execute()
    nbformat.validate(notebook)
    assert "late" in text(notebook.cells[2])
    assert "done after" in text(notebook.cells[2])
    assert "5" in [output.get("data", {}).get("text/plain") for output in notebook.cells[4].outputs]
    assert "late" not in text(notebook.cells[4])


def test_a_later_cell_that_takes_its_time_is_enough(tmp_path: Path) -> None:
    """Output that came while another cell ran is saved without a ``%wait``."""
    task, _ = run(
        tmp_path,
        "%%task\nimport time\ntime.sleep(0.3)\nprint('came late')",
        "session.wait(20)\nimport time; time.sleep(0.3)",
    )
    assert "came late" in text(task)
    assert "done after" in text(task)


def test_a_failed_task_is_saved_and_stops_nothing(tmp_path: Path) -> None:
    """The traceback stands under its cell; the notebook runs to its end."""
    task, _, after = run(tmp_path, "%%task\nprint('before')\nbad = 1 / 0", "%wait", "print('after')")
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
