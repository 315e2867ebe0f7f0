"""A small card of HTML that says how a task is, for notebooks. It imports nothing of Shoal."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["COLOURS", "card", "duration"]

COLOURS = {
    "waiting": "#8a8f98",
    "queued": "#56b4e9",
    "running": "#e69f00",
    "done": "#009e73",
    "failed": "#d55e00",
    "skipped": "#cc79a7",
    "cancelled": "#7a6a5a",
}
"""By state; told apart by colour-blind people, readable on light and on dark ground."""

_SHOWN_AS = {"delayed": "queued", "joining": "running"}


def card(title: str, status: str, facts: Sequence[str], texts: Sequence[tuple[str, str]] = ()) -> str:
    """The card.

    Args:
        title: the words for the task.
        status: as ``task_status()`` says.
        facts: short ones, shown in a line.
        texts: headings and longer texts, folded in.
    """
    colour = COLOURS[_SHOWN_AS.get(status, status)]
    line = "".join(f" &middot; {escape(fact)}" for fact in facts)
    folded = "".join(
        f'<details style="margin-top:2px"><summary style="cursor:pointer">{escape(heading)}</summary>'
        f'<pre style="margin:2px 0 2px 1em;white-space:pre-wrap">{escape(text)}</pre></details>'
        for heading, text in texts
    )
    return (
        f'<div style="border-left:4px solid {colour};padding:2px 0 2px 8px">'
        f"<strong>{escape(title)}</strong> "
        f'<span style="border:1px solid {colour};border-radius:8px;padding:0 6px">{escape(status)}</span>'
        f'<span style="opacity:.75">{line}</span>{folded}</div>'
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: ``0.4 ms``, ``7 ms``, ``0.42 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if 0 < seconds < 0.001:
        return f"{1000 * seconds:.1f} ms"
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min {whole % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
