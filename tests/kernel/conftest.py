"""A real kernel to try cells in: what arrives is kept by the cell that it belongs to."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

LIMIT = 60.0


@dataclass
class Cell:
    """One execution of a cell, and all output that named it as its own."""

    msg_id: str
    reply: dict[str, Any] | None = None
    idle: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)

    def text(self, stream: str = "stdout") -> str:
        return "".join(m["content"]["text"] for m in self.of("stream") if m["content"]["name"] == stream)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["header"]["msg_type"] == kind]

    @property
    def errors(self) -> list[str]:
        return ["\n".join(m["content"]["traceback"]) for m in self.of("error")]

    def values(self, mime: str = "text/plain") -> list[str]:
        """What was shown, in its last version."""
        found: dict[str, str] = {}
        for number, message in enumerate(self.messages):
            kind, content = message["header"]["msg_type"], message["content"]
            if kind in ("display_data", "update_display_data", "execute_result") and mime in content["data"]:
                key = (content.get("transient") or {}).get("display_id", str(number))
                found[key] = content["data"][mime]
        return list(found.values())


class Kernel:
    """A running kernel."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)
        self.cells: dict[str, Cell] = {}
        self.stray: list[dict[str, Any]] = []
        self.arrived: list[dict[str, Any]] = []

    def start(self, code: str, cell_id: str | None = "") -> Cell:
        """Send a cell; ``cell_id`` None is a client that names no cell, and cannot be asked."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": cell_id is not None,
            "stop_on_error": True,
        }
        metadata = {} if cell_id is None else {"cellId": cell_id or uuid.uuid4().hex}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        cell = self.cells[message["header"]["msg_id"]] = Cell(message["header"]["msg_id"])
        self.client.shell_channel.send(message)
        return cell

    def run(self, code: str, cell_id: str | None = "") -> Cell:
        """Run a cell to its end."""
        cell = self.start(code, cell_id)
        self.until(lambda: cell.idle and cell.reply is not None)
        return cell

    def good(self, code: str) -> Cell:
        """Run a cell that must not fail."""
        cell = self.run(code)
        assert cell.reply is not None
        assert cell.reply["status"] == "ok", cell.errors
        return cell

    def value(self, expression: str) -> str:
        """What an expression is in the kernel."""
        return self.good(f"print(repr({expression}))").text().strip()

    def until(self, condition: Callable[[], Any], limit: float = LIMIT) -> None:
        """Take in messages until a condition holds."""
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            assert self.manager.is_alive(), "the kernel has ended"
            self._take()

    def _take(self) -> None:
        try:
            message = self.client.get_iopub_msg(timeout=0.05)
        except Empty:
            pass
        else:
            self.arrived.append(message)
            cell = self.cells.get((message["parent_header"] or {}).get("msg_id", ""))
            if cell is None:
                self.stray.append(message)
            elif message["header"]["msg_type"] == "status":
                cell.idle = message["content"]["execution_state"] == "idle"
            else:
                cell.messages.append(message)
        while self.client.shell_channel.msg_ready():
            reply = self.client.get_shell_msg(timeout=0)
            if reply["parent_header"].get("msg_id") in self.cells:
                self.cells[reply["parent_header"]["msg_id"]].reply = reply["content"]


LOAD = """
import shoal, time
from shoal import python_app, Config, HighThroughputExecutor, LocalProvider
session = shoal.load(Config(run_dir={runs!r}, executors=[HighThroughputExecutor(
    label="pool", max_workers_per_node=2, provider=LocalProvider(init_blocks=1, max_blocks=1))]))
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """The kernel "Python 3 (Shoal)" with a pool of two workers."""
    home = tmp_path_factory.mktemp("kernel")
    running = start_kernel(home)
    running.good(LOAD.format(runs=str(home / "runs")))
    yield running
    running.run("shoal.clear()")
    stop(running)


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test ends with no task left."""
    yield
    if "kernel" in request.fixturenames:
        running: Kernel = request.getfixturevalue("kernel")
        running.run("%wait --timeout 30")


def start_kernel(home: Path) -> Kernel:
    manager = KernelManager(kernel_name="shoal")
    env = {**os.environ, "IPYTHONDIR": str(home / "ipython"), "SHOAL_HOME": str(home / "shoal")}
    manager.start_kernel(env=env, cwd=str(home))
    return Kernel(manager)


def stop(running: Kernel) -> None:
    running.client.stop_channels()
    running.manager.shutdown_kernel(now=False)
