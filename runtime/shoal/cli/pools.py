"""``shoal pool start|list|stop|scale|top|stacks|logs``: pools that outlive notebooks."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from shoal.blocks.providers.local import LocalProvider
from shoal.cli import looking, top
from shoal.errors import ConfigurationError
from shoal.pool.connection import Connection
from shoal.pool.control import PoolInfo, ensure_pool, list_pools, scale_pool, start_pool, stop_pool
from shoal.resources import as_bytes

__all__ = ["add_commands"]


def add_commands(commands: Any) -> None:
    """Add ``pool`` and its actions to the commands of a parser (what ``add_subparsers`` returned)."""
    pool = commands.add_parser("pool", help="start, list, scale, watch, question and stop pools that outlive notebooks")
    actions = pool.add_subparsers(required=True, metavar="ACTION")

    start = actions.add_parser("start", help="start a pool on this host; it lasts until it is stopped")
    start.add_argument("name", help="letters, digits, - and _; notebooks attach by it")
    start.add_argument("-w", "--workers", type=int, metavar="N", help="workers of each block (default: one a core)")
    start.add_argument("-b", "--blocks", type=int, default=1, metavar="N", help="blocks at the start (default: 1)")
    start.add_argument("--max-blocks", type=int, metavar="N", help="blocks at most (default: as at the start)")
    start.add_argument(
        "--address", metavar="IP", help="of the interface to listen on, for other hosts (default: this host only)"
    )
    start.add_argument(
        "--keep-size",
        default="2 GB",
        metavar="SIZE",
        help="results kept for clients that are away, such as '500 MB' (default: 2 GB)",
    )
    start.add_argument(
        "--keep-hours",
        type=float,
        default=24.0,
        metavar="H",
        help="for how long, and their waiting tasks go on (default: 24)",
    )
    start.add_argument(
        "--or-attach", action="store_true", help="if it runs already, say how to attach instead of failing"
    )
    start.set_defaults(run=_start)

    listing = actions.add_parser("list", help="show the pools of this user on this host")
    listing.set_defaults(run=_list)

    top.add_command(actions)
    looking.add_commands(actions)

    scale = actions.add_parser("scale", help="set the number of blocks of a pool")
    scale.add_argument("name")
    scale.add_argument("blocks", type=int)
    scale.set_defaults(run=_scale)

    stop = actions.add_parser("stop", help="end a pool, its blocks and its workers")
    stop.add_argument("name", nargs="+")
    stop.set_defaults(run=_stop)


def _start(options: argparse.Namespace) -> int:
    most = options.max_blocks if options.max_blocks is not None else max(1, options.blocks)
    provider = LocalProvider(init_blocks=options.blocks, max_blocks=most)

    keep = (as_bytes("--keep-size", options.keep_size), options.keep_hours * 3600.0)

    def start(name: str) -> Connection:
        return start_pool(name, provider, options.workers, address=options.address, keep=keep)

    connection, started = ensure_pool(options.name, start) if options.or_attach else (start(options.name), True)
    how = "is up" if started else "is running already"
    print(f"pool '{connection.name}' {how} (process {connection.pid}). In a notebook:")
    print(
        "    import shoal\n"
        f'    shoal.load(shoal.Config(executors=[shoal.HighThroughputExecutor(pool="{connection.name}")]))'
    )
    print(f"Stop it with: shoal pool stop {connection.name}")
    return 0


def _list(options: argparse.Namespace) -> int:
    pools = list_pools()
    if not pools:
        print("No pool is running. Start one with: shoal pool start NAME")
        return 0
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("pool", "state", "kind", "process", "blocks", "workers", "queued", "running", "up for", "clients"):
        table.add_column(heading, justify="right" if heading in ("queued", "running", "workers", "process") else "left")
    for info in pools:
        table.add_row(*_row(info))
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(table)
    return 0


_TABLE_WIDTH = 110
"""Columns that the list of pools may take even where the terminal seems narrower: a cut name is no use."""


def _row(info: PoolInfo) -> list[str]:
    status = info.status
    row = [info.name, info.state, info.kind, str(info.pid)]
    if status is None:
        version = f"shoal {info.version}" if info.state in ("older", "newer") and info.version else ""
        return [*row, "", "", "", "", _age(info.started), version]
    blocks = f"{sum(block.state == 'running' for block in status.blocks)}/{status.target}"
    workers = sum(manager.workers for manager in status.managers)
    clients = ", ".join(status.clients)
    return [*row, blocks, str(workers), str(status.queued), str(status.running), _age(info.started), clients]


def _age(started: float) -> str:
    seconds = max(0, int(time.time() - started))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _scale(options: argparse.Namespace) -> int:
    if options.blocks < 0:
        raise ConfigurationError("blocks", options.blocks, "use 0 or more")
    target = scale_pool(options.name, options.blocks).target
    print(f"pool '{options.name}' aims at {target} block{'' if target == 1 else 's'}")
    if target != options.blocks:
        print("  (its provider's limits, given when it was started, allow no other number)")
    return 0


def _stop(options: argparse.Namespace) -> int:
    for name in options.name:
        stop_pool(name)
        print(f"pool '{name}' is stopped")
    return 0
