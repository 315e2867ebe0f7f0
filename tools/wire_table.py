"""Writes the tables of messages in docs/concepts/wire.md from the messages themselves.

``python tools/wire_table.py`` writes them; ``--check`` only says whether they differ (exit code 1). A new message needs its
directions in ``DIRECTIONS``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec

from shoal.outcome import Failure, Payload, TracebackLine
from shoal.wire import messages

PAGE = Path(__file__).parent.parent / "docs" / "concepts" / "wire.md"

# c: client, p: pool (its interchange), m: manager, w: worker.
DIRECTIONS: dict[str, tuple[str, ...]] = {
    "Hello": ("c>p",),
    "Tasks": ("c>p", "p>m", "m>w"),
    "Blob": ("c>p", "p>m", "m>w"),
    "Cancel": ("c>p", "p>m"),
    "StatusRequest": ("c>p",),
    "StacksRequest": ("c>p", "p>m"),
    "Scale": ("c>p",),
    "Shutdown": ("c>p", "p>c", "p>m", "m>w"),
    "Goodbye": ("c>p", "m>p", "p>c"),
    "Taken": ("c>p", "p>m"),
    "Welcome": ("p>c", "p>m"),
    "Held": ("p>c",),
    "Refused": ("p>c", "p>m"),
    "Results": ("w>m", "m>p", "p>c"),
    "Running": ("m>p", "p>c"),
    "Output": ("m>p", "p>c"),
    "NeedBlob": ("w>m", "m>p", "p>c"),
    "PoolStatus": ("p>c",),
    "Stacks": ("m>p", "p>c"),
    "Trouble": ("m>p", "p>c"),
    "ClientGone": ("p>m",),
    "Register": ("m>p",),
    "Heartbeat": ("m>p", "c>p", "p>m", "p>c"),
    "Recall": ("p>m",),
    "Returned": ("m>p",),
    "Leaving": ("m>p",),
    "Ready": ("w>m",),
}
NAMES = {"c": "client", "p": "pool", "m": "manager", "w": "worker"}
OUTSIDE_PARTS = (Payload, Failure, TracebackLine)


def first_sentence(kind: type) -> str:
    """What the docstring says first, as Markdown."""
    text = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`").replace("|", "\\|")


def type_name(kind: Any) -> str:
    """A type as one reads it: without its bounds and without module names."""
    text = str(kind) if not isinstance(kind, type) or get_args(kind) else kind.__name__
    text = re.sub(r"typing\.Annotated\[(\w+), [^\]]*\]", r"\1", text)
    return re.sub(r"(?:[a-z_]+\.)+(?=[A-Za-z])", "", text).replace("NoneType", "None").replace("|", "\\|")


def fields(kind: type) -> str:
    """The fields of a struct, in the order in which they travel."""
    found = []
    for field in msgspec.structs.fields(kind):
        mark = "" if field.required else "?"
        found.append(f"`{field.name}{mark}: {type_name(field.type)}`".replace("\\|", "\\|"))
    return ", ".join(found) or "-"


def directions(name: str) -> str:
    """Who sends it to whom."""
    if name not in DIRECTIONS:
        sys.exit(f"{__file__}: say in DIRECTIONS who sends {name} to whom")
    return "<br>".join(f"{NAMES[way[0]]} → {NAMES[way[2]]}" for way in DIRECTIONS[name])


def message_table() -> str:
    """Every message."""
    rows = ["| message, tag | from → to | what it says | fields |", "|---|---|---|---|"]
    for kind in get_args(messages.Message):
        tag = kind.__struct_config__.tag
        rows.append(
            f"| **{kind.__name__}** `{tag}` | {directions(kind.__name__)} | {first_sentence(kind)} | {fields(kind)} |"
        )
    return "\n".join(rows)


def part_table() -> str:
    """What messages are made of."""
    kinds = set(get_args(messages.Message))
    parts = [getattr(messages, name) for name in messages.__all__]
    structs = [p for p in parts if isinstance(p, type) and issubclass(p, msgspec.Struct) and p not in kinds]
    rows = ["| part | what it is | fields |", "|---|---|---|"]
    rows += [f"| **{p.__name__}** | {first_sentence(p)} | {fields(p)} |" for p in (*structs, *OUTSIDE_PARTS)]
    return "\n".join(rows)


def version_line() -> str:
    """The number of the protocol."""
    return f"This page describes protocol version **{messages.PROTOCOL_VERSION}**."


TABLES = {"messages": message_table, "parts": part_table, "version": version_line}


def main() -> int:
    """Write or check the page."""
    text = PAGE.read_text()
    fresh = text
    for name, make in TABLES.items():
        block = re.compile(rf"<!-- table {name} -->\n.*?<!-- end -->", re.DOTALL)
        if not block.search(fresh):
            sys.exit(f"{PAGE} has no place for the table '{name}'")
        fresh = block.sub(lambda _, make=make, name=name: f"<!-- table {name} -->\n{make()}\n<!-- end -->", fresh)
    if fresh == text:
        return 0
    if "--check" in sys.argv:
        print(f"{PAGE.name} differs from shoal.wire.messages: run python tools/wire_table.py")
        return 1
    PAGE.write_text(fresh)
    print(f"{PAGE.name} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
