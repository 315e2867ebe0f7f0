"""Notes of the notebook's cells in the run's log, so that a kernel after this one can restore what a lasting pool still has.

Only sessions on a pool that lasts get notes: of all others nothing is left when the kernel ends.
"""

from __future__ import annotations

import time
from typing import Any

from shoal.events import CellBegan, CellRef, NamesHeld
from shoal.session import Session
from shoal_kernel.cells.results import elements_of
from shoal_kernel.notebook.current import current_session, lasts
from shoal_kernel.restart.heldnames import Signature, held_by, told

__all__ = ["CellNotes"]


class CellNotes:
    """The notes of one kernel.

    Args:
        shell: the running IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._session: Session | None = None
        self._cells: dict[str, tuple[CellRef, str]] = {}
        self._held: dict[str, Signature] = {}
        self._last = CellRef("")

    def began(self, cell: CellRef, text: str) -> None:
        """A cell begins.

        Args:
            cell: which.
            text: as it was typed.
        """
        key, self._last = cell.cell_id or text, cell
        self._cells.pop(key, None)
        self._cells[key] = (cell, text)
        if self._session is not None and self._session is current_session():
            self._session.note(CellBegan(time.time(), cell, text))

    def ended(self) -> None:
        """A cell has run: note what variables hold, where a session lasts."""
        session = current_session()
        if session is not self._session:
            self._session, self._held = None, {}
            if session is None or not lasts(session):
                return
            self._session = session
            session.keep_on_exit()
            session.note(*(CellBegan(time.time(), cell, text) for cell, text in self._cells.values()))
        if session is not None and self._session is not None:
            self._note_names(session)

    def _note_names(self, session: Session) -> None:
        notebook = self._shell.user_ns
        now = held_by(notebook, session.owner)
        changed = [name for name, signature in now.items() if self._held.get(name) != signature]
        dropped = [name for name in self._held if name not in now]
        self._held = now
        if not changed and not dropped:
            session.note()  # the tasks of a cell that writes no name are to be in the log as well
            return
        held = [told(name, notebook[name], elements_of(notebook[name])) for name in changed]
        session.note(NamesHeld(time.time(), self._last, held, dropped))
