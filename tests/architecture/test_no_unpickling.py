"""A pool passes bytes on and never turns them into objects: whoever reaches it can make nothing of it run."""

from __future__ import annotations

import ast

import pytest
from sources import Module, imported_roots, modules

PARTS = ("shoal.pool", "shoal.dispatch", "shoal.wire", "shoal.links", "shoal.blocks")
LOADERS = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "copyreg"}
WRITES_ONLY = {"pack_failure"}
"""What these parts may use of shoal.serialize: it makes bytes of the pool's own errors."""


def of_a_pool(module: Module) -> bool:
    return module.name.startswith(PARTS)


def offences(module: Module) -> list[str]:
    """What a module imports, or calls, that could make objects of somebody's bytes."""
    found = sorted(imported_roots(module.tree) & LOADERS)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("shoal.serialize", "shoal.reading")):
            found += [alias.name for alias in node.names if alias.name not in WRITES_ONLY]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith(("shoal.serialize", "shoal.reading"))]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            found.append(node.func.id)
    return found


@pytest.mark.parametrize("module", [m for m in modules() if of_a_pool(m)], ids=lambda m: m.name)
def test_no_part_of_a_pool_unpickles(module):
    """No pickle, nothing of serialize that reads, no eval: not even lazily."""
    assert offences(module) == []


def test_the_rule_can_fail(tmp_path):
    """It finds a lazy import, a reading name of serialize, and eval."""
    text = "from shoal.serialize import unpack, pack_failure\ndef f(x):\n    import pickle\n    return eval(x)\n"
    assert offences(Module("shoal.pool.x", tmp_path, ast.parse(text))) == ["pickle", "unpack", "eval"]
