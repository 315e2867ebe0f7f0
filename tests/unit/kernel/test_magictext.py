"""The code within magics."""

from __future__ import annotations

import ast

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from shoal_kernel.analysis.magictext import with_magics
from shoal_kernel.analysis.names import analyse, parse


def reads(cell: str) -> set[str]:
    transform = TransformerManager().transform_cell
    return set(analyse(with_magics(parse(transform(cell)), transform)).reads) - {"get_ipython"}


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("%time f(x)", {"f", "x"}),
        ("%timeit -n 3 -r 2 f(x)", {"f", "x"}),
        ("y = %timeit -o -x", {"x"}),
        ("%%time\ny = x + 1", {"x"}),
        ("%%timeit -n 2 z = w\nx + z", {"w", "x"}),
        ("%%capture out\nprint(x)", {"x"}),
        ("!cp {path} $target .", {"path", "target"}),
        ("names = !ls {folder}", {"folder"}),
        ("%wait x", set()),
        ("%cancel x", set()),
        ("%%task\nx", set()),
        ("%time x +", set()),
        ("a = x", {"x"}),
    ],
)
def test_names_in_magics(cell: str, names: set[str]) -> None:
    """Those that the code reads which a magic runs, and no others."""
    assert reads(cell) == names


def test_a_cell_without_magics_is_itself() -> None:
    """Nothing is made anew."""
    tree = ast.parse("a = 1")
    assert with_magics(tree, str) is tree
