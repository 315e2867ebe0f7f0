"""Which cell of a notebook that a program runs is the last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shoal_kernel.programs.lastcell import may_be_last
from shoal_kernel.programs.nbfiles import NotebookFiles


@pytest.mark.parametrize(
    ("ran", "notebooks", "last"),
    [
        (["a", "b"], [["a", "b"]], True),
        (["a"], [["a", "b"]], False),
        (["a", "c"], [["a", "b"]], None),
        (["a", "b", "c"], [["a", "b"]], None),
        ([], [], None),
        (["a"], [["x"], ["a", "b"], ["a"]], True),
        (["a", "b"], [["b", "a"], ["a", "b", "c"]], False),
    ],
)
def test_the_last_cell_is_known_by_the_cells_that_ran(
    ran: list[str], notebooks: list[list[str]], last: bool | None
) -> None:
    """Of several notebooks that begin so, one that ends here is enough; if none begins so, nobody knows."""
    assert may_be_last(ran, notebooks) is last


def test_code_cells_are_read_from_the_files_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in the folder, and papermill's; what is no notebook is passed over, as are empty cells and cells that are skipped."""
    cells = [
        {"cell_type": "code", "source": ["a = 1\n", "b = 2"]},
        {"cell_type": "markdown", "source": "text"},
        {"cell_type": "code", "source": " \n"},
        {"cell_type": "code", "source": "no", "metadata": {"tags": ["skip-execution"]}},
    ]
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "far" / "out.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "here" / "broken.ipynb").write_text("{")
    (tmp_path / "here" / "list.ipynb").write_text("[1]")
    (tmp_path / "here" / "nb.ipynb").write_text(json.dumps({"cells": cells[:1] * 2}))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("SHOAL_NOTEBOOK", raising=False)
    found = list(NotebookFiles({"PAPERMILL_OUTPUT_PATH": str(tmp_path / "far" / "out.ipynb")}).read())
    assert found == [["a = 1\nb = 2"], [], ["a = 1\nb = 2"] * 2]
    monkeypatch.setenv("SHOAL_NOTEBOOK", str(tmp_path / "far" / "out.ipynb"))
    assert ["a = 1\nb = 2"] in NotebookFiles({}).read()
    monkeypatch.setenv("SHOAL_NOTEBOOK", "none")
    assert NotebookFiles({}).none
