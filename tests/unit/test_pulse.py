"""The pulse of a pool on another host: when it is asked, and when it counts as gone."""

from __future__ import annotations

from shoal.links import Pulse


def test_a_pool_that_is_heard_is_left_alone() -> None:
    """What comes by itself needs no question, however long that goes on."""
    pulse = Pulse(100.0)
    for second in range(1, 1000):
        assert not pulse.gone(float(second))
        assert not pulse.asks()
        pulse.heard()


def test_a_silent_pool_is_asked_and_given_up() -> None:
    """Asked from a quarter of the limit on, gone after it; an answer takes that back."""
    pulse = Pulse(100.0)
    asked = [second for second in range(1, 60) if not pulse.gone(float(second)) and pulse.asks()]
    assert asked[0] == 27  # the first look begins the count
    assert asked[-1] == 59
    pulse.heard()
    assert not pulse.asks()
    gone = [second for second in range(60, 200) if pulse.gone(float(second))]
    assert gone[0] == 160
    assert "100 s" in pulse.reason


def test_time_in_which_the_asker_was_stopped_does_not_count() -> None:
    """A day with the lid closed is no silence of the pool."""
    pulse = Pulse(100.0)
    assert not pulse.gone(1.0)
    assert not pulse.gone(86_400.0)
    assert not pulse.asks()
