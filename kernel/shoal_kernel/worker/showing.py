r"""The worker's half of rich output: ``display(...)`` and figures of pyplot, shown below the cell when they are made.

A worker has one way for what a task prints, in order; so what is shown travels there, too, as a frame in stdout: an
*application program command* of ISO 6429 (``ESC _ ... ESC \``), which terminals pass over. What is too large for that is noted,
and goes with the report at the task's end. :mod:`shoal_kernel.output.shown` takes the frames out again.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shoal_kernel.worker.bundle import Bundle, bundle_of

__all__ = [
    "BEGIN",
    "END",
    "Handle",
    "Stage",
    "close_figure",
    "display",
    "display_here",
    "is_ipythons",
    "show_figures",
    "stage",
    "update_display",
]

BEGIN, END = "\x1b_shoal;", "\x1b\\"

_BACKEND = "module://shoal_kernel.worker.figures"
_INLINE = ("", "module://matplotlib_inline.backend_inline", "inline")
"""Backends that need a notebook's kernel to show anything; a worker inherits the kernel's setting."""

_ROOM = 600_000
"""Characters of frames in one task: stdout is cut after a mebibyte."""


class Stage:
    """What one task shows.

    Args:
        reports: whether what is too large for stdout can go with the task's report.

    Attributes:
        late: representations that are too large, by the name of their place.
    """

    def __init__(self, reports: bool) -> None:
        self.late: dict[str, Bundle] = {}
        self._reports, self._left = reports, _ROOM
        self._numbers = itertools.count()

    def show(self, bundle: Bundle, name: str = "", update: bool = False) -> None:
        """Show something.

        Args:
            bundle: its representations.
            name: of the place, so that it can be changed; empty for a place that is not.
            update: change what is shown at the place.
        """
        name = name or f"#{next(self._numbers)}"
        frame = _frame(name, bundle, update)
        if len(frame) > self._left:
            size = f"{len(frame) / 1e6:.1f} MB" if len(frame) > 100_000 else f"{len(frame) // 1000} kB"
            plain = str(bundle[0].get("text/plain", ""))[:200]
            if self._reports:
                self.late[name] = bundle
                plain += f" [{size}: shown when the task has ended well]"
            else:
                plain += f" [{size}: too large to be shown here]"
            frame = _frame(name, ({"text/plain": plain}, {}), update)
        self._left -= len(frame)
        out = sys.__stdout__  # also where the cell leads its own prints elsewhere
        if out is not None:
            out.write(frame)
            out.flush()


def _frame(name: str, bundle: Bundle, update: bool) -> str:
    body = json.dumps({"name": name, "data": bundle[0], "metadata": bundle[1], "update": update}, default=str)
    return BEGIN + base64.b64encode(body.encode()).decode() + END


_stage: Stage | None = None


@contextmanager
def stage(text: str, reports: bool = True) -> Iterator[Stage]:
    """Show what is displayed while the block runs, and at its end the figures that are still open.

    Args:
        text: the cell, to see whether it gets ``display`` from IPython.
        reports: as for :class:`Stage`.
    """
    global _stage
    before, _stage = _stage, Stage(reports)
    _choose_backend()
    if "IPython" in text or "IPython" in sys.modules:
        _take_the_place_of_ipythons()
    try:
        yield _stage
    finally:
        try:
            show_figures()
        finally:
            _stage = before


def display(*values: object, display_id: Any = None, raw: bool = False, **options: Any) -> Handle | None:
    """What ``display`` is on a worker.

    Args:
        values: what to show.
        display_id: a name, or True for a new one: what is shown can be changed by ``update_display`` then.
        raw: the values are representations by MIME type already.
        options: ``metadata``; others of IPython's are passed over.

    Returns:
        A handle, if there is an id.
    """
    name = "" if display_id is None else os.urandom(8).hex() if display_id is True else str(display_id)
    metadata = options.get("metadata") or {}
    for value in values:
        data, own = (value, {}) if raw and isinstance(value, Mapping) else bundle_of(value)
        _show((dict(data), {**own, **metadata}), name, bool(options.get("update")))
    return Handle(name) if name else None


def display_here() -> Callable[..., Any]:
    """What ``display`` is on a thread of a process that has a notebook's shell: IPython's own; else the worker's."""
    from IPython.core.interactiveshell import InteractiveShell

    if not InteractiveShell.initialized():
        return display
    from IPython.display import display as theirs

    return theirs


def is_ipythons(value: object) -> bool:
    """Whether this is the ``display`` of IPython, which could only print on a worker."""
    return getattr(value, "__module__", "") == "IPython.core.display_functions" and value is not display


def update_display(value: object, *, display_id: Any, **options: Any) -> None:
    """Change what was displayed under an id.

    Args:
        value: what to show there.
        display_id: the id.
        options: as for :func:`display`.
    """
    display(value, display_id=display_id, **{**options, "update": True})


class Handle:
    """A place where something is displayed.

    Args:
        display_id: its id.
    """

    def __init__(self, display_id: str) -> None:
        self.display_id = display_id

    def display(self, value: object, **options: Any) -> None:
        """Show something there."""
        display(value, display_id=self.display_id, **options)

    def update(self, value: object, **options: Any) -> None:
        """Change what is shown there."""
        update_display(value, display_id=self.display_id, **options)


def show_figures() -> None:
    """Show the figures of pyplot that are open, and close them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not pyplot.get_fignums():
        return
    figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
    pyplot.close("all")
    for figure in figures:
        display(figure)


def close_figure(value: object) -> None:
    """A value is shown as such: if it is a figure of pyplot, it is not to be shown once more."""
    if type(value).__module__ == "matplotlib.figure" and "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(value)


def _show(bundle: Bundle, name: str, update: bool) -> None:
    if _stage is not None:
        _stage.show(bundle, name, update)
    else:  # a thread that a task has left behind
        print(bundle[0].get("text/plain", ""))  # noqa: T201


def _choose_backend() -> None:
    """Let pyplot draw for this worker, unless the user has chosen a backend."""
    if os.environ.get("MPLBACKEND", "") in _INLINE:
        os.environ["MPLBACKEND"] = _BACKEND
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None and "rcParams" in vars(matplotlib):
        chosen = dict.get(matplotlib.rcParams, "backend")
        if not isinstance(chosen, str) or chosen in _INLINE:
            matplotlib.use(_BACKEND)


def _take_the_place_of_ipythons() -> None:
    """Let ``from IPython.display import display`` be ours: on a worker IPython's own could only print."""
    try:
        from IPython.core import display_functions
        from IPython.core.interactiveshell import InteractiveShell
    except ImportError:
        return
    if display_functions.display is display or InteractiveShell.initialized():
        return
    import IPython.display

    for module in (display_functions, IPython.display, IPython):
        for ours in (display, update_display):
            if hasattr(module, ours.__name__):
                setattr(module, ours.__name__, ours)
