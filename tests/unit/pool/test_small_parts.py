"""The small parts of a pool that know neither time nor sockets."""

from __future__ import annotations

from shoal.pool.manners import PATIENCE, Manners
from shoal.pool.routes import Route, Routes


def test_nonsense_is_counted_by_sender_and_in_all():
    """Each sender has its own patience, and is to be ignored from just that message on which it is used up."""
    manners = Manners()
    for _ in range(PATIENCE - 1):
        assert not manners.note(b"one")
        assert not manners.note(b"two")
    assert manners.note(b"one")
    assert manners.malformed == 2 * (PATIENCE - 1) + 1
    assert not manners.note(b"three")
    assert manners.note(b"two")


def test_a_flood_of_senders_takes_no_memory():
    """Those who sent something last are remembered; one that has sent the most is not forgotten for newcomers at once."""
    manners = Manners()
    for n in range(100_000):
        assert not manners.note(n.to_bytes(8, "big"))
        if n % 500 == 0 and n < 500 * (PATIENCE - 1):
            manners.note(b"again")
    assert manners.malformed == 100_000 + PATIENCE - 1


def test_questions_are_routed_back_to_who_asked():
    """Each has a number of its own; old ones are forgotten, unknown ones lead nowhere."""
    routes = Routes()
    first = routes.note(b"a", 7)
    second = routes.note(b"b", 7)
    assert first != second
    assert routes.find(first) == Route(b"a", 7)
    assert routes.find(second) == Route(b"b", 7)
    assert routes.find(99_999) is None
    for n in range(1000):
        routes.note(b"c", n)
    assert routes.find(first) is None
