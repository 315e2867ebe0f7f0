"""What can stand in the line of a cell's magic: its options, and what follows some of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from IPython.core.completer import CompletionContext, SimpleMatcherResult, completion_matcher

from shoal_kernel.cells.taskcell import own_names
from shoal_kernel.lines.options import OPTIONS
from shoal_kernel.notebook.current import current_session

__all__ = ["CELL_COMPLETERS", "Matcher", "only_own"]

Matcher = Callable[[CompletionContext], SimpleMatcherResult]

_NAMES = ("-i", "-o", "--after")


def _complete(known: tuple[str, ...], shell: Any, event: Any) -> list[str]:
    words = str(event.text_until_cursor).split()
    before = words[-1] if event.text_until_cursor.endswith(" ") else "".join(words[-2:-1])
    if before == "--executor":
        session = current_session()
        return [] if session is None else list(session.executors)
    if before in _NAMES or (before in ("--in", "--out") and "-i" in known):
        return sorted(name for name in own_names(shell) if not name.startswith("_"))
    return list(known)


CELL_COMPLETERS: dict[str, Callable[[Any, Any], list[str]]] = {
    magic: partial(_complete, known) for magic, known in OPTIONS.items()
}
"""For each cell magic, by IPython's ``complete_command``."""


def only_own(shell: Any, magics: Collection[str]) -> Matcher:
    """What lets nothing else be offered in the line of a magic than what its completer offers, if that offers anything.

    IPython would put Python's names and keywords before the magic's own words.

    Args:
        shell: the running IPython shell.
        magics: their names, with the signs before them.
    """

    def match(context: CompletionContext) -> SimpleMatcherResult:
        words = context.text_until_cursor.split(maxsplit=1)
        if not words or words[0] not in magics:
            return {"completions": []}
        found: SimpleMatcherResult = shell.Completer.custom_completer_matcher(context)
        return {"completions": found["completions"], "suppress": bool(found["completions"]), "ordered": True}

    marked: Matcher = completion_matcher(api_version=2, identifier="shoal_kernel.only_own")(match)
    return marked
