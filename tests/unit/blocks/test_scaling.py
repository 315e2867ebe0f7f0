"""How many blocks are asked for, replaced, given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.blocks.scaling import (
    MAX_PAUSE,
    STEADY,
    BlockChange,
    CancelBlock,
    CapacityGone,
    DrainBlock,
    Scaling,
    SubmitBlock,
)
from shoal.blocks.states import LIVE, BlockState


def orders(commands, kind):
    return [c for c in commands if isinstance(c, kind)]


def running(scaling, *blocks, now=0.0):
    for block in blocks:
        scaling.accepted(block, f"job{block}", now)
        assert scaling.arrived(block, now)
        scaling.worked(block, now)


def test_the_target_is_kept_within_the_limits():
    """A wish beyond the provider's least and most is cut to them, and that many blocks are asked for."""
    scaling = Scaling(1, 3)
    assert len(orders(scaling.target_set(9, [], 0.0), SubmitBlock)) == 3
    scaling.target_set(-5, [], 0.0)
    assert scaling.target == 1


def test_a_block_goes_through_its_states():
    """Requested, pending, running, and each change is told once."""
    scaling = Scaling(0, 1)
    told = orders(scaling.target_set(1, [], 0.0), BlockChange)
    told += orders(scaling.accepted(0, "77", 1.0), BlockChange)
    assert scaling.arrived(0, 2.0)
    assert scaling.arrived(0, 3.0)
    told += orders(scaling.ticked(4.0), BlockChange)
    assert [(c.state.value, c.job) for c in told] == [("requested", ""), ("pending", "77"), ("running", "77")]
    assert scaling.blocks[0].since == 2.0


def test_scaling_down_takes_what_is_not_running_then_idle_then_busy():
    """Blocks that do not run yet are cancelled, idle ones drained before busy ones, the newest first."""
    scaling = Scaling(0, 5)
    scaling.target_set(5, [], 0.0)
    running(scaling, 0, 1, 2)
    scaling.accepted(3, "job3", 0.0)
    commands = scaling.target_set(2, [1], 1.0)
    assert {c.block for c in orders(commands, CancelBlock)} == {3, 4}
    assert [c.block for c in orders(commands, DrainBlock)] == [1]
    assert [c.block for c in orders(scaling.target_set(1, [], 2.0), DrainBlock)] == [2]
    commands = scaling.ended(1, "exit code 0", 3.0)
    assert scaling.blocks[1].state is BlockState.ENDED
    assert orders(commands, SubmitBlock) == []


def test_a_job_that_comes_for_a_cancelled_block_is_ended():
    """If the provider answers after the block was given up, its job is cancelled, not forgotten."""
    scaling = Scaling(0, 1)
    scaling.target_set(1, [], 0.0)
    scaling.target_set(0, [], 0.0)
    assert orders(scaling.accepted(0, "job0", 1.0), CancelBlock) == [CancelBlock(0, "job0")]
    assert not scaling.arrived(0, 1.0)


def test_a_block_that_worked_and_died_is_replaced_at_once():
    """The first death costs no pause."""
    scaling = Scaling(0, 1)
    scaling.target_set(1, [], 0.0)
    running(scaling, 0)
    commands = scaling.ended(0, "signal 9", 5.0)
    assert [c.block for c in orders(commands, SubmitBlock)] == [1]
    assert orders(commands, CapacityGone) == []


def test_blocks_that_keep_dying_are_replaced_ever_more_slowly():
    """Deaths soon after the start make the pauses grow up to a limit; a sound block resets them."""
    scaling = Scaling(0, 1)
    scaling.target_set(1, [], 0.0)
    now, pauses = 0.0, []
    for block in range(12):
        running(scaling, block, now=now)
        died = now = now + 1.0
        commands = scaling.ended(block, "signal 9", now)
        if not orders(commands, SubmitBlock):
            due = scaling.wake_at()
            assert due is not None
            assert not orders(scaling.ticked(due - 0.01), SubmitBlock)
            assert orders(scaling.ticked(due), SubmitBlock)
            now = due
        pauses.append(now - died)
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.0
    assert pauses[-1] == MAX_PAUSE
    running(scaling, 12, now=now)
    assert orders(scaling.ended(12, "signal 9", now + STEADY), SubmitBlock)


def test_a_block_that_never_worked_is_not_tried_again_until_asked():
    """A failure at the start is final: capacity is gone, with the reason; setting the target tries again."""
    scaling = Scaling(0, 2)
    scaling.target_set(2, [], 0.0)
    first = scaling.failed(0, "exit code 3", 1.0)
    assert orders(first, CapacityGone) == []
    second = scaling.failed(1, "exit code 3", 1.0)
    assert orders(second, CapacityGone) == [CapacityGone("exit code 3")]
    assert scaling.wake_at() is None
    assert orders(scaling.ticked(1e6), SubmitBlock) == []
    assert len(orders(scaling.target_set(2, [], 2e6), SubmitBlock)) == 2


def test_where_blocks_have_worked_a_failed_start_is_tried_again():
    """After success a failure at the start may be chance: it takes three in a row until capacity is gone."""
    scaling = Scaling(0, 1)
    scaling.target_set(1, [], 0.0)
    running(scaling, 0)
    now = 100.0
    scaling.ended(0, "signal 9", now)
    for block in (1, 2):
        now += 60.0
        assert orders(scaling.failed(block, "exit code 3", now), CapacityGone) == []
        now += 60.0
        scaling.ticked(now)
    assert orders(scaling.failed(3, "exit code 3", now), CapacityGone) == [CapacityGone("exit code 3")]


def test_while_one_block_lives_there_is_hope():
    """A failed block beside a living one is no reason to fail tasks."""
    scaling = Scaling(0, 2)
    scaling.target_set(2, [], 0.0)
    assert orders(scaling.failed(1, "exit code 3", 1.0), CapacityGone) == []
    running(scaling, 0)
    assert orders(scaling.ticked(2.0), CapacityGone) == []


EVENTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12), st.floats(0, 20)), max_size=60)


@given(EVENTS)
def test_whatever_happens_the_books_are_right(events):
    """Any history in any order: never more live blocks than the target, each change told once and in a legal order."""
    scaling = Scaling(0, 3)
    now = 0.0
    told: dict[int, list[BlockState]] = {}
    for kind, number, later in events:
        now += later
        block = number % max(1, len(scaling.blocks))
        commands = []
        known = block in scaling.blocks
        if kind == 0:
            commands = scaling.target_set(number % 4, [block], now)
        elif kind == 1 and known and not scaling.blocks[block].job:
            commands = scaling.accepted(block, f"job{block}", now)
        elif kind == 2:
            scaling.arrived(block, now)
        elif kind == 3:
            scaling.worked(block, now)
        elif kind == 4:
            commands = scaling.ended(block, "over", now)
        elif kind == 5:
            commands = scaling.failed(block, "broken", now)
        commands += scaling.ticked(now)
        for change in orders(commands, BlockChange):
            told.setdefault(change.block, []).append(change.state)
        assert len(scaling.live()) <= max(scaling.target, 0)
        for gone in orders(commands, CapacityGone):
            assert gone.reason
            assert not scaling.live()
    for number, states in told.items():
        assert states[-1] is scaling.blocks[number].state
        assert len(set(states)) == len(states)
        assert all(state in LIVE for state in states[:-1])
