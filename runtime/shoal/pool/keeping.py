"""What a pool writes down for the case that its process is killed, and what it finds written."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from shoal.dispatch.events import Key
from shoal.pool.interchange import Interchange
from shoal.pool.ledger import Ledger, read_ledger
from shoal.pool.marks import Marks
from shoal.pool.remains import PATIENCE, clear_remains, find_managers, take_words
from shoal.pool.sessions import Bounds, Sessions
from shoal.pool.spec import PoolSpec

__all__ = ["keep_marks", "keep_sessions", "look_after_sessions"]

ORPHAN_LIMIT = 30.0
"""Seconds for which a pool waits to hear from managers that have outlived its last process."""


def keep_marks(spec: PoolSpec, interchange: Interchange) -> None:
    """A pool that ends with its session notes for it what has been sent to managers.

    Args:
        spec: of the pool.
        interchange: before it hears anything.
    """
    if not spec.sockets:
        return  # no folder of its own
    machine = interchange.machine

    def at_managers() -> list[Key]:
        return [key for manager in machine.managers.values() for key in manager.outstanding]

    with suppress(OSError):  # no room: then all that was sent here counts as begun
        interchange.before = Marks(spec.marks(), at_managers).note


def keep_sessions(spec: PoolSpec, interchange: Interchange, again: bool, say: Callable[[str], None]) -> None:
    """A pool that lasts keeps what its clients have here, also while they are away, and takes up what it had before.

    Args:
        spec: of the pool.
        interchange: before it hears anything.
        again: whether its last process listened at the same places, so that managers may find this one.
        say: tells people, with the pool's name before the text.
    """

    def failed(error: OSError) -> None:
        say(f"cannot write its ledger ({error}): if its process is killed, its tasks are lost")

    ledger = Ledger(spec.ledger(), failed)
    bounds = Bounds(spec.keep_bytes, spec.keep_seconds)

    def pid_of(number: int) -> int:
        peer = interchange.managers.get(number)
        return peer.pid if peer is not None else 0

    sessions = Sessions(interchange.machine, ledger, bounds, pid_of)
    past = read_ledger(spec.ledger())
    outlive = spec.outlive if spec.managers is not None else 0.0  # over TCP they end with the process
    managers = find_managers(spec.folder) if past is not None and again and outlive else {}
    if not managers:
        clear_remains(spec.folder, 0.0 if outlive else PATIENCE)  # those that wait for a pool do not end by themselves
    words = take_words(spec.folder)
    if past is not None:
        interchange.restore(sessions.restore(past, words, time.time()))
    ledger.begin()
    interchange.sessions, interchange.before = sessions, sessions.before
    if sessions.limbo or managers:
        interchange.await_orphans(managers, sessions.limbo)


def look_after_sessions(interchange: Interchange, say: Callable[[str], None]) -> None:
    """Keep within the bounds of what is kept for those who are away; due every second or so.

    Args:
        interchange: with or without sessions.
        say: tells people, with the pool's name before the text.
    """
    if interchange.orphans is not None:
        interchange.orphans.look(time.monotonic(), ORPHAN_LIMIT)
    if interchange.sessions is not None:
        late, said = interchange.sessions.look(time.time())
        for client in late:
            interchange.end_session(client)
        for text in said:
            say(f"says: {text}")
