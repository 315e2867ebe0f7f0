"""Runs a notebook from a terminal, and shows what each cell prints as it prints it. Run by ``make run NB=file.ipynb``.

The notebook is left as it is; ``--output FILE`` writes the executed one elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

KERNEL = "shoal"


class Talking(NotebookClient):
    """Executes a notebook and tells of it on the terminal."""

    count = 0
    total = 0

    async def async_execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
        """Say which cell begins."""
        if cell.cell_type == "code":
            self.count += 1
            first = next((line for line in cell.source.splitlines() if line.strip()), "")
            write(f"[{self.count}/{self.total}] {first[:90]}\n")
        return await super().async_execute_cell(cell, cell_index, **options)

    def output(self, outs: Any, msg: Any, display_id: str, cell_index: int) -> Any:
        """Show an output on the terminal as well."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            write(content["text"])
        elif msg["msg_type"] in ("execute_result", "display_data"):
            write(content["data"].get("text/plain", "") + "\n")
        return super().output(outs, msg, display_id, cell_index)


def main() -> int:
    """Run it; 0 if every cell ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, help="where to write the executed notebook")
    options = parser.parse_args()
    if not options.notebook.is_file():
        raise SystemExit(f"there is no notebook {options.notebook}")
    notebook = nbformat.read(options.notebook, as_version=4)
    client = Talking(
        notebook,
        timeout=None,
        kernel_name=kernel_of(notebook),
        store_widget_state=True,
        resources={"metadata": {"path": str(options.notebook.resolve().parent)}},
    )
    total = client.total = sum(cell.cell_type == "code" for cell in notebook.cells)
    began = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        write(f"\n{error}\n{options.notebook}: cell {client.count} of {total} failed.\n")
        return 1
    finally:
        if options.output is not None:
            nbformat.write(notebook, options.output)
    write(f"{options.notebook}: {total} cells ran in {time.monotonic() - began:.1f} s.\n")
    return 0


def kernel_of(notebook: Any) -> str:
    """The kernel that the notebook names if it is installed here, else Shoal's."""
    named = notebook.metadata.get("kernelspec", {}).get("name", KERNEL)
    return named if named in KernelSpecManager().find_kernel_specs() else KERNEL


def write(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
