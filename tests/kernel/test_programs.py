"""The programs that people run notebooks with: each waits at the end, and saves every output under its own cell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

LOAD = """
import shoal
from shoal import Config, HighThroughputExecutor, LocalProvider
session = shoal.load(Config(run_dir={runs!r}, executors=[HighThroughputExecutor(
    label="pool", max_workers_per_node=2, provider=LocalProvider(init_blocks=1, max_blocks=1))]))
"""
SLOW = "%%task\nimport time\ntime.sleep(0.8)\nprint('late', n)\na = n * 2\na"
LAST = "%%task\nimport time\ntime.sleep(0.8)\nprint('last', a)"


def written(folder: Path) -> Path:
    """A notebook whose last code cell is a task cell; behind it stand an empty cell and text."""
    folder.mkdir()
    cells = [
        new_code_cell("n = 1", metadata={"tags": ["parameters"]}),
        new_code_cell(LOAD.format(runs=str(folder / "runs"))),
        new_code_cell(SLOW),
        new_code_cell("%%task\nprint('before')\nbad = 1 / 0"),
        new_code_cell("raise ValueError('allowed')", metadata={"tags": ["raises-exception"]}),
        new_code_cell("print('plain')"),
        new_markdown_cell("Then the last."),
        new_code_cell(LAST),
        new_code_cell(""),
        new_markdown_cell("The end."),
    ]
    kernel = {"name": "shoal", "display_name": "Python 3 (Shoal)", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "nb.ipynb")
    return folder / "nb.ipynb"


def text(cell: Any) -> str:
    """All that is shown under a cell, as text."""
    parts = [
        output.get("text", "") + output.get("data", {}).get("text/plain", "") + output.get("evalue", "")
        for output in cell.outputs
    ]
    return "\n".join(parts)


@pytest.mark.parametrize(
    ("words", "done", "n", "code"),
    [
        ("papermill made/nb.ipynb made/out/done.ipynb -p n 3 --no-progress-bar", "made/out/done.ipynb", 3, 1),
        ("jupyter execute --output=done made/nb", "made/done.ipynb", 1, 0),
        ("nbconvert --to notebook --execute --output-dir=out --output=done made/nb.ipynb", "out/done.ipynb", 1, 0),
        ("shoal.cli run made/nb.ipynb --output out/done.ipynb", "out/done.ipynb", 1, 1),
    ],
    ids=["papermill", "execute", "nbconvert", "shoal"],
)
def test_a_program_waits_at_the_end_and_saves_each_output_under_its_cell(
    tmp_path: Path, words: str, done: str, n: int, code: int
) -> None:
    """Also that of a failed task cell, and of a last cell that is a task; one that raises as it says it does stops nothing.

    The exit code is the program's own: papermill counts such a cell as a failure, and shoal run counts failed tasks.
    """
    written(tmp_path / "made")
    (tmp_path / "made" / "out").mkdir()
    (tmp_path / "out").mkdir()
    env = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "SHOAL_HOME": str(tmp_path / "shoal")}
    command = [sys.executable, "-m", *words.split()]
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == code, ran.stdout + ran.stderr
    notebook = nbformat.read(tmp_path / done, as_version=4)
    nbformat.validate(notebook)
    cells = {cell.source: text(cell) for cell in notebook.cells if cell.cell_type == "code"}
    slow, failed, last = (cells[source] for source in (SLOW, "%%task\nprint('before')\nbad = 1 / 0", LAST))
    assert f"late {n}" in slow
    assert f"\n{2 * n}" in slow
    assert "done after" in slow
    assert "before" in failed
    assert "ZeroDivisionError" in failed
    assert f"last {2 * n}" in last
    assert "done after" in last
    assert cells["raise ValueError('allowed')"].endswith("allowed")
    assert cells["print('plain')"] == "plain\n"
    assert cells[""] == ""
    assert not any("no file of this notebook" in shown for shown in cells.values())
