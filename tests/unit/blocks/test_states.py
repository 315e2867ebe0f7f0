"""The table of blocks is total: each (state, event) is a move or a named error."""

from __future__ import annotations

from itertools import product

import pytest

from shoal.blocks.states import BLOCK_MOVES, LIVE, BlockEvent, BlockState, moved
from shoal.errors import InvalidTransition


@pytest.mark.parametrize(("state", "event"), list(product(BlockState, BlockEvent)), ids=lambda v: v.value)
def test_each_pair_is_a_move_or_a_named_error(state, event):
    """What the table does not list is refused, naming state and event."""
    if (state, event) in BLOCK_MOVES:
        assert moved(state, event) in BlockState
    else:
        with pytest.raises(InvalidTransition, match=f"block.*'{state.value}'.*'{event.value}'"):
            moved(state, event)


def test_live_states_are_those_that_lead_somewhere():
    """A block that ended, failed or was cancelled stays so; every other one can end in each way."""
    assert {state for state, _ in BLOCK_MOVES} == LIVE
    for state in LIVE:
        assert {BlockEvent.END, BlockEvent.FAIL, BlockEvent.CANCEL} <= {e for s, e in BLOCK_MOVES if s is state}
