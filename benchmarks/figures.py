"""Medians, their spread and their ratios. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Values of one figure over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """The median and the extremes of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def advantage(ours: Mapping[int, float], theirs: Mapping[int, float], *, more_is_better: bool) -> Summary | None:
    """How many times better ours is: the ratio of the medians, with the least and the most of the rounds' own ratios.

    Args:
        ours, theirs: values by round.
        more_is_better: which way is better.

    Returns:
        The ratio, above 1 where ours is better; None if a value is missing or not positive.
    """
    if not ours or not theirs or min(*ours.values(), *theirs.values(), math.inf) <= 0:
        return None
    better, worse = (ours, theirs) if more_is_better else (theirs, ours)
    ratio = statistics.median(better.values()) / statistics.median(worse.values())
    pairs = [better[i] / worse[i] for i in better.keys() & worse.keys()] or [ratio]
    return Summary(ratio, min(pairs), max(pairs))


def number(value: float) -> str:
    """Three significant digits, and thousands apart: ``52,300``, ``4.56``, ``0.178``."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"
