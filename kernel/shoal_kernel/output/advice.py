"""What stands below the traceback of a cell that failed: the values that it read, its attempts, and what to do now."""

from __future__ import annotations

from typing import Any

from shoal.errors import HiddenMutation, PoolLost
from shoal.futures import ValueFuture
from shoal.outcome import Failure, Raised
from shoal.session import Session
from shoal_kernel.notebook.current import reading
from shoal_kernel.notebook.kept import is_kept, read_text, told_way
from shoal_kernel.output.stripdata import ended_its_worker, memory_to_try

__all__ = ["advice"]

_MOST = 5
"""Attempts that are told."""


def advice(session: Session, future: ValueFuture[Any]) -> list[str]:
    """Some lines for people; none if the task did not fail itself.

    Args:
        session: the task's.
        future: of the task, which is over.
    """
    outcome, tid = future.outcome, future.tid
    if not isinstance(outcome, Failure | Raised):
        return []
    if isinstance(outcome, Failure) and outcome.type_name.endswith(HiddenMutation.__name__):
        return []  # its sentence says all
    with reading(session) as view:
        attempts = [each for each in view.record(tid).attempts if each.worker]
    lines = []
    if read := read_text(session.run_id, tid):
        lines.append(f"It read {read}.")
    if len(attempts) == 1:
        worker = attempts[0].worker
        lines.append(f"It ran on {'a thread of the kernel' if '/shoal-session-' in worker else worker}.")
    elif attempts:
        lines.append(f"It failed {len(attempts)} times:")
        lines += [f"  {str(each).splitlines()[0]}" for each in attempts[-_MOST:]]
    way = told_way(session.run_id, tid)
    if is_kept(session.run_id, tid) and ended_its_worker(outcome):
        way = ""  # it would end the kernel
    ways = [way] if way else []
    if memory := memory_to_try(outcome):
        ways.append(f'%retry {tid} --memory "{memory}" gives it more memory')
    if isinstance(outcome, Raised) and isinstance(outcome.error, PoolLost):
        ways.append("%use NAME takes another pool (%pools lists them), shoal.load() begins a session with its own")
    if ways:
        lines.append("; ".join(ways) + ".")
    return ["", *lines] if lines else []
