"""``shoal simulate``: how a pool of any size would fare, on a virtual clock."""

from __future__ import annotations

import argparse
import gc
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from shoal.simulation import Report, Scenario, simulate

__all__ = ["add_commands"]

_OPTIONS: tuple[tuple[str, type[int] | type[float], str], ...] = (
    ("nodes", int, "how many nodes"),
    ("workers", int, "workers of each node"),
    ("tasks", int, "how many tasks one client submits"),
    ("duration", float, "seconds that a task runs"),
    ("spread", float, "by which share a task may be shorter or longer"),
    ("latency", float, "seconds on the way between two processes"),
    ("client-task", float, "seconds of the client's work for a task"),
    ("pool-task", float, "seconds of the interchange's work for a task"),
    ("pool-message", float, "seconds of the interchange's work for a message"),
    ("start", float, "seconds that a node takes to come up"),
    ("lifetime", float, "mean seconds until a node dies; 0 for never"),
    ("notice", float, "seconds until the pool hears of that; below 0: only its silence tells"),
    ("seed", int, "of all that is left to chance"),
)


def add_commands(commands: Any) -> None:
    """Add ``simulate`` to the commands of a parser (what ``add_subparsers`` returned)."""
    parser = commands.add_parser("simulate", help="how a pool of any size would fare: the same decisions, virtual time")
    defaults = Scenario()
    for name, kind, words in _OPTIONS:
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(
            f"--{name}", type=kind, default=default, metavar="N", help=f"{words} (default: {default:g})"
        )
    parser.set_defaults(run=_simulate)


def _simulate(options: argparse.Namespace) -> int:
    given = {name.replace("-", "_"): getattr(options, name.replace("-", "_")) for name, _, _ in _OPTIONS}
    given["notice"] = None if given["notice"] < 0 else given["notice"]
    scenario = Scenario(**given)
    gc.disable()  # hardly a cycle is made, and looking for them among a million tasks would take half of the time
    began = time.perf_counter()
    report = simulate(scenario)
    print(
        f"{scenario.nodes:,} nodes of {scenario.workers} workers, {scenario.tasks:,} tasks of {scenario.duration:g} s"
    )
    Console(highlight=False).print(_table(report))
    print(f"Simulated in {time.perf_counter() - began:.1f} s; nothing was run.")
    return 0 if not report.failed else 1


def _table(report: Report) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for what, value in (
        ("until the last result", f"{report.makespan:,.2f} s"),
        ("if only the tasks took time", f"{report.ideal:,.2f} s"),
        ("tasks a second", f"{report.throughput:,.0f}"),
        ("use of the workers", f"{report.utilisation:.1%}"),
        ("the interchange was busy", f"{report.interchange:.1%}"),
        ("messages of the interchange", f"{report.messages:,}"),
        ("most tasks that waited in the pool", f"{report.waiting:,}"),
        ("nodes that came up", f"{report.nodes_started:,}"),
        ("nodes that died", f"{report.nodes_lost:,}"),
        ("nodes that were suspected", f"{report.suspected:,}"),
        ("attempts that were lost and run again", f"{report.lost:,}"),
        ("tasks that ended with a value", f"{report.tasks:,}"),
        ("tasks that failed", f"{report.failed:,}"),
    ):
        table.add_row(what, value)
    return table
