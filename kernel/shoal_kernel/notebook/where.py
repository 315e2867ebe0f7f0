"""Which cell is running: so that the record of each task names the cell, and the line, that made it."""

from __future__ import annotations

import inspect
import threading
from typing import Any

from shoal.events import CellRef

__all__ = ["CellFinder", "cell_number"]

_DEEPEST = 60


def cell_number(shell: Any) -> int:
    """The number of the running cell, as in ``In [4]``.

    ``shell.execution_count`` is not it: in newer versions of IPython it is one ahead while a cell runs.
    """
    return len(shell.history_manager.input_hist_parsed) - 1


class CellFinder:
    """Tells the running cell; asked at each submission, so it is quick.

    Args:
        shell: the running IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def __call__(self) -> CellRef | None:
        """The cell and its line; None on threads other than the main one, of which nobody can tell the cell."""
        if threading.current_thread() is not threading.main_thread():
            return None
        shell, number = self._shell, cell_number(self._shell)
        parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
        cell_id = (parent.get("metadata") or {}).get("cellId") or ""
        return CellRef(str(cell_id), number, self._line(f"In[{number}]"))

    def _line(self, cell: str) -> int:
        frame = inspect.currentframe()
        name_of = self._shell.compile.format_code_name
        for _ in range(_DEEPEST):
            if frame is None:
                break
            name = name_of(frame.f_code.co_filename)
            if name is not None and name[1] == cell:
                return frame.f_lineno
            frame = frame.f_back
        return 0
