"""The reference of the magics is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shoal_kernel.magics.flowmagics import FlowMagics
from shoal_kernel.magics.poolmagics import PoolMagics
from shoal_kernel.magics.taskmagics import ShoalMagics

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "magics.md").read_text()
KINDS = (ShoalMagics, PoolMagics, FlowMagics)
LINES = sorted(f"%{name}" for kind in KINDS for name in kind.magics["line"])
CELLS = sorted(f"%%{name}" for kind in KINDS for name in kind.magics["cell"])


@pytest.mark.parametrize("magic", [*LINES, *CELLS])
def test_every_magic_is_in_the_reference(magic: str) -> None:
    """In code, as people write it."""
    assert re.search(rf"`{re.escape(magic)}[ `]", PAGE)


@pytest.mark.parametrize("magic", [*LINES, *CELLS])
def test_every_magic_has_help_that_shows_how_it_is_written(magic: str) -> None:
    """``%%task?`` shows a sentence, and the line."""
    kinds = "cell" if magic.startswith("%%") else "line"
    (method,) = [
        getattr(kind, kind.magics[kinds][magic.strip("%")]) for kind in KINDS if magic.strip("%") in kind.magics[kinds]
    ]
    assert method.__doc__.splitlines()[0].endswith((".", "soon"))
    assert magic in method.__doc__
