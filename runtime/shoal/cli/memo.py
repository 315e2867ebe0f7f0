"""``shoal memo list|clear``: what is kept of the results of cached apps."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from shoal.errors import ConfigurationError
from shoal.memo.spec import Memo
from shoal.memo.store import MemoEntry, MemoStore, default_folder
from shoal.resources import as_text

__all__ = ["add_commands"]

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TABLE_WIDTH = 100


def add_commands(commands: Any) -> None:
    """Add ``memo`` and its actions to the commands of a parser (what ``add_subparsers`` returned)."""
    memo = commands.add_parser("memo", help="show and clear the results that are kept of cached apps")
    actions = memo.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="show what is kept, by app")
    listing.add_argument("--entries", action="store_true", help="each result by itself, the last used first")
    listing.set_defaults(run=_list)

    clear = actions.add_parser("clear", help="remove results; tasks that need them run again")
    clear.add_argument("--app", metavar="LABEL", help="only those of this app")
    clear.add_argument("--older", metavar="AGE", help="only those not used for so long: 30m, 12h, 7d, 2w")
    clear.add_argument("--yes", action="store_true", help="do not ask")
    clear.set_defaults(run=_clear)

    for action in (listing, clear):
        action.add_argument("--folder", metavar="PATH", help="the folder of a Memo(folder=...); default: the usual one")


def _store(options: argparse.Namespace) -> MemoStore | None:
    """The store; None if there is none yet."""
    folder = default_folder() if options.folder is None else Path(options.folder).expanduser().absolute()
    return MemoStore(folder, Memo().limit()) if folder.exists() else None


def _list(options: argparse.Namespace) -> int:
    store = _store(options)
    entries = [] if store is None else list(store.entries())
    if store is None or not entries:
        _say("No results are kept. An app keeps them with @python_app(cache=True).")
        return 0
    size = sum(entry.bytes for entry in entries)
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{store.folder}: {_count(len(entries))}, {as_text(size)} (limit {as_text(store.limit)} unless a Memo says else)"
    )
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(_single(entries) if options.entries else _by_app(entries))
    return 0


def _by_app(entries: list[MemoEntry]) -> Table:
    apps: dict[str, list[MemoEntry]] = {}
    for entry in entries:
        apps.setdefault(entry.label, []).append(entry)
    table = _table("app", "entries", "size", "last used")
    for label, its in sorted(apps.items(), key=lambda item: -sum(entry.bytes for entry in item[1])):
        last = max(entry.used for entry in its)
        table.add_row(label, str(len(its)), as_text(sum(entry.bytes for entry in its)), _ago(last))
    return table


def _single(entries: list[MemoEntry]) -> Table:
    table = _table("key", "app", "size", "made", "last used")
    for entry in sorted(entries, key=lambda entry: -entry.used):
        table.add_row(entry.key[:16], entry.label, as_text(entry.bytes), _ago(entry.created), _ago(entry.used))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("entries", "size") else "left")
    return table


def _clear(options: argparse.Namespace) -> int:
    older = None if options.older is None else _age(options.older)
    store = _store(options)
    chosen = [] if store is None else [entry for entry in store.entries() if _is_chosen(entry, options.app, older)]
    if store is None or (not chosen and (options.app is not None or older is not None)):
        _say("No such results are kept.")
        return 0
    what = f"{_count(len(chosen))}, {as_text(sum(entry.bytes for entry in chosen))}"
    if not options.yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("memo clear", what, "say --yes to remove them where nobody can be asked")
        if input(f"Remove {what}, in {store.folder}? [y/N] ").strip().lower() not in ("y", "yes"):
            _say("Nothing was removed.")
            return 0
    count, size = store.clear(options.app, older)
    _say(f"removed {_count(count)}, {as_text(size)}")
    return 0


def _is_chosen(entry: MemoEntry, label: str | None, older: float | None) -> bool:
    return (label is None or entry.label == label) and (older is None or entry.used < time.time() - older)


def _age(text: str) -> float:
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise ConfigurationError("--older", text, "give a number and a unit: 30m, 12h, 7d, 2w")
    return float(found[1]) * _SECONDS[found[2]]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _count(number: int) -> str:
    return f"{number} result{'' if number == 1 else 's'}"


def _ago(moment: float) -> str:
    seconds = max(0, int(time.time() - moment))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
