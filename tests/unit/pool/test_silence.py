"""What people are told of managers that are silent."""

from __future__ import annotations

from shoal.pool.peers import ManagerPeer, silence_of


def test_one_sentence_names_one_and_counts_the_others():
    """A network that is cut silences thousands of managers at once; nobody reads thousands of sentences."""
    peer = ManagerPeer(1, b"\0x", 3, "n7", 12, 32)
    name = "the manager of block 3 (pid 12 on n7)"
    assert silence_of([(peer, 5.2)]) == f"{name} has been silent for 5 s; it gets no new tasks"
    several = f"{name} and 4,095 other managers have been silent for 5 s; they get no new tasks"
    assert silence_of([(peer, 5.2)] * 4096) == several
