"""The task graph as one piece of HTML that needs no script and no network: for saved notebooks and for nbconvert."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from shoal.card import duration
from shoal.record.runs import DONE, STATE_NAMES, RunView
from shoal_kernel.notebook.looks import COLOURS, STACK, icon, shape

__all__ = ["picture_of", "progress_line"]

MOST_TASKS = 300
"""Up to this many tasks are drawn one by one; above it, groups by label."""

MOST_GROUPS = 60

_ASPECT = 2.6
_MOST_ROWS = 24


class _Style(NamedTuple):
    column: int
    layer: int
    row: int
    width: int
    height: int


_DOTS = _Style(26, 90, 25, 18, 18)
_CARDS = _Style(150, 190, 38, 134, 28)
_GROUPS = _Style(210, 250, 78, 188, 58)
_MOST_CARDS = 24


class _Node(NamedTuple):
    label: str
    deps: tuple[int, ...]
    counts: tuple[int, ...]


def progress_line(counts: Sequence[int], seconds: float) -> str:
    """How a run is, in one line.

    Args:
        counts: tasks in each state.
        seconds: since its first task began, until the last one ended.
    """
    total = sum(counts)
    if not total:
        return "No tasks yet: call an app, or begin a cell with %%task."
    parts = [f"{counts[DONE]:,} of {total:,} done"]
    parts += [f"{counts[code]:,} {STATE_NAMES[code]}" for code in (2, 1, 0, 4, 5, 6) if counts[code]]
    return " \N{MIDDLE DOT} ".join([*parts, duration(seconds)])


def picture_of(view: RunView, now: float) -> str:
    """A run as HTML: a bar, a line, a graph and a legend.

    Args:
        view: the run's columns.
        now: seconds since the epoch.
    """
    total = len(view)
    line = progress_line(view.counts, _last_burst(view, now))
    parts = [_bar(view.counts), f"<div>{escape(line)}{escape(_scope(view))}</div>"]
    if total:
        grouped = total > MOST_TASKS
        nodes = _groups(view) if grouped else _tasks(view)
        style = _GROUPS if grouped else _CARDS if total <= _MOST_CARDS else _DOTS
        parts += [_graph(nodes, style, grouped), _legend(view.counts)]
    return (
        '<div class="shoal-static" style="font:13px/1.5 system-ui,sans-serif;padding:8px 10px;'
        'border:1px solid var(--jp-border-color2,#bdbdbd);border-radius:4px">' + "".join(parts) + "</div>"
    )


def _last_burst(view: RunView, now: float) -> float:
    """Seconds from the first task after the last moment without any, until the last one ended."""
    began = latest = 0.0
    for tid in range(len(view)):
        if view.submitted[tid] > latest:
            began = view.submitted[tid]
        over = view.state[tid] >= DONE
        latest = max(latest, view.ended[tid] or view.submitted[tid] if over else now)
    return max(0.0, latest - began)


def _scope(view: RunView) -> str:
    if len(view) <= MOST_TASKS:
        return ""
    labels = len(set(view.label))
    shown = min(labels, MOST_GROUPS)
    rest = f" ({labels - shown:,} smaller groups not drawn)" if labels > shown else ""
    return f" \N{MIDDLE DOT} showing {shown:,} groups of {len(view):,} tasks{rest}"


def _tasks(view: RunView) -> list[_Node]:
    return [
        _Node(view.label[tid], view.deps[tid], tuple(int(code == view.state[tid]) for code in range(len(STATE_NAMES))))
        for tid in range(len(view))
    ]


def _groups(view: RunView) -> list[_Node]:
    counts: dict[str, list[int]] = {}
    for tid in range(len(view)):
        counts.setdefault(view.label[tid], [0] * len(STATE_NAMES))[view.state[tid]] += 1
    largest = set(sorted(counts, key=lambda label: -sum(counts[label]))[:MOST_GROUPS])
    place = {label: number for number, label in enumerate(label for label in counts if label in largest)}
    deps: dict[str, set[int]] = {label: set() for label in place}
    for tid in range(len(view)):
        label = view.label[tid]
        if label in place:
            deps[label].update(place[view.label[dep]] for dep in view.deps[tid] if view.label[dep] in place)
    return [_Node(label, tuple(sorted(deps[label] - {place[label]})), tuple(counts[label])) for label in place]


# --------------------------------------------------------------------------- drawing


def _bar(counts: Sequence[int]) -> str:
    total = max(1, sum(counts))
    parts = "".join(
        f'<span style="width:{100 * counts[code] / total:.2f}%;background:{COLOURS[code]}"></span>'
        for code in STACK
        if counts[code]
    )
    return (
        '<div style="display:flex;height:8px;border-radius:4px;overflow:hidden;'
        f'background:var(--jp-layout-color2,#eee)">{parts}</div>'
    )


def _legend(counts: Sequence[int]) -> str:
    parts = [f"{icon(code)} {STATE_NAMES[code]}" for code in range(len(STATE_NAMES)) if counts[code]]
    return f'<div style="font-size:12px">{" &ensp; ".join(parts)}</div>'


def _graph(nodes: Sequence[_Node], style: _Style, grouped: bool) -> str:
    places = _layout(nodes, style)
    left, top = style.width / 2 + 8, style.height / 2 + 8
    width = max(x for x, _ in places) + 2 * left
    height = max(y for _, y in places) + 2 * top
    half = style.width / 2
    edges = "".join(
        _edge((places[dep][0] + half, places[dep][1]), (x - half, y))
        for (x, y), node in zip(places, nodes, strict=True)
        for dep in node.deps
    )
    draw = _group if grouped else _card if style is _CARDS else _dot
    drawn = "".join(
        f'<g transform="translate({x:.0f} {y:.0f})"><title>{escape(_title(node))}</title>{draw(node, style)}</g>'
        for (x, y), node in zip(places, nodes, strict=True)
    )
    faint = min(1.0, max(0.25, 60 / max(1, edges.count("M"))))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Task graph" '
        f'viewBox="{-left:.0f} {-top:.0f} {width:.0f} {height:.0f}" '
        f'style="display:block;width:100%;max-width:{width:.0f}px;max-height:420px" fill="currentColor" font-size="12">'
        f'<path d="{edges}" fill="none" stroke="var(--jp-border-color1,#9e9e9e)" stroke-width="1.2" opacity="{faint:.2f}"/>'
        f"{drawn}</svg>"
    )


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    bend = max(24.0, abs(end[0] - start[0]) / 2)
    (x1, y1), (x2, y2) = start, end
    return f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"


def _title(node: _Node) -> str:
    states = [f"{count:,} {STATE_NAMES[code]}" for code, count in enumerate(node.counts) if count]
    return f"{node.label}: {', '.join(states)}"


def _dot(node: _Node, _: _Style) -> str:
    return shape(node.counts.index(1))


def _box(style: _Style) -> str:
    return (
        f'<rect x="{-style.width / 2}" y="{-style.height / 2}" width="{style.width}" height="{style.height}" rx="5" '
        'fill="var(--jp-layout-color2,rgba(128,128,128,.12))" stroke="var(--jp-border-color2,#bdbdbd)"/>'
    )


def _card(node: _Node, style: _Style) -> str:
    left = -style.width / 2
    mark = shape(node.counts.index(1), f"translate({left + 14} 0) scale(.8)")
    return f'{_box(style)}{mark}<text x="{left + 26}" y="4">{escape(_clip(node.label, 14))}</text>'


def _group(node: _Node, style: _Style) -> str:
    left, inner, total = -style.width / 2 + 12, style.width - 24, sum(node.counts)
    x, bars = left, ""
    for code in STACK:
        width = inner * node.counts[code] / total
        if width:
            bars += f'<rect x="{x:.1f}" y="13" width="{width:.1f}" height="8" fill="{COLOURS[code]}"/>'
        x += width
    return (
        f'{_box(style)}<text x="{left}" y="-11" font-weight="600">{escape(_clip(node.label, 20))}</text>'
        f'<text x="{left}" y="5">{node.counts[DONE]:,} of {total:,} done</text>{bars}'
    )


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


# --------------------------------------------------------------------------- layout (as in views/layout.ts)


def _layout(nodes: Sequence[_Node], style: _Style) -> list[tuple[float, float]]:
    depth: list[int] = []
    for number, node in enumerate(nodes):
        depth.append(max((depth[dep] + 1 for dep in node.deps if dep < number), default=0))
    layers: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    for number, level in enumerate(depth):
        layers[level].append(number)
    rows = _rows(layers, style)
    tallest = min(rows, max(map(len, layers)))
    places = [(0.0, 0.0)] * len(nodes)
    left = 0.0
    for layer in layers:
        columns = math.ceil(len(layer) / rows)
        used = math.ceil(len(layer) / columns)
        for order, number in enumerate(layer):
            column, row = divmod(order, used)
            inside = min(used, len(layer) - column * used)
            # every other column stands half a row lower, so that no row looks like a chain
            top = (tallest - used) / 2 + (used - inside) // 2 + column % 2 / 2
            places[number] = (left + column * style.column, (top + row) * style.row)
        left += (columns - 1) * style.column + style.layer
    return places


def _rows(layers: Sequence[Sequence[int]], style: _Style) -> int:
    def miss(rows: int) -> float:
        folds = sum(math.ceil(len(layer) / rows) - 1 for layer in layers)
        width = folds * style.column + len(layers) * style.layer
        return abs(math.log(width / (rows * style.row) / _ASPECT))

    return min(range(1, min(_MOST_ROWS, max(map(len, layers))) + 1), key=miss)
