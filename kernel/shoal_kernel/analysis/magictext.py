"""The code that stands in the words of magics: ``%time f(x)``, ``%%timeit``, ``!cp {path} .`` use names, too."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from shoal_kernel.analysis.names import parse

__all__ = ["with_magics"]

_RUN_CODE = frozenset({"time", "timeit", "prun", "capture", "memit", "mprun", "lprun"})
_SHELL = frozenset({"system", "getoutput"})
_OPTIONS = re.compile(r"(\s*-[A-Za-z]+(\s*\d+)?(?=\s))*")
_VARIABLE = re.compile(r"(?<![\w$])[{$]([A-Za-z_]\w*)")


def with_magics(tree: ast.Module, transform: Callable[[str], str]) -> ast.Module:
    """A cell, and the code that its magics run, as one tree to be looked at.

    Args:
        tree: the cell, after IPython's transforms.
        transform: these transforms, for the code within.
    """
    found: list[ast.stmt] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="run_line_magic"), args=[ast.Constant(name), ast.Constant(text)]):
                if name in _RUN_CODE:
                    found += _code(_OPTIONS.sub("", " " + str(text), count=1), transform)
            case ast.Call(
                func=ast.Attribute(attr="run_cell_magic"),
                args=[ast.Constant(name), ast.Constant(line), ast.Constant(body)],
            ):
                if name in _RUN_CODE:
                    found += _code(_OPTIONS.sub("", " " + str(line), count=1) if name == "timeit" else "", transform)
                    found += _code(str(body), transform)
            case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant(text)]) if name in _SHELL:
                for variable in _VARIABLE.findall(str(text)):
                    found += _code(f"f'{{{variable}}}'", transform)
    return ast.Module([*tree.body, *found], []) if found else tree


def _code(text: str, transform: Callable[[str], str]) -> list[ast.stmt]:
    try:
        return parse(transform(text.strip())).body
    except SyntaxError:
        return []
