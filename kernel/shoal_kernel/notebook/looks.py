"""How the states of a task look outside the live graph: the same colours and shapes as in labextension/src/views/states.ts."""

from __future__ import annotations

from html import escape

from shoal.card import COLOURS as BY_NAME
from shoal.record.runs import STATE_NAMES

__all__ = ["COLOURS", "HOLLOW", "SHAPES", "STACK", "icon", "shape"]

COLOURS = tuple(BY_NAME[name] for name in STATE_NAMES)
"""By state code."""

SHAPES = (
    "M-7 0A7 7 0 1 1 7 0A7 7 0 1 1 -7 0Z",
    "M0 -8.5L8.5 0L0 8.5L-8.5 0Z",
    "M-6 -8L9 0L-6 8Z",
    "M-8 0A8 8 0 1 1 8 0A8 8 0 1 1 -8 0Z",
    "M-8 -4.5L-4.5 -8L0 -3.5L4.5 -8L8 -4.5L3.5 0L8 4.5L4.5 8L0 3.5L-4.5 8L-8 4.5L-3.5 0Z",
    "M-7 -7H7V7H-7Z",
    "M-8 -2.5H8V2.5H-8Z",
)
"""Outlines in a square of side 20 around the origin, by state code."""

HOLLOW = frozenset({0, 5})
"""States whose shape is drawn as an outline."""

STACK = (3, 4, 5, 6, 2, 1, 0)
"""The order in which a bar stacks states."""


def shape(state: int, place: str = "") -> str:
    """A state's shape as an SVG path.

    Args:
        state: its code.
        place: an SVG transform.
    """
    colour = COLOURS[state]
    paint = (
        f'fill="none" stroke="{colour}" stroke-width="2.5"' if state in HOLLOW else f'fill="{colour}" stroke="{colour}"'
    )
    where = f' transform="{place}"' if place else ""
    return f'<path d="{SHAPES[state]}" {paint}{where}/>'


def icon(state: int) -> str:
    """A state's shape as a small picture for running text."""
    name = escape(STATE_NAMES[state])
    return (
        f'<svg viewBox="-11 -11 22 22" width="13" height="13" role="img" aria-label="{name}" '
        f'style="vertical-align:-2px">{shape(state)}</svg>'
    )
