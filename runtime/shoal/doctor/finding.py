"""What an examination finds."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Finding"]


class Finding(NamedTuple):
    """One thing looked at.

    Args:
        what: its name.
        found: what was found.
        ok: whether that is well.
        fix: what to do if not.
    """

    what: str
    found: str
    ok: bool = True
    fix: str = ""
