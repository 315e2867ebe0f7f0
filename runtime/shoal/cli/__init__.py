"""The command line: ``shoal pool``, ``shoal memo``, ``shoal run``, ``shoal simulate`` and ``shoal doctor``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from shoal import doctor
from shoal.cli import completion, memo, pools, run, simulate
from shoal.config import shoal_version
from shoal.errors import ShoalError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``shoal``; default: those of the process.

    Returns:
        The exit code: 0 if all went well, 1 after a ShoalError (its sentence on stderr), 2 for words it does not know.
    """
    options = _parser().parse_args(argv)
    try:
        code: int = options.run(options)
    except ShoalError as error:
        print(f"shoal: {error}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="shoal", description="Pools of workers for notebooks and scripts, and the results that are kept."
    )
    parser.add_argument("--version", action="version", version=f"shoal {shoal_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pools.add_commands(commands)
    memo.add_commands(commands)
    simulate.add_commands(commands)
    run.add_commands(commands)
    check = commands.add_parser("doctor", help="check the installation, or a pool; says what to do about what is wrong")
    check.set_defaults(run=_doctor, pool=None)
    parts = check.add_subparsers(metavar="WHAT")
    of_pool = parts.add_parser("pool", help="check one pool: its files, process, answers, blocks, and its host")
    of_pool.add_argument("pool", metavar="NAME")
    completion.add_commands(commands, parser)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    findings = doctor.examine() if options.pool is None else doctor.examine_pool(options.pool)
    for finding in findings:
        mark = Text("ok", style="green") if finding.ok else Text("!!", style="red")
        console.print(mark, f" {finding.what}: {finding.found}")
        if not finding.ok:
            console.print(f"      fix: {finding.fix}")
    bad = sum(not finding.ok for finding in findings)
    console.print("All is well." if not bad else f"{bad} thing(s) to mend.")
    return 1 if bad else 0
