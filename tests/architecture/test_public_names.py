"""`__all__` is the truth about what is public, and what is public is documented."""

from __future__ import annotations

import ast
import importlib
import re

import pytest
from sources import ROOT, Module, modules

import shoal

REFERENCE = ROOT / "docs" / "reference" / "api.md"
WITH_ALL = [m for m in modules() if not m.name.endswith("__main__")]


def defined_names(tree: ast.Module) -> set[str]:
    """Every name that a module makes at its top level."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def public_parts(tree: ast.Module) -> set[str]:
    """The functions and classes that a module defines without an underscore."""
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }


def stated_names(tree: ast.Module) -> list[str] | None:
    """What `__all__` says; None if there is none."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return list(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("module", WITH_ALL, ids=lambda m: m.name)
def test_all_names_what_is_public(module: Module):
    """`__all__` names the public functions and classes of a module, and nothing that it does not have."""
    stated = stated_names(module.tree)
    if stated is None:
        assert public_parts(module.tree) == set(), "these are public, and there is no __all__"
        return
    assert len(set(stated)) == len(stated)
    assert public_parts(module.tree) - set(stated) == set()
    if module.path.name != "__init__.py":  # a package may pass names on
        assert set(stated) - defined_names(module.tree) == set()


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.name)
def test_only_public_names_are_imported(module: Module):
    """What one module imports from another is in the `__all__` of the other."""
    by_name = {m.name: m for m in modules()}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module in by_name:
            stated = stated_names(by_name[node.module].tree)
            names = {alias.name for alias in node.names if f"{node.module}.{alias.name}" not in by_name}
            assert stated is None or names - set(stated) == set(), f"not in __all__ of {node.module}"


def test_every_public_name_exists():
    """Every name of `shoal.__all__` can be had, and `dir(shoal)` shows just those."""
    assert [name for name in shoal.__all__ if not hasattr(shoal, name)] == []
    assert dir(shoal) == sorted(shoal.__all__)


def test_public_names_come_from_where_they_say():
    """Types see the same names at the same homes as the lazy loader."""
    source = ast.parse((ROOT / "runtime" / "shoal" / "__init__.py").read_text())
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("shoal."):
            home = importlib.import_module(node.module)
            for alias in node.names:
                assert getattr(shoal, alias.name) is getattr(home, alias.name)


@pytest.mark.parametrize("name", sorted(shoal.__all__))
def test_every_public_name_has_a_reference_section(name: str):
    """docs/reference/api.md has a heading `shoal.NAME` for each public name."""
    headings = re.findall(r"^#+ .*?shoal\.(\w+)", REFERENCE.read_text(), flags=re.MULTILINE)
    assert name in headings
