"""The files that may be the notebook which a program runs: of its command line, of the kernel's folder, of papermill's parameters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

__all__ = ["NotebookFiles"]

_MOST = 200
_ABOVE = 4
_SKIP = "skip-execution"  # what nbclient passes over
_LARGEST = 100 << 20
_VARIABLE = "SHOAL_NOTEBOOK"
_PAPERMILL = ("PAPERMILL_OUTPUT_PATH", "PAPERMILL_INPUT_PATH")


class NotebookFiles:
    """Files that are read again only when they have changed.

    Args:
        notebook: the notebook's variables: papermill can leave its paths there.
    """

    def __init__(self, notebook: Mapping[str, Any]) -> None:
        self._notebook = notebook
        self._named = os.environ.get(_VARIABLE, "")
        self._read: dict[Path, tuple[float, list[str]]] = {}
        self._of_programs: list[Path] | None = None

    @property
    def none(self) -> bool:
        """Whether the user says that there is none, and that the last cell waits itself."""
        return self._named == "none"

    def read(self) -> Iterator[list[str]]:
        """The texts of the code cells of each file, without empty ones."""
        for file in dict.fromkeys(self._files()):
            try:
                state = file.stat()
                if state.st_size > _LARGEST:
                    continue
                if self._read.get(file, (0.0, []))[0] != state.st_mtime:
                    self._read[file] = (state.st_mtime, _code_cells(json.loads(file.read_text(encoding="utf-8"))))
            except (OSError, ValueError):
                continue  # it is being written, or is no notebook
            yield self._read[file][1]

    def _files(self) -> Iterator[Path]:
        if self._named:
            yield Path(self._named)
        for variable in _PAPERMILL:
            if isinstance(self._notebook.get(variable), str):
                yield Path(self._notebook[variable])
        if self._of_programs is None:
            self._of_programs = list(_on_command_lines())
        yield from self._of_programs
        yield from sorted(Path.cwd().glob("*.ipynb"))[:_MOST]


def _on_command_lines() -> Iterator[Path]:
    """The notebooks that the program which started the kernel was called with: in, and out."""
    try:
        for program in psutil.Process().parents()[:_ABOVE]:
            folder = Path(program.cwd())
            for word in program.cmdline():
                path = word.partition("=")[2] if word.startswith("-") else word
                if path.endswith(".ipynb"):
                    yield folder / path
                elif path:
                    # jupyter execute takes names without their ends
                    yield from (file for file in [folder / f"{path}.ipynb"] if len(path) < 200 and file.is_file())
    except (psutil.Error, OSError, ValueError):
        return  # it has ended, or is somebody else's


def _code_cells(notebook: Any) -> list[str]:
    if not isinstance(notebook, dict):
        return []
    found = []
    for cell in notebook.get("cells") or ():
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source") or ""
            text = "".join(source) if isinstance(source, list) else str(source)
            skipped = _SKIP in ((cell.get("metadata") or {}).get("tags") or ())
            if text.strip() and not skipped:
                found.append(text.strip())
    return found
