"""The benchmark of scale, with few managers: they connect, show their keys, and all tasks come back."""

from __future__ import annotations

import pytest

from benchmarks.scale.__main__ import measure

pytestmark = pytest.mark.integration


def test_a_pool_with_many_connected_managers_serves_them_all():
    """64 managers in two processes register over TCP with keys; each of 5,000 tasks and more ends once, with a value."""
    measured = measure(managers=64, slots=4, processes=2, tasks=5000, idle=0.1)
    assert (measured.managers, measured.slots) == (64, 4)
    assert measured.tasks >= 5000
    assert measured.rate > 0
    assert 0 < measured.main <= measured.cpu
