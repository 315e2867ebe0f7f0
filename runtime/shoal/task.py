"""What a task is made of before anything runs: its id, the names of its values."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["WHOLE", "TaskId", "ValueId"]

TaskId = int
"""A task's number: 0, 1, 2 ... within its session."""


WHOLE = -1
"""In place of an output's index: the mapping of all outputs of a task that has several."""


class ValueId(NamedTuple):
    """Names one output of one task of a session; ``output`` may be ``WHOLE``."""

    task: TaskId
    output: int = 0
