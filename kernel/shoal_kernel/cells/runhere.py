"""Running the imports and plain definitions of a task cell in the notebook as well."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from shoal.outcome import Raised
from shoal.serialize.modules import local
from shoal_kernel.output.errors import explain

__all__ = ["run_here"]


def run_here(shell: Any, parts: Iterable[ast.stmt], text: str, count: int) -> None:
    """Run statements of a cell in the notebook.

    Args:
        shell: the running IPython shell.
        parts: imports and plain definitions.
        text: the cell, with its lines numbered as in the notebook.
        count: its number.

    Raises:
        Exception: what a statement raises; it is shown with the cell's own lines.
    """
    parts = list(parts)
    if not parts:
        return
    name = shell.compile.cache(text, count)
    for part in parts:
        body = compile(ast.Module([part], []), name, "exec", dont_inherit=True)
        try:
            exec(body, shell.user_ns)  # noqa: S102 - the user's own statements, as in a plain cell
        except ImportError as error:
            print(f"Shoal: {error}; the name is known on the workers only.", file=sys.stderr)  # noqa: T201
        except Exception as error:
            _show_own_lines(error)
            raise
    local.want(_imported(parts))  # an edit of a module beside the notebook is to be seen by the workers


def _show_own_lines(error: Exception) -> None:
    told = explain(Raised(error), "")
    lines = [] if told is None else told[2]
    setattr(error, "_render_traceback_", lambda: lines)  # noqa: B010 - the class has no such attribute


def _imported(parts: Iterable[ast.stmt]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and part.module and not part.level:
            yield part.module
            yield from (f"{part.module}.{alias.name}" for alias in part.names)
