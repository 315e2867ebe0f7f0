"""For programs that run a notebook: which tasks of it failed, whatever became of their session."""

from __future__ import annotations

from typing import Any

from shoal.record.runs import STATE_NAMES
from shoal.session import Session
from shoal_kernel.notebook.current import current_session, reading
from shoal_kernel.output.endings import tell_all
from shoal_kernel.output.place import resend
from shoal_kernel.programs.lastcell import leave_to_program

__all__ = ["finish", "watch"]

_DRAIN = 10.0
_BAD = (STATE_NAMES.index("failed"), STATE_NAMES.index("skipped"))
_sessions: list[Session] = []


def watch(shell: Any) -> None:
    """Keep each session that a cell leaves behind, so that its tasks can be asked for after it ended; no cell waits for them.

    Args:
        shell: the running IPython shell.
    """
    leave_to_program()
    shell.events.register("post_run_cell", _keep)


def finish(shell: Any) -> list[dict[str, Any]]:
    """Wait for all tasks, deliver their output, and tell which failed.

    Args:
        shell: the running IPython shell.

    Returns:
        For each task without a value, in the order of their making: ``task`` (its name), ``state``, ``error`` (one line) and
        ``cell`` (its execution count; 0 if it was made outside of a cell).
    """
    _keep()
    for session in _sessions:
        if not session.closed:
            session.wait()
    tell_all(_DRAIN)
    resend(shell)
    return [failure for session in _sessions for failure in _failures(session)]


def _keep(_result: object = None) -> None:
    session = current_session()
    if session is not None and session not in _sessions:
        _sessions.append(session)


def _failures(session: Session) -> list[dict[str, Any]]:
    with reading(session) as view:
        return [
            {
                "task": f"task {tid} '{view.label[tid]}'",
                "state": STATE_NAMES[view.state[tid]],
                "error": view.error[tid],
                "cell": cell.execution_count if (cell := view.cell[tid]) is not None else 0,
            }
            for tid in range(len(view))
            if view.state[tid] in _BAD
        ]
