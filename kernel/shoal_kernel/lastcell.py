"""Programs that run notebooks end the kernel after the last cell: that cell waits for the tasks, if it can be known as the last.

nbclient, and with it ``jupyter execute`` and papermill, take what is printed only while a cell runs, and tell nobody which cell is the
last. The notebook's file does: the one in the folder of the kernel, or that papermill writes there, whose code cells are those that ran here
so far. Where there is no such file, ``%wait`` has to be the last cell.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shoal_kernel.endings import tell_all
from shoal_kernel.feed import current_session
from shoal_kernel.output import CellOutput, resend

__all__ = ["LastCell", "is_last"]

_MOST = 200
_SKIP = "skip-execution"  # what nbclient passes over
_LARGEST = 100 << 20
_DRAIN = 30.0


def is_last(ran: Sequence[str], notebooks: Iterable[Sequence[str]]) -> bool:
    """Whether the cells that ran are all cells of a notebook.

    Args:
        ran: the texts of the cells, in order.
        notebooks: the code cells of each notebook, without those that are empty.
    """
    return any(list(cells) == list(ran) for cells in notebooks)


class LastCell:
    """Waits at the end of a notebook that a program runs.

    Args:
        shell: the running IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._read: dict[Path, tuple[float, list[str]]] = {}

    def after(self) -> None:
        """A cell has run, and is not over yet."""
        session = current_session()
        if session is None or not session.pending() or CellOutput(self._shell).live:
            return
        ran = [text.strip() for text in self._shell.history_manager.input_hist_raw if text.strip()]
        if is_last(ran, self._notebooks()):
            try:
                session.wait()
            except KeyboardInterrupt:
                print("Shoal: stopped waiting for the tasks of the notebook.", file=sys.stderr)  # noqa: T201
            tell_all(_DRAIN)
            resend(self._shell)

    def _notebooks(self) -> Iterable[list[str]]:
        files = sorted(Path.cwd().glob("*.ipynb"))[:_MOST]
        for file in files:
            try:
                state = file.stat()
                if state.st_size > _LARGEST:
                    continue
                if self._read.get(file, (0.0, []))[0] != state.st_mtime:
                    self._read[file] = (state.st_mtime, _code_cells(json.loads(file.read_text(encoding="utf-8"))))
            except (OSError, ValueError):
                continue  # it is being written, or is no notebook
            yield self._read[file][1]


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
