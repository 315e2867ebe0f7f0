"""What a task is made of before anything runs: its id, its needs, its description."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["Resources", "TaskId", "ValueId"]

TaskId = int
"""A task's number: 0, 1, 2 ... within its session."""


class ValueId(NamedTuple):
    """Names one output of one task of a session."""

    task: TaskId
    output: int = 0


class Resources(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What one attempt of a task needs.

    Args:
        cores: CPU cores that it keeps busy; a worker slot is one core.
        priority: higher runs first among tasks that wait in one pool; 0 is the default.
    """

    cores: float = 1.0
    priority: int = 0
