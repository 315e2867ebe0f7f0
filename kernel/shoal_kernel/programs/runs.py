"""``shoal run notebook.ipynb``: runs a notebook from a terminal, and shows what each cell prints as it prints it.

The notebook is left as it is; ``--output FILE`` writes the executed one elsewhere. At its end all tasks are waited for; if
one failed, it is named and the exit code is 1. Tasks of a cell with the tag ``raises-exception`` may fail. Ctrl-C interrupts the cell that
runs, which ends the run (exit code 130); a second one ends the kernel at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbclient.util import ensure_async

__all__ = ["Talking", "main"]

_KERNEL = "shoal"
_INTERRUPTED = 130  # what shells take for an end by Ctrl-C

_BEGIN = """
try:
    __import__("shoal_kernel.programs.headless", fromlist=["x"]).watch(get_ipython())
except ImportError:
    pass
"""
_AUTOTASK = "__import__('shoal_kernel.cells.autotask', fromlist=['x']).autotask('on')\n"
_END = """
if "shoal_kernel.programs.headless" in __import__("sys").modules:
    print(__import__("json").dumps(__import__("shoal_kernel.programs.headless", fromlist=["x"]).finish(get_ipython())))
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
        failures: of tasks, as :func:`shoal_kernel.programs.headless.finish` tells them.
        shown: what displays show, by their ids.
        changed: what displays show that was not printed yet.
        interrupts: how often Ctrl-C was pressed.
    """

    def __init__(self, notebook: Any, first: str = "", **options: Any) -> None:
        super().__init__(notebook, **options)
        self.first = first
        self.count = self.interrupts = 0
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
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.interrupt)
            await self.ask(_BEGIN + self.first, cell, cell_index)
        self.count += 1
        first = next((line for line in cell.source.splitlines() if line.strip()), "")
        _write(f"[{self.count}/{self.total}] {first[:90]}\n")
        try:
            done = await super().async_execute_cell(cell, cell_index, execution_count, store_history)
        finally:
            self.show_changed()
        if self.count == self.total and not self.interrupts:
            self.failures = json.loads(await self.ask(_END, cell, cell_index) or "[]")
            self.show_changed()
        if self.interrupts:  # a cell that may fail has been interrupted, or the waiting at the end
            raise asyncio.CancelledError
        return done

    @property
    def place(self) -> str:
        """How far it is."""
        return f"cell {self.count} of {self.total}"

    def interrupt(self) -> None:
        """Ctrl-C: the first interrupts what runs, as in a notebook, the second ends the kernel."""
        self.interrupts += 1
        manager: Any = self.km
        if self.interrupts == 1:
            _write("\ninterrupting; Ctrl-C again ends the kernel at once\n")
            self._ending = asyncio.ensure_future(ensure_async(manager.interrupt_kernel()))
        else:
            self._ending = asyncio.ensure_future(self._end_at_once(manager))

    async def _end_at_once(self, manager: Any) -> None:
        await ensure_async(manager.shutdown_kernel(now=True))
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

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
        0 if every cell ran and no task failed that may not; 130 after Ctrl-C; else 1.
    """
    parser = argparse.ArgumentParser(prog="shoal run", description="Run a notebook; wait for all its tasks at its end.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, help="where to write the executed notebook")
    parser.add_argument("--autotask", action="store_true", help="let cells run side by side where they safely can")
    options = parser.parse_args(argv)
    notebook = _read(options.notebook)
    if options.output is not None and not options.output.absolute().parent.is_dir():
        raise SystemExit(f"shoal run: there is no folder {options.output.parent} for --output; make it first")
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
    try:
        return _execute(client, options.notebook)
    finally:
        if options.output is not None:
            try:
                nbformat.write(notebook, options.output)  # type: ignore[no-untyped-call, unused-ignore]
            except OSError as error:
                raise SystemExit(f"shoal run: the executed notebook could not be written: {error}") from None


def _read(path: Path) -> Any:
    if not path.is_file():
        raise SystemExit(f"shoal run: there is no notebook {path}; give the path of a file")
    try:
        text = path.read_text(encoding="utf-8")
        if not isinstance(json.loads(text), dict):
            raise TypeError("it holds something else")
        return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call, unused-ignore]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        why = "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else f"{type(error).__name__}: {error}"
        raise SystemExit(f"shoal run: {path} cannot be read as a notebook ({why})") from None


def _execute(client: Talking, path: Path) -> int:
    began = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        if not client.interrupts:
            _write(f"\n{error}\n{path}: {client.place} failed.\n")
            return 1
    except asyncio.CancelledError:
        pass
    except DeadKernelError:
        if not client.interrupts:
            _write(f"{path}: the kernel has ended in {client.place}; what it printed last stands above.\n")
            return 1
    except RuntimeError as error:
        _write(f"{path}: the kernel '{client.kernel_name}' did not start: {error}\n")
        return 1
    if client.interrupts:
        _write(f"{path}: interrupted in {client.place}; tasks that were not over have ended.\n")
        return _INTERRUPTED
    failed = client.unexpected()
    if failed:
        _write("\n" + "".join(f"{line}\n" for line in failed))
        _write(f"{path}: {_counted(len(failed), 'task')} failed.\n")
        return 1
    _write(f"{path}: {_counted(client.total, 'cell')} ran in {time.monotonic() - began:.1f} s.\n")
    return 0


def _counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _kernel_of(notebook: Any) -> str:
    """The kernel that the notebook names if it is installed here, else Shoal's, unless it is of another language."""
    named = notebook.metadata.get("kernelspec", {}).get("name", _KERNEL)
    if named in KernelSpecManager().find_kernel_specs():
        return str(named)
    if notebook.metadata.get("kernelspec", {}).get("language", "python") != "python":
        raise SystemExit(f"shoal run: the notebook wants the kernel '{named}', which is not installed here")
    return _KERNEL


def _write(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
