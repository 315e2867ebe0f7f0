"""``shoal pool top``: a pool at work, in a terminal."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shoal.errors import ConfigurationError, PoolError, PoolNotFound
from shoal.pool.control import pool_status
from shoal.resources import as_text
from shoal.wire.messages import PoolStatus

__all__ = ["add_command", "view"]

_SAMPLE = 0.5
"""Seconds between the two looks that a rate takes where only one view is shown."""

_WIDTH = 100
"""Columns taken where there is no terminal."""

_CLIENTS = 8


def add_command(actions: Any) -> None:
    """Add ``top`` to the actions of ``shoal pool``."""
    top = actions.add_parser(
        "top", help="watch a pool at work: blocks, nodes, workers, rates, queue, clients; ends with Ctrl-C"
    )
    top.add_argument("name")
    top.add_argument("--once", action="store_true", help="show it once, as where the output is no terminal")
    top.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="between two looks (default: 1)")
    top.set_defaults(run=_top)


def _top(options: argparse.Namespace) -> int:
    if not 0.1 <= options.every <= 3600:
        raise ConfigurationError("--every", options.every, "use 0.1 to 3600 seconds")
    console = Console(markup=False, highlight=False)
    before = pool_status(options.name)
    if options.once or not console.is_terminal:
        seen = time.monotonic()
        time.sleep(_SAMPLE)
        now = pool_status(options.name)
        console.width = max(console.width, _WIDTH)
        console.print(view(now, (now.done - before.done) / (time.monotonic() - seen)))
        return 0
    try:
        return _watch(console, options.name, options.every, before)
    except KeyboardInterrupt:
        return 0


def _watch(console: Console, name: str, every: float, before: PoolStatus) -> int:
    seen = time.monotonic()
    with Live(view(before, 0.0, console.height), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            try:
                now = pool_status(name, timeout=max(2.0, every))
            except PoolNotFound:
                break
            except PoolError as error:
                live.update(
                    Text(f"{error}\n'shoal pool stacks {name}' shows what it does. Ctrl-C ends this."), refresh=True
                )
                continue
            moment = time.monotonic()
            rate = max(0.0, (now.done - before.done) / (moment - seen))
            before, seen = now, moment
            live.update(view(now, rate, console.height), refresh=True)
    console.print(f"pool '{name}' has ended")
    return 0


def view(status: PoolStatus, rate: float, height: int = 0) -> RenderableType:
    """A pool as a person wants to see it.

    Args:
        status: of the pool.
        rate: attempts that end each second.
        height: lines that there are; 0 for as many as it takes.
    """
    parts: list[RenderableType] = [_head(status, rate)]
    blocks = [block for block in status.blocks if block.state not in ("ended", "cancelled")]
    room = max(2, (height - 14) // 2) if height else 1 << 30
    parts += [_blocks(status, blocks[-room:], len(blocks)), _nodes(status, room)]
    names = [_plain(name) for name in status.clients]
    more = f" and {len(names) - _CLIENTS} more" if len(names) > _CLIENTS else ""
    parts.append(Text(f"clients: {', '.join(names[:_CLIENTS]) or 'none'}{more}"))
    for session in status.sessions[:_CLIENTS]:
        parts.append(Text(f"away: {_plain(session.name)}", style="dim"))
    if status.malformed:
        parts.append(Text(f"{status.malformed} messages that were none have been dropped", style="yellow"))
    if status.trouble:
        parts.append(Text(f"last trouble: {_plain(status.trouble.partition(chr(10))[0])}", style="red"))
    return Group(*parts)


def _head(status: PoolStatus, rate: float) -> Text:
    up, slots = sum(m.workers for m in status.managers), sum(m.slots for m in status.managers)
    busy = sum(m.running for m in status.managers)
    text = Text()
    text.append(f"pool {status.name}", style="bold")
    text.append(f"   up for {_span(time.time() - status.started)}\n")
    text.append(f"tasks: {status.queued} wait, {status.running} at nodes, {status.done} done, {rate:,.0f} a second\n")
    text.append(f"workers: {busy} of {up} at work, {slots} wanted")
    if status.memory:
        text.append(f"   memory: {as_text(status.memory_free)} of {as_text(status.memory)} not spoken for")
    if status.gpus:
        text.append(f"   accelerators: {status.gpus_free} of {status.gpus} free")
    text.append("\n")
    return text


def _blocks(status: PoolStatus, shown: list[Any], count: int) -> Table:
    live = sum(block.state == "running" for block in status.blocks)
    table = _table(f"blocks: {live} run, {status.target} wanted", "block", "state", "since", "job", "why")
    for block in shown:
        why = _plain(block.message.partition("\n")[0])
        style = "red" if block.state == "failed" else ""
        table.add_row(str(block.block), block.state, _span(time.time() - block.since), block.job, why, style=style)
    if count > len(shown):
        table.add_row("", f"{count - len(shown)} more")
    return table


def _nodes(status: PoolStatus, room: int) -> Table:
    names = ("manager", "block", "host", "process", "workers", "running", "waiting", "silent")
    table = _table(f"nodes: {len(status.managers)}", *names)
    # Where not all have room, those that are in trouble and those with the most to do come first.
    order = sorted(status.managers, key=lambda m: (m.silent < 5.0, -m.running - m.queued, m.manager))
    for m in order[:room]:
        style = "red" if m.silent >= 5.0 else ""
        numbers = (f"{m.workers}/{m.slots}", str(m.running), str(m.queued), f"{m.silent:.1f} s")
        table.add_row(str(m.manager), str(m.block), _plain(m.host), str(m.pid), *numbers, style=style)
    if len(order) > room:
        table.add_row("", "", f"{len(order) - room} more")
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=None, header_style="dim", pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("running", "waiting", "process") else "left")
    return table


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"


def _plain(text: str) -> str:
    """A text from elsewhere, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)
