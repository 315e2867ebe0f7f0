"""Which way imports run, and what the pure machines may not know."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from sources import ROOT, Module, imported_roots, modules

IMPURE = {
    "asyncio",
    "concurrent",
    "datetime",
    "logging",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
    "zmq",
}
PURE = ("shoal.graph", "shoal.dispatch", "shoal.wire", "shoal.blocks.states", "shoal.blocks.scaling")
JUPYTER = {
    "IPython",
    "anywidget",
    "bokeh",
    "comm",
    "ipykernel",
    "ipyparallel",
    "ipywidgets",
    "jupyter_client",
    "jupyter_core",
    "jupyter_server",
    "jupyterlab",
    "nbclient",
    "nbformat",
    "tornado",
    "traitlets",
}


def is_pure(module: Module) -> bool:
    return any(module.name == name or module.name.startswith(name + ".") for name in PURE)


def test_import_contracts_are_kept():
    """The floors of the house, as import-linter reads them from pyproject.toml, are kept."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_pure_modules():
    """The rule of purity is about modules that exist: each name of its list stands for at least one."""
    for name in PURE:
        assert any(m.name == name or m.name.startswith(name + ".") for m in modules()), name


@pytest.mark.parametrize("module", [m for m in modules() if is_pure(m)], ids=lambda m: m.name)
def test_pure_modules_know_no_world(module: Module):
    """A machine imports no clock, no threads, no sockets, no processes and no chance, not even lazily."""
    assert imported_roots(module.tree) & IMPURE == set()


@pytest.mark.parametrize("module", [m for m in modules() if m.name.partition(".")[0] == "shoal"], ids=lambda m: m.name)
def test_the_runtime_imports_nothing_of_jupyter(module: Module):
    """What a compute node installs needs no Jupyter: no module of the runtime imports any of it, not even lazily."""
    assert imported_roots(module.tree) & (JUPYTER | {"shoal_kernel", "shoal_lab"}) == set()


@pytest.mark.parametrize("module", [m for m in modules() if m.name.startswith("shoal.")], ids=lambda m: m.name)
def test_the_runtime_does_not_use_its_own_face(module: Module):
    """Inside the runtime a name is imported from its home, never from `shoal`, whose names would load anything."""
    homes = {m.name for m in modules()}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            assert "shoal" not in {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "shoal":
            assert {f"shoal.{alias.name}" for alias in node.names} <= homes
