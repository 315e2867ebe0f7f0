"""The project's own Python sources, found and parsed once for all the tests of this folder."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "shoal": ROOT / "runtime" / "shoal",
    "shoal_kernel": ROOT / "kernel" / "shoal_kernel",
    "shoal_lab": ROOT / "labextension" / "shoal_lab",
}


class Module(NamedTuple):
    """One module: its dotted name, where it lies, and its tree."""

    name: str
    path: Path
    tree: ast.Module


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every module of the three packages, sorted by name."""
    found = []
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            dotted = ".".join([package, *(part for part in parts if part != "__init__")])
            found.append(Module(dotted, path, ast.parse(path.read_text(), str(path))))
    return tuple(sorted(found))


def imported_roots(tree: ast.AST) -> set[str]:
    """The top-level packages that a tree imports anywhere: lazily and for types only, too."""
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


def functions_around(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every node with the dotted name of the function or class that it stands in; empty at the top."""

    def visit(node: ast.AST, where: str) -> Iterator[tuple[ast.AST, str]]:
        for child in ast.iter_child_nodes(node):
            yield child, where
            inner = where
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{where}.{child.name}" if where else child.name
            yield from visit(child, inner)

    yield from visit(tree, "")
