"""``shoal pool stacks|logs`` and ``shoal doctor pool``: what goes on in a pool."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from shoal.errors import ConfigurationError, PoolNotFound
from shoal.pool.connection import connection_path, list_connections, read_file
from shoal.pool.diagnosis import pool_stacks

__all__ = ["add_commands"]


def add_commands(actions: Any) -> None:
    """Add ``stacks`` and ``logs`` to the actions of ``shoal pool``."""
    stacks = actions.add_parser("stacks", help="show what each thread of a pool's processes is doing, also in C calls")
    stacks.add_argument("name")
    stacks.add_argument("--worker", default="", metavar="HOST/PID", help="only this one, as futures and 'top' name it")
    stacks.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="to wait for answers (default: 5)"
    )
    stacks.set_defaults(run=_stacks)

    logs = actions.add_parser("logs", help="list the logs of a pool and show their ends")
    logs.add_argument("name")
    logs.add_argument("file", nargs="?", help="one of them: pool.err, block-0.err, block-0-worker-1.log ...")
    logs.add_argument(
        "-n", "--lines", type=int, default=20, metavar="N", help="lines of each (default: 20; 0: only the list)"
    )
    logs.set_defaults(run=_logs)


def _stacks(options: argparse.Namespace) -> int:
    if options.timeout <= 0:
        raise ConfigurationError("--timeout", options.timeout, "use a number of seconds above 0")
    for name, text in pool_stacks(options.name, options.worker, options.timeout):
        print(f"==> {name}")
        print("\n".join(f"    {line}" for line in text.splitlines()))
        print()
    return 0


def _logs(options: argparse.Namespace) -> int:
    connection = read_file(connection_path(options.name))
    if connection is None or not Path(connection.folder).is_dir():
        raise PoolNotFound(options.name, tuple(c.name for c in list_connections()))
    folder = Path(connection.folder)
    files = [
        file for kind in ("*.err", "*.out", "*.log") for file in sorted(folder.glob(kind)) if file.name != "pool.log"
    ]
    if options.file is not None:
        files = [file for file in files if file.name == options.file]
        if not files:
            raise ConfigurationError(
                "file", options.file, f"'shoal pool logs {options.name} -n 0' lists those that there are"
            )
    print(f"{folder}:")
    for file in files:
        found = file.stat()
        if not found.st_size and options.file is None:
            continue
        print(f"==> {file.name}  ({found.st_size} bytes, {max(0.0, time.time() - found.st_mtime):.0f} s ago)")
        for line in _end(file, options.lines):
            print(f"    {line}")
    quiet = sum(not file.stat().st_size for file in files)
    if quiet and options.file is None:
        print(f"and {quiet} that are empty")
    return 0


def _end(file: Path, lines: int) -> list[str]:
    """The last lines of a file."""
    if lines <= 0:
        return []
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 400 * lines))
        return stream.read().decode(errors="replace").splitlines()[-lines:]
