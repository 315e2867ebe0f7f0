"""From results to the page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.case import Case, Figure
from benchmarks.figures import Summary, advantage, number
from benchmarks.peers.peer import Peer

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

LEGEND = (
    "median (least to most of the rounds); **N×**: how many times better Shoal is, by the medians"
    " (least to most of the ratios round by round)"
)

FIRST = ("shoal", "parsl", "processpool")
"""Who stands in the first table, if there are more than it has room for; the others have one below, with the same rows."""

Values = Mapping[tuple[str, str, str], Mapping[int, float]]
"""By (case, figure, system): the value of each round."""


@dataclass
class Results:
    """All that a run found.

    Args:
        machine: lines about the machine and the run.
        descriptions: how each system was set up, by name.
        measurements: one record a measurement, failed ones included.
        complete: whether everything was measured, in earnest: such results may stand on the page.
        missing: names of the systems that could not be installed.
    """

    machine: list[str] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)
    measurements: list[dict[str, object]] = field(default_factory=list)
    complete: bool = False
    missing: list[str] = field(default_factory=list)

    def values(self) -> dict[tuple[str, str, str], dict[int, float]]:
        """The figures of the counted rounds."""
        found: dict[tuple[str, str, str], dict[int, float]] = {}
        for record in self.measurements:
            figures, turn = record.get("figures"), record["round"]
            if isinstance(figures, dict) and isinstance(turn, int) and turn > 0:
                for key, value in figures.items():
                    found.setdefault((str(record["case"]), key, str(record["peer"])), {})[turn] = value
        return found

    def failures(self) -> list[str]:
        """A line for each way to fail: on what, in which cases, and why."""
        found: dict[tuple[object, object], dict[object, None]] = {}
        for record in self.measurements:
            if record.get("error"):
                found.setdefault((record["peer"], record["error"]), {})[record["case"]] = None
        return [f"{peer}: {', '.join(map(str, cases))}: {error}" for (peer, error), cases in found.items()]


def render(results: Results, cases: Sequence[Case], peers: Sequence[Peer]) -> str:
    """The tables and what belongs to them, in Markdown."""
    values = results.values()
    setups = [f"- **{p.title}**: {how}" for p in peers if (how := _setup(results, p))]
    parts = [
        "\n".join(f"- {line}" for line in [*results.machine, LEGEND]),
        *comparison(results, cases, [peer for peer in peers if not peer.variant]),
        "\n".join(["How each was set up:", "", *setups]) if setups else "",
        own(values, cases, peers),
        "\n".join(["Failed:", "", *[f"- {line}" for line in results.failures()]]) if results.failures() else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _setup(results: Results, peer: Peer) -> str | None:
    if peer.name in results.missing:
        wanted = ", ".join(f"`{line}`" for line in peer.requirements)
        return f"not measured, since {wanted} could not be installed"
    return results.descriptions.get(peer.name)


def comparison(results: Results, cases: Sequence[Case], peers: Sequence[Peer]) -> list[str]:
    """The tables of all systems, with the same rows: median and spread, and how many times better Shoal is."""
    values = results.values()
    rows = [
        (case, figure)
        for case in cases
        for figure in case.figures
        if figure.table == "peers" and any((case.name, figure.key, peer.name) in values for peer in peers)
    ]
    first = [peer for peer in peers if peer.name in FIRST or len(peers) <= len(FIRST)]
    others = [peer for peer in peers if peer not in first]
    return [
        table(
            ["", *[peer.title for peer in group]],
            [
                [f"{figure.title}, {figure.unit}", *[_cell(results, values, case, figure, peer) for peer in group]]
                for case, figure in rows
            ],
        )
        for group in (first, others)
        if group
    ]


def own(values: Values, cases: Sequence[Case], peers: Sequence[Peer]) -> str:
    """The table of this project alone: its inner figures, and the session without a pool."""
    rows = []
    for case in cases:
        for peer in peers:
            for figure in case.figures:
                rounds = values.get((case.name, figure.key, peer.name))
                wanted = figure.table == ("peers" if peer.variant else "shoal")
                if peer.project and rounds and wanted:
                    rows.append(
                        [f"{figure.title}{peer.variant}, {figure.unit}", spread(Summary.of(list(rounds.values())))]
                    )
    return table(["Shoal alone", ""], rows)


def _cell(results: Results, values: Values, case: Case, figure: Figure, peer: Peer) -> str:
    theirs = values.get((case.name, figure.key, peer.name))
    if not theirs:
        why = "not installed" if peer.name in results.missing else "failed"
        return why if case.fits(peer) else "–"
    text = spread(Summary.of(list(theirs.values())))
    ours = values.get((case.name, figure.key, "shoal"), {})
    ratio = None if peer.name == "shoal" else advantage(ours, theirs, more_is_better=figure.more_is_better)
    return text if ratio is None else f"{text}<br>**{spread(ratio, '×')}**"


def spread(summary: Summary, sign: str = "") -> str:
    """``median (least to most)``."""
    return f"{number(summary.median)}{sign} ({number(summary.least)} to {number(summary.most)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replace_figures(page: str, figures: str) -> str:
    """The page with new figures between its markers.

    Raises:
        ValueError: the page does not have each marker once, in order.
    """
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end or page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must have {BEGIN} and {END} once each, in this order")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"
