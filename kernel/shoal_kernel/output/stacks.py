"""How IPython shows errors of Shoal's own that a cell raises, for example by ``x.result()``: the user's lines, and the sentence."""

from __future__ import annotations

import traceback
from concurrent.futures import CancelledError
from typing import Any

from IPython.core.getipython import get_ipython

from shoal.errors import ShoalError
from shoal.serialize import RemoteTraceback
from shoal_kernel.output.errors import cell_name, is_inside, own_frames

__all__ = ["show_own_lines", "show_whole_stacks"]

_HOOK = "_render_traceback_"
"""IPython asks an exception for this before it formats anything itself."""

_KINDS = (ShoalError, CancelledError)
"""The second one is what a future that was cancelled raises, and says nothing by itself."""

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


def show_own_lines() -> None:
    """From now on, stacks of such errors are shown without frames of Shoal."""
    for kind in _KINDS:
        setattr(kind, _HOOK, _lines)


def show_whole_stacks() -> None:
    """Take that back."""
    for kind in _KINDS:
        if _HOOK in vars(kind):
            delattr(kind, _HOOK)


def _root(error: BaseException) -> list[str]:
    """The traceback of the task that failed first, where it has lines of the user's own."""
    cause = error.__cause__
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    lines = own_frames(str(cause)).strip().splitlines() if isinstance(cause, RemoteTraceback) else []
    return [*lines, ""] if any(line.startswith("  ") for line in lines) else []


def _lines(error: ShoalError | CancelledError) -> list[str]:
    shown = _root(error)
    shell: Any = get_ipython()
    for frame in traceback.extract_tb(error.__traceback__):
        if is_inside(frame.filename) or "/IPython/" in frame.filename:
            continue
        name = cell_name(shell, frame.filename)
        shown += [f"{name}, line {frame.lineno}", f"    {frame.line}"]
    return [*shown, f"{_RED}{type(error).__name__}{_PLAIN}: {str(error) or 'it was cancelled'}"]
