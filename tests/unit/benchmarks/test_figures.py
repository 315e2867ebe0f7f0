"""Medians, spreads and ratios."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Summary, advantage, number

positive = st.floats(min_value=1e-6, max_value=1e9)
by_round = st.dictionaries(st.integers(1, 9), positive, min_size=1)


def test_a_summary_is_the_median_with_both_extremes():
    """One slow round moves an extreme and not the median."""
    assert Summary.of([3.0, 1.0, 100.0]) == Summary(3.0, 1.0, 100.0)


def test_advantage_is_above_one_for_more_tasks_a_second():
    """Where more is better, ours is divided by theirs, round by round for the spread."""
    ours, theirs = {1: 40.0, 2: 60.0, 3: 50.0}, {1: 10.0, 2: 10.0, 3: 10.0}
    assert advantage(ours, theirs, more_is_better=True) == Summary(5.0, 4.0, 6.0)


def test_advantage_is_above_one_for_fewer_milliseconds():
    """Where less is better, theirs is divided by ours."""
    assert advantage({1: 2.0}, {1: 10.0}, more_is_better=False) == Summary(5.0, 5.0, 5.0)


@pytest.mark.parametrize(
    ("ours", "theirs"), [({}, {1: 1.0}), ({1: 1.0}, {}), ({1: 0.0}, {1: 1.0}), ({1: 1.0}, {1: -1.0})]
)
def test_advantage_needs_two_positive_sides(ours, theirs):
    """A missing or senseless value gives no ratio, rather than infinity."""
    assert advantage(ours, theirs, more_is_better=False) is None


def test_advantage_of_rounds_that_failed_on_one_side_is_that_of_the_medians():
    """With no round in common there is no spread to tell."""
    assert advantage({1: 4.0}, {2: 2.0}, more_is_better=True) == Summary(2.0, 2.0, 2.0)


@given(by_round, by_round, st.booleans())
def test_the_two_sides_see_inverse_advantages(ours, theirs, more_is_better):
    """Swapping the systems turns each ratio over."""
    there = advantage(ours, theirs, more_is_better=more_is_better)
    back = advantage(theirs, ours, more_is_better=more_is_better)
    assert math.isclose(there.median * back.median, 1.0)
    assert math.isclose(there.least * back.most, 1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (52_345.6, "52,300"),
        (999.7, "1,000"),
        (123.4, "123"),
        (99.96, "100"),
        (4.5678, "4.57"),
        (9.999, "10.0"),
        (0.17849, "0.178"),
        (0.0123456, "0.0123"),
        (0.0, "0.0"),
        (-12.345, "-12.3"),
        (math.inf, "inf"),
    ],
)
def test_numbers_have_three_digits(value, text):
    """More digits would say more than was measured."""
    assert number(value) == text
