"""``shoal run``: a notebook in a terminal, as if it were a script."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shoal.errors import ConfigurationError

__all__ = ["add_commands"]

_RUNNER = "shoal_kernel.programs.runs"  # a program of its own: it needs Jupyter, which the runtime does not


def add_commands(commands: Any) -> None:
    """Add ``run`` to the commands of a parser (what ``add_subparsers`` returned)."""
    run = commands.add_parser(
        "run",
        help="run a notebook, and show what its cells and tasks print",
        epilog="The exit code is 0 if all cells ran and no task failed, 130 after Ctrl-C, else 1. Tasks of cells with the tag "
        "raises-exception may fail.",
    )
    run.add_argument("notebook", type=Path, help="the notebook, which is left as it is")
    run.add_argument("--output", type=Path, metavar="FILE", help="where to write the executed notebook")
    run.add_argument("--autotask", action="store_true", help="let cells run side by side where they safely can")
    run.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if not options.notebook.is_file():
        raise ConfigurationError(
            "shoal run", str(options.notebook), "there is no such notebook; give the path of a file"
        )
    if find_spec("nbclient") is None or find_spec("ipykernel") is None:
        raise ConfigurationError(
            "shoal run", str(options.notebook), "Jupyter is not installed: pip install 'shoal[lab]'"
        )
    words = [str(options.notebook)]
    if options.output is not None:
        words += ["--output", str(options.output)]
    if options.autotask:
        words.append("--autotask")
    runner = subprocess.Popen([sys.executable, "-m", _RUNNER, *words])
    while True:
        try:
            return runner.wait()
        except KeyboardInterrupt:
            continue  # it has got it as well, and knows what to do
