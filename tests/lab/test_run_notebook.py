"""`make run`: a notebook in a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from shoal_kernel.programs.runs import main

TOOL = Path(__file__).parents[2] / "tools" / "run_notebook.py"


def run(
    folder: Path, *cells: str, arguments: tuple[str, ...] = (), kernel: str = "shoal", tags: list[str] | None = None
):
    """Write a notebook of these cells and run it as make does."""
    notebook = new_notebook(
        cells=[new_code_cell(source, metadata={"tags": tags or []}) for source in cells],
        metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
    )
    path = folder / "n.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, str(TOOL), str(path), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert path.read_bytes() == before, "the notebook itself is left as it is"
    return done


@pytest.mark.parametrize("kernel", ["shoal", "no-such-kernel"])
def test_cells_and_what_they_print_are_shown(tmp_path: Path, kernel: str):
    """Each cell is announced, its output follows, and the end says how it went; an unknown kernel is no obstacle."""
    done = run(tmp_path, "print('from', 'the cell')", "6 * 7", kernel=kernel)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[1/2] print('from', 'the cell')\nfrom the cell\n" in done.stdout
    assert "[2/2] 6 * 7\n42\n" in done.stdout
    assert "2 cells ran in" in done.stdout


def test_a_failing_cell_ends_it(tmp_path: Path):
    """The traceback is shown once, the cell is named, later cells do not run, and the exit code is 1."""
    done = run(tmp_path, "1 / 0", "print('never')")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert "cell 1 of 2 failed" in done.stdout
    assert "never" not in done.stdout.replace("print('never')", "")


TASKS = "%%task\nprint('from', 'the task')\n6 * 7", "%%task\nbad = [][3]"


def test_a_failed_task_is_seen_and_fails_the_run(tmp_path: Path):
    """Late prints, values and tracebacks of task cells reach the terminal, and a failed task makes the exit code 1."""
    done = run(tmp_path, *TASKS, "import shoal\n%wait", "shoal.clear()")
    assert done.returncode == 1, done.stdout + done.stderr
    for text in ("\nfrom the task\n", "\n42\n", "IndexError\x1b[0m: list index out of range", "1 task failed."):
        assert text in done.stdout, done.stdout
    assert "task 1 'cell 2' of cell [2] failed: IndexError" in done.stdout
    assert "without encryption" not in done.stdout + done.stderr


def test_a_task_that_may_fail_does_not_fail_the_run(tmp_path: Path):
    """A cell with the tag raises-exception may make a task that fails; tasks are waited for without %wait too."""
    done = run(tmp_path, *TASKS, tags=["raises-exception"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "IndexError\x1b[0m: list index out of range" in done.stdout


def test_the_executed_notebook_can_be_kept(tmp_path: Path):
    """With --output the notebook is written elsewhere with its outputs."""
    out = tmp_path / "out.ipynb"
    done = run(tmp_path, "print(1)", arguments=("--output", str(out)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert nbformat.read(out, as_version=4).cells[0].outputs[0]["text"] == "1\n"


def test_shoal_run_waits_for_tasks_and_can_let_cells_run_side_by_side(tmp_path: Path):
    """The command does the same; with --autotask plain cells are tasks, and their failures count."""
    path = tmp_path / "n.ipynb"
    cells = ["from time import sleep\nsleep(0.3)\nx_1 = len('abc')", "print('sum', x_1 + 1)", "[][x_1]"]
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in cells]), path)
    command = [sys.executable, "-m", "shoal.cli", "run", str(path)]
    done = subprocess.run([*command, "--autotask"], capture_output=True, text=True, timeout=60, check=False)
    assert "sum 4" in done.stdout, done.stdout + done.stderr
    assert "IndexError" in done.stdout
    assert "1 task failed" in done.stdout
    assert done.returncode == 1
    missing = subprocess.run([*command[:-1], "none.ipynb"], capture_output=True, text=True, timeout=60, check=False)
    assert "there is no such notebook" in missing.stderr
    assert missing.returncode == 1


def test_a_missing_notebook_is_named(tmp_path: Path):
    """A path that leads nowhere is said to."""
    done = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path / "x.ipynb")], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "there is no notebook" in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "cannot be read as a notebook (JSONDecodeError"),
        (b"[1]", "it holds something else"),
        (b"", "cannot be read as a notebook"),
        ('{"cells": "\u00e9"}'.encode("latin-1"), "it is not in UTF-8"),
        (b'{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}', "Unsupported nbformat version 9"),
        (None, "there is no notebook"),
    ],
)
def test_what_is_no_notebook_is_refused_in_one_sentence(tmp_path: Path, text: bytes | None, told: str):
    """Before a kernel starts."""
    path = tmp_path / "n.ipynb"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(SystemExit) as stopped:
        main([str(path)])
    assert told in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_where_the_result_cannot_be_written_nothing_runs(tmp_path: Path):
    """A missing folder is named at once; so is a kernel of another language."""
    path = tmp_path / "n.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), path)
    with pytest.raises(SystemExit, match="there is no folder .*none for --output"):
        main([str(path), "--output", str(tmp_path / "none" / "out.ipynb")])
    spec = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
    nbformat.write(new_notebook(cells=[new_code_cell("1")], metadata=spec), path)
    with pytest.raises(SystemExit, match="wants the kernel 'ir', which is not installed"):
        main([str(path)])


def test_a_kernel_that_dies_is_named_by_its_cell(tmp_path: Path):
    """With exit code 1; what was done by then is written."""
    out = tmp_path / "out.ipynb"
    done = run(tmp_path, "print('first')", "import os\nos._exit(3)", "print('never')", arguments=("--output", str(out)))
    assert done.returncode == 1
    assert "the kernel has ended in cell 2 of 3" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert nbformat.read(out, as_version=4).cells[0].outputs[0]["text"] == "first\n"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_the_run(tmp_path: Path, times: int):
    """The first interrupts the cell; a second ends one that holds on. The exit code is that of an interrupted program."""
    path = tmp_path / "n.ipynb"
    holds_on = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        print('no', flush=True)"
    code = "print('begun', flush=True)\n" + (holds_on if times == 2 else "import time\ntime.sleep(60)")
    nbformat.write(new_notebook(cells=[new_code_cell(code), new_code_cell("2")]), path)
    command = [sys.executable, "-m", "shoal.cli", "run", str(path)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for word in ("begun\n", "no\n")[:times]:  # a terminal interrupts all processes of the command
            for line in process.stdout:
                if line == word:
                    break
            os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "interrupted in cell 1 of 2" in rest
