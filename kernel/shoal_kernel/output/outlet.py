"""Where the output of tasks leaves the kernel: each message goes out and into the cell's record in one step.

A page that was loaded anew asks for the record of a cell, and takes what comes after it from the messages that all front
ends get. Both travel on one channel in the order in which they were sent here, so that nothing is lost between them and
nothing comes twice.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from shoal_kernel.output.cellrecords import Records

__all__ = ["KERNEL", "Outlet", "outlet"]

KERNEL = uuid.uuid4().hex
"""Tells this kernel's process apart from those before and after it."""


class Outlet:
    """The way out of one kernel.

    Attributes:
        records: what was sent below each cell. To be read while ``lock`` is held.
        lock: held while something is sent and noted.
        shown_in_page: whether a page of JupyterLab that can put output below any cell shows the cell with this id.
    """

    def __init__(self) -> None:
        self.records = Records()
        self.lock = threading.RLock()
        self.shown_in_page: Callable[[str], bool] = lambda _cell: False
        self._earlier: dict[str, dict[str, Any]] = {}

    def begin(self, parent: dict[str, Any], cell: str, restored: bool) -> None:
        """Output of a request is about to come: from now on it is noted.

        Args:
            parent: the request.
            cell: the id of the cell.
            restored: whether the request is none that this kernel got.
        """
        header = parent.get("header") or {}
        if cell and header:
            with self.lock:
                self.records.begin(cell, header["msg_id"], header["session"], restored)

    def send(self, kernel: Any, parent: dict[str, Any], cell: str, kind: str, content: dict[str, Any]) -> None:
        """Send output below a cell.

        Args:
            kernel: the running kernel.
            parent: the request that it belongs to.
            cell: the id of the cell, if what it shows is noted; else empty.
            kind: the message's type.
            content: its content.
        """
        metadata = {"shoal": {"cell": cell}} if cell else {}
        with self.lock:
            if cell:
                self.records.take(cell, (parent.get("header") or {}).get("msg_id", ""), kind, content)
            send = kernel.session.send
            send(kernel.iopub_socket, kind, content, parent=parent, ident=kind.encode(), metadata=metadata)

    def earlier_request(self, kernel: Any, cell: str) -> dict[str, Any]:
        """A stand-in for the request of an earlier kernel by which a cell ran; no front end waits for it.

        Args:
            kernel: the running kernel.
            cell: the cell's id.
        """
        with self.lock:
            known, record = self._earlier.get(cell), self.records.get(cell)
            if known is None or record is None or record.request != known["header"]["msg_id"]:
                known = self._earlier[cell] = {"header": kernel.session.msg_header("execute_request")}
                self.records.begin(cell, known["header"]["msg_id"], known["header"]["session"], True)
        return known

    def ran(self, shell: Any) -> None:
        """A cell is about to run: what an earlier run left below it is not to come back."""
        if not self.records:
            return
        get_parent = getattr(shell, "get_parent", None)
        parent = get_parent() if get_parent is not None else {}
        cell = str((parent.get("metadata") or {}).get("cellId") or "")
        if cell:
            with self.lock:
                self.records.ran(cell, (parent.get("header") or {}).get("msg_id", ""))

    def announce(self, kernel: Any) -> None:
        """Tell pages that Shoal is here: a message that changes nothing, and that others leave alone."""
        content = {"data": {}, "metadata": {}, "transient": {"display_id": f"shoal-{KERNEL}"}}
        metadata = {"shoal": {"cell": ""}}
        kernel.session.send(kernel.iopub_socket, "update_display_data", content, ident=b"shoal", metadata=metadata)


outlet = Outlet()
"""That of this process."""
