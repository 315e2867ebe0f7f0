"""The diary of a worker: what is written is read, the oldest goes first, an unused place is nothing."""

from __future__ import annotations

import pytest

from shoal.wire.diary import DIARY_SIZE, ENTRY, PLACES, read_diary


def written(count: int) -> bytearray:
    """A diary in which so many attempts were noted, as a worker does it."""
    page = bytearray(DIARY_SIZE)
    for number in range(1, count + 1):
        ENTRY.pack_into(page, number % PLACES * ENTRY.size, 7, number, 1)
    return page


@pytest.mark.parametrize("count", [0, 1, 3, PLACES - 1, PLACES, PLACES + 1, 5 * PLACES + 17])
def test_the_last_ones_are_read(count: int) -> None:
    """As many as it has places, and no other ones."""
    assert read_diary(written(count)) == {(7, tid, 1) for tid in range(max(1, count - PLACES + 1), count + 1)}


def test_the_first_task_of_the_first_client() -> None:
    """A task with the number 0 is told from a place that was never used."""
    page = bytearray(DIARY_SIZE)
    ENTRY.pack_into(page, 0, 0, 0, 1)
    assert read_diary(page) == {(0, 0, 1)}
