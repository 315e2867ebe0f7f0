"""The tables of the dispatch machine are total: each (state, event) is a move or a named error."""

from __future__ import annotations

from itertools import product

import pytest

from shoal.dispatch.states import (
    ATTEMPT_MOVES,
    MANAGER_MOVES,
    AttemptEvent,
    AttemptState,
    ManagerEvent,
    ManagerState,
    moved,
)
from shoal.errors import InvalidTransition

TABLES = [
    ("attempt", ATTEMPT_MOVES, AttemptState, AttemptEvent, AttemptState.ENDED),
    ("manager", MANAGER_MOVES, ManagerState, ManagerEvent, ManagerState.LOST),
]


@pytest.mark.parametrize(
    ("name", "table", "states", "events", "last"), TABLES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_each_pair_is_a_move_or_a_named_error(name, table, states, events, last):
    """Whatever a table does not list is refused, naming the machine, the state and the event."""
    for state, event in product(states, events):
        if (state, event) in table:
            assert moved(name, table, state, event) in states
        else:
            with pytest.raises(InvalidTransition, match=f"{name}.*'{state.value}'.*'{event.value}'"):
                moved(name, table, state, event)


@pytest.mark.parametrize(
    ("name", "table", "states", "events", "last"), TABLES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_the_last_state_is_final_and_all_others_lead_to_it(name, table, states, events, last):
    """Nothing leaves the final state, and every other state has a way there."""
    reach = {last}
    for _ in states:
        reach |= {state for (state, _), after in table.items() if after in reach}
    assert reach == set(states)
    assert not [pair for pair in table if pair[0] is last]
