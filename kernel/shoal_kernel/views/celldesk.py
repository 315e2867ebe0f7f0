"""What pages of JupyterLab ask about task cells: what is below them, that their tasks end, and which cells are stale.

Called on the threads of subshells, also while a cell runs.
"""

from __future__ import annotations

import time
from typing import Any

from shoal_kernel.book.stale import cells_of
from shoal_kernel.output.outlet import KERNEL, outlet
from shoal_kernel.output.strips import cancel_line

__all__ = ["CellDesk"]


class CellDesk:
    """Answers pages.

    Args:
        shell: the running IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def answer(self, comm: Any, asked: dict[str, Any]) -> None:
        """Answer one question.

        Args:
            comm: the way to the page.
            asked: what it asks; of a kind that is not known here, nothing happens.
        """
        match asked:
            case {"kind": "cells"}:
                self._list(comm)
            case {"kind": "want", "cells": [*cells]}:
                for cell in cells:
                    self._tell(comm, str(cell))
            case {"kind": "cancel", "line": str(line)}:
                _say(comm, {"kind": "cancelled", "line": line, "count": cancel_line(line)})
            case {"kind": "stale"}:
                stale = cells_of(self._shell).stale_ids()
                _say(comm, {"kind": "stale", "cells": stale or [], "busy": stale is None})

    def _list(self, comm: Any) -> None:
        """Which cells have something below them, and how much: the Jupyter server drops what comes too fast."""
        with outlet.lock:
            cells = [[cell, record.request, record.size] for cell, record in outlet.records]
            _say(comm, {"kind": "cells", "kernel": KERNEL, "now": time.time(), "cells": cells})

    def _tell(self, comm: Any, cell: str) -> None:
        """What is below one cell; what comes after this answer is not in it."""
        with outlet.lock:
            record = outlet.records.get(cell)
            told: dict[str, Any] = {"kind": "cell", "cell": cell, "request": ""}
            if record is not None:
                told |= {"request": record.request, "session": record.session, "restored": record.restored}
                told |= {"cut": record.cut, "outputs": record.outputs(), "displays": record.display_ids()}
            _say(comm, told)


def _say(comm: Any, data: dict[str, Any]) -> None:
    comm.send(data=data, buffers=[])
