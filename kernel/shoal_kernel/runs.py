"""``shoal run notebook.ipynb``: runs a notebook from a terminal, and shows what each cell prints as it prints it.

The notebook is left as it is; ``--output FILE`` writes the executed one elsewhere. At its end all tasks are waited for; if
one failed, it is named and the exit code is 1. Tasks of a cell with the tag ``raises-exception`` may fail.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbclient.util import ensure_async

__all__ = ["Talking", "main"]

_KERNEL = "shoal"

_BEGIN = """
try:
    __import__("shoal_kernel.headless").headless.watch(get_ipython())
except ImportError:
    pass
"""
_AUTOTASK = "import shoal_kernel; __import__('shoal_kernel.autotask').autotask.autotask('on')\n"
_END = """
if "shoal_kernel.headless" in __import__("sys").modules:
    print(__import__("json").dumps(__import__("shoal_kernel.headless").headless.finish(get_ipython())))
"""


class Talking(NotebookClient):
    """Executes a notebook and tells of it on the terminal.

    Args:
        notebook: the notebook; its cells get their outputs.
        first: what runs before its first cell.
        options: those of ``NotebookClient``.

    Attributes:
        count: cells that were begun.
        total: code cells.
        failures: of tasks, as :func:`shoal_kernel.headless.finish` tells them.
        shown: what displays show, by their ids.
        changed: what displays show that was not printed yet.
    """

    def __init__(self, notebook: Any, first: str = "", **options: Any) -> None:
        super().__init__(notebook, **options)
        self.first = first
        self.count = 0
        self.total = sum(cell.cell_type == "code" for cell in notebook.cells)
        self.failures: list[dict[str, Any]] = []
        self.shown: dict[str, str] = {}
        self.changed: dict[str, str] = {}

    async def async_execute_cell(
        self, cell: Any, cell_index: int, execution_count: int | None = None, store_history: bool = True
    ) -> Any:
        """Say which cell begins."""
        if cell.cell_type != "code":
            return await super().async_execute_cell(cell, cell_index, execution_count, store_history)
        if self.count == 0:
            await self.ask(_BEGIN + self.first, cell, cell_index)
        self.count += 1
        first = next((line for line in cell.source.splitlines() if line.strip()), "")
        _write(f"[{self.count}/{self.total}] {first[:90]}\n")
        try:
            done = await super().async_execute_cell(cell, cell_index, execution_count, store_history)
        finally:
            self.show_changed()
        if self.count == self.total:
            self.failures = json.loads(await self.ask(_END, cell, cell_index) or "[]")
            self.show_changed()
        return done

    async def ask(self, code: str, cell: Any, cell_index: int) -> str:
        """Run code that is no cell of the notebook. Returns what it printed."""
        printed = []

        def take(msg: Any) -> None:
            if msg["msg_type"] == "stream" and msg["content"]["name"] == "stdout":
                printed.append(msg["content"]["text"])
            elif msg["msg_type"] == "update_display_data":
                self.process_message(msg, cell, cell_index)

        client: Any = self.kc
        await ensure_async(
            client.execute_interactive(code, store_history=False, allow_stdin=False, timeout=None, output_hook=take)
        )
        return "".join(printed)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """Displays that change: what is added to one is shown at once, another text when the cell is over."""
        if msg["msg_type"] == "update_display_data":
            name = msg["content"]["transient"]["display_id"]
            text, before = msg["content"]["data"].get("text/plain", ""), self.shown.get(name, "")
            if text.startswith(before):
                self.show(name, text, text[len(before) :])
            else:
                self.changed[name] = text
        return super().process_message(msg, cell, cell_index)

    def output(self, outs: Any, msg: Any, display_id: str | None, cell_index: int) -> Any:
        """Show an output on the terminal as well."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            _write(content["text"])
        elif msg["msg_type"] in ("execute_result", "display_data"):
            text = content["data"].get("text/plain", "")
            self.show(display_id, text, text)
        return super().output(outs, msg, display_id, cell_index)

    def show(self, name: str | None, text: str, new: str) -> None:
        """Print what is new of a display, and remember what it shows."""
        if new.strip("\n"):
            _write(new.strip("\n") + "\n")
        if name:
            self.shown[name] = text
            self.changed.pop(name, None)

    def show_changed(self) -> None:
        """Print the last state of the displays that changed."""
        for name, text in list(self.changed.items()):
            self.show(name, text, text if text != self.shown.get(name) else "")

    def unexpected(self) -> list[str]:
        """One line for each task that failed, but for those of cells that say that they may."""
        allowed = {
            cell.execution_count
            for cell in self.nb.cells
            if cell.cell_type == "code" and "raises-exception" in cell.metadata.get("tags", ())
        }
        return [
            f"{failed['task']} of cell [{failed['cell']}] {failed['state']}: {failed['error']}"
            for failed in self.failures
            if failed["cell"] not in allowed
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run it.

    Args:
        argv: the words of the command; default: those of the process.

    Returns:
        0 if every cell ran and no task failed that may not, else 1.
    """
    parser = argparse.ArgumentParser(prog="shoal run", description="Run a notebook; wait for all its tasks at its end.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, help="where to write the executed notebook")
    parser.add_argument("--autotask", action="store_true", help="let cells run side by side where they safely can")
    options = parser.parse_args(argv)
    if not options.notebook.is_file():
        raise SystemExit(f"there is no notebook {options.notebook}")
    notebook = nbformat.read(options.notebook, as_version=4)  # type: ignore[no-untyped-call, unused-ignore]
    kernel = _kernel_of(notebook)
    client = Talking(
        notebook,
        first=_AUTOTASK if options.autotask else "",
        timeout=None,
        kernel_name=kernel,
        # a new ipykernel warns of unencrypted TCP, which stays on this machine
        extra_arguments=["--log-level=ERROR"] if kernel == _KERNEL else [],
        store_widget_state=True,
        resources={"metadata": {"path": str(options.notebook.resolve().parent)}},
    )
    began = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        _write(f"\n{error}\n{options.notebook}: cell {client.count} of {client.total} failed.\n")
        return 1
    finally:
        if options.output is not None:
            nbformat.write(notebook, options.output)  # type: ignore[no-untyped-call, unused-ignore]
    failed = client.unexpected()
    if failed:
        _write("\n" + "".join(f"{line}\n" for line in failed))
        _write(f"{options.notebook}: {_counted(len(failed), 'task')} failed.\n")
        return 1
    _write(f"{options.notebook}: {_counted(client.total, 'cell')} ran in {time.monotonic() - began:.1f} s.\n")
    return 0


def _counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _kernel_of(notebook: Any) -> str:
    """The kernel that the notebook names if it is installed here, else Shoal's."""
    named = notebook.metadata.get("kernelspec", {}).get("name", _KERNEL)
    return named if named in KernelSpecManager().find_kernel_specs() else _KERNEL


def _write(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
