"""Draws the state diagrams of the docs from the machines' own tables.

``python tools/state_diagrams.py`` writes them into docs/concepts; ``--check`` only says which differ (exit code 1).
A diagram stands between ``<!-- diagram NAME -->`` and ``<!-- end -->``, as Mermaid.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs" / "concepts"
BLOCK = re.compile(r"<!-- diagram (\w+) -->\n.*?<!-- end -->", re.DOTALL)

Arrow = tuple[str, str, str]


def graph() -> Iterator[Arrow]:
    """Tasks in a session's graph; with the moves that tasks undergo through others."""
    from shoal.graph.machine import TABLE

    yield "[*]", "waiting", "submitted with unfinished inputs"
    yield "[*]", "queued", "submitted"
    yield "waiting", "queued", "last input made"
    yield "waiting", "skipped", "an input failed"
    for (state, fact), move in TABLE.items():
        for to in move.to:
            if to is not state or (fact.__name__ == "AttemptFailed" and state.name in ("QUEUED", "RUNNING")):
                yield state.name.lower(), to.name.lower(), words(fact.__name__)
    for final in ("done", "failed", "skipped", "cancelled"):
        yield final, "[*]", ""


def attempt() -> Iterator[Arrow]:
    """Attempts inside a pool."""
    from shoal.dispatch.states import ATTEMPT_MOVES

    yield "[*]", "queued", "accepted"
    for (state, event), to in ATTEMPT_MOVES.items():
        yield state.value, to.value, event.value.replace("-", " ")


def manager() -> Iterator[Arrow]:
    """Managers as their pool sees them."""
    from shoal.dispatch.states import MANAGER_MOVES

    yield "[*]", "up", "registered"
    for (state, event), to in MANAGER_MOVES.items():
        if to is not state:
            yield state.value, to.value, event.value


def block() -> Iterator[Arrow]:
    """Blocks of a provider."""
    from shoal.blocks.states import BLOCK_MOVES

    yield "[*]", "requested", ""
    for (state, event), to in BLOCK_MOVES.items():
        if to is not state:
            yield state.value, to.value, event.value


MACHINES = {"graph": graph, "attempt": attempt, "manager": manager, "block": block}


def words(name: str) -> str:
    """``AttemptFailed`` as ``attempt failed``."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def mermaid(arrows: Iterator[Arrow]) -> str:
    """The diagram; labels of parallel arrows are put together."""
    merged: dict[tuple[str, str], list[str]] = {}
    for source, target, label in arrows:
        merged.setdefault((source, target), []).append(label)
    lines = ["```mermaid", "stateDiagram-v2"]
    for (source, target), labels in merged.items():
        text = " / ".join(label for label in labels if label)
        lines.append(f"    {source} --> {target}" + (f": {text}" if text else ""))
    return "\n".join([*lines, "```"])


def main() -> int:
    """Write or check every diagram."""
    stale = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        fresh = BLOCK.sub(lambda m: f"<!-- diagram {m[1]} -->\n{mermaid(MACHINES[m[1]]())}\n<!-- end -->", text)
        if fresh != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(fresh)
    if stale:
        print("state diagrams", "differ from the tables:" if "--check" in sys.argv else "drawn:", ", ".join(stale))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
