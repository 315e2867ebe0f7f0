"""Programs that run notebooks end the kernel after the last cell: that cell waits for the tasks.

nbclient, and with it ``jupyter execute``, nbconvert and papermill, take what is printed only while a cell runs, and tell nobody which
cell is the last. The notebook's file does: the one whose code cells begin with those that ran here. Where there is no such
file, each cell may be the last, so that each waits; but not under ``%autotask``, which is there to run cells side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from shoal.session import Session
from shoal_kernel.cells.autotask import autotask
from shoal_kernel.flow.interrupts import interrupted
from shoal_kernel.notebook.current import current_session
from shoal_kernel.output.endings import tell_all
from shoal_kernel.output.place import only_while_running, resend
from shoal_kernel.programs.nbfiles import NotebookFiles
from shoal_kernel.reports.single import cancel_all

__all__ = ["LastCell", "leave_to_program", "may_be_last"]

_EVERY = 0.5
_DRAIN = 30.0
_UNKNOWN = "Shoal: no file of this notebook was found, so that nobody can say which cell is the last: "
_WAITS = "each waits for its tasks. Set SHOAL_NOTEBOOK to the file's path, and cells run side by side."
_GOES_ON = "let it be %wait, or set SHOAL_NOTEBOOK to the file's path; else what its last tasks show is not saved."
_left = False


def leave_to_program() -> None:
    """The program that runs the notebook waits for the tasks itself."""
    global _left
    _left = True


def may_be_last(ran: Sequence[str], notebooks: Iterable[Sequence[str]]) -> bool | None:
    """Whether the cells that ran are all cells of a notebook.

    Args:
        ran: the texts of the cells, in order.
        notebooks: the code cells of each notebook, without those that are empty.

    Returns:
        None if they are not the first cells of any of these notebooks.
    """
    cells = list(ran)
    begun = [list(notebook) for notebook in notebooks if list(notebook[: len(cells)]) == cells]
    return cells in begun if begun else None


class LastCell:
    """Waits at the end of a notebook that a program runs.

    Args:
        shell: the running IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._files = NotebookFiles(shell.user_ns)
        self._ran = [text.strip() for text in shell.history_manager.input_hist_raw[1:-1] if text.strip()]
        self._request = ""
        self._said = False

    def after(self, result: Any) -> None:
        """A cell has run, and is not over yet.

        Args:
            result: IPython's ``ExecutionResult``.
        """
        parent = self._shell.get_parent() if hasattr(self._shell, "get_parent") else {}
        content, request = parent.get("content") or {}, (parent.get("header") or {}).get("msg_id", "")
        if request != self._request and content.get(
            "store_history", True
        ):  # else one that a cell has run, as %rerun does
            self._request = request
            if content.get("code", "").strip():
                self._ran.append(content["code"].strip())
        session = current_session()
        if session is None or not only_while_running(parent):
            return
        if not getattr(result, "success", True) and content.get("stop_on_error", True):
            tell_all(_DRAIN)  # nothing runs after it; what is over by now is shown
        elif session.pending() and self._is_last():
            self._wait(session)
        else:
            tell_all(_EVERY)

    def _is_last(self) -> bool:
        if _left or self._files.none:
            return False
        found = may_be_last(self._ran, self._files.read())
        if found is not None:
            return found
        waits = autotask() == "off"
        if not self._said:
            self._said = True
            print(_UNKNOWN + (_WAITS if waits else _GOES_ON), file=sys.stderr)  # noqa: T201
        return waits

    def _wait(self, session: Session) -> None:
        try:
            while not session.wait(_EVERY):
                resend(self._shell)
        except KeyboardInterrupt as error:
            told = interrupted(self._shell, error, lambda: cancel_all(session), "the tasks of the notebook")
            print(f"Shoal: {told}.", file=sys.stderr)  # noqa: T201
        tell_all(_DRAIN)
        resend(self._shell)
