"""Stretches of memory that are handed out in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.arena.space import PAGE, Space

PAGES = 40
sizes = st.integers(0, 12 * PAGE)


def whole(size: int) -> int:
    return max(1, -(-size // PAGE))


def lowest(used: list[bool], pages: int) -> int | None:
    """The lowest page from which on so many are free."""
    for first in range(PAGES - pages + 1):
        if not any(used[first : first + pages]):
            return first
    return None


@given(st.lists(st.tuples(st.booleans(), sizes, st.integers(0, 99)), max_size=60))
def test_pieces_are_the_lowest_that_fit_and_never_overlap(steps: list[tuple[bool, int, int]]) -> None:
    """Against a model of single pages: each piece lies at the lowest place where it fits; all comes back in the end."""
    space = Space(PAGES * PAGE + 7)
    used = [False] * PAGES
    out: list[tuple[int, int]] = []
    for take, size, which in steps:
        if take or not out:
            expected = lowest(used, whole(size))
            start = space.take(size)
            assert start == (None if expected is None else expected * PAGE)
            if start is not None:
                out.append((start, size))
        else:
            start, size = out.pop(which % len(out))
            space.give_back(start, size)
        used = [False] * PAGES
        for start, size in out:
            first = start // PAGE
            assert not any(used[first : first + whole(size)])
            used[first : first + whole(size)] = [True] * whole(size)
        assert space.taken == PAGE * sum(used)
    for start, size in out:
        space.give_back(start, size)
    assert space.take(PAGES * PAGE) == 0, "it is in one piece again"


@given(st.lists(sizes, max_size=20), st.data())
def test_it_can_begin_anew_with_some_pieces(wanted: list[int], data: st.DataObject) -> None:
    """From what is handed out alone it is known what is free."""
    space = Space(PAGES * PAGE)
    pieces = [(start, size) for size in wanted if (start := space.take(size)) is not None]
    kept = data.draw(st.lists(st.sampled_from(pieces), unique=True)) if pieces else []
    space.keep_only(kept)
    assert space.taken == PAGE * sum(whole(size) for _, size in kept)
    for piece in kept:
        space.give_back(*piece)
    assert space.taken == 0
    assert space.take(PAGES * PAGE) == 0
