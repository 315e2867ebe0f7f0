"""Habits that a reader may rely on: no broad excepts, no reaching into others, no waiting in unit tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from sources import ROOT, Module, functions_around, modules

# Each of these runs code that is not Shoal's own, which may raise anything.
BROAD_EXCEPT_ALLOWED: dict[str, set[str]] = {
    "shoal.callbacks": {"_run_callback"},  # a callback of a future
    "shoal.executors.calling": {"outcome_of"},  # the body of a task
    "shoal.engine.retrying": {"_ask_handler"},  # the user's retry_handler
    "shoal.executors.foreign": {"guarded"},  # an executor of another library
    "shoal.memo.keeping": {"packed"},  # pickling the user's values
    "shoal.memoizing": {"Memoizer._key_of"},  # reading and digesting the user's values
    "shoal.node.adapted": {"_guarded"},  # the body of a task
    "shoal.node.worker": {"Worker._execute"},  # the body of a task
    "shoal.outcome": {"_message"},  # the __str__ of an exception
    "shoal.reading": {"load_value"},  # what unpickling a result calls
    "shoal.serialize.failures": {"_guarded"},  # the __str__, __reduce__ ... of an exception
    "shoal.serialize.inline": {"InlineApp.__call__"},  # the body of an app that is called inside a task
    "shoal.serialize.pickling": {"attempt"},  # what pickling and unpickling call
    "shoal_kernel.worker.bundle": {"_tried"},  # the _repr_ methods of a value
    "shoal_kernel.lines.header": {"_evaluated"},  # the line of a %%parallel cell
    "shoal_kernel.cells.runhere": {"run_here"},  # statements of a cell that also run in the notebook
}

# What is reached for in other packages, because there is no public way to it.
FOREIGN_PRIVATE_ALLOWED: dict[str, set[str]] = {
    "shoal.cli.completion": {"_SubParsersAction", "_actions"},  # the words that an argparse parser knows
}

# Documented parts of the standard library, in spite of their names.
DOCUMENTED = {"_exit", "_getframe"}

TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
UNIT_TESTS = sorted((ROOT / "tests" / "unit").rglob("*.py"))


def broad_handlers(module: Module) -> set[str]:
    """The functions of a module that catch everything."""
    found = set()
    for node, where in functions_around(module.tree):
        caught: list[ast.expr | None] = []
        if isinstance(node, ast.ExceptHandler):
            caught = list(node.type.elts) if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "suppress":
            caught = list(node.args)
        if any(k is None or (isinstance(k, ast.Name) and k.id in ("Exception", "BaseException")) for k in caught):
            found.add(where)
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def foreign_private(module: Module) -> set[str]:
    """Private names that a module uses but that nothing in it defines."""
    own: set[str] = set()
    used: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            own.add(node.value)  # __slots__
        elif isinstance(node, ast.Attribute):
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if of_self and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif not of_self and is_private(node.attr):
                used.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            used.update(alias.name for alias in node.names if is_private(alias.name))
    return used - own - DOCUMENTED


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.name)
def test_only_what_runs_user_code_catches_everything(module: Module):
    """A bare or broad `except` stands only in the listed functions."""
    assert broad_handlers(module) == BROAD_EXCEPT_ALLOWED.get(module.name, set())


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.name)
def test_no_module_reaches_into_another(module: Module):
    """A private attribute is used in the module that defines it, but for the listed ones."""
    assert foreign_private(module) == FOREIGN_PRIVATE_ALLOWED.get(module.name, set())


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda p: p.name)
def test_unit_tests_do_not_wait(path: Path):
    """Unit tests neither sleep nor start processes nor open sockets: time and messages come in by hand."""
    tree = ast.parse(path.read_text())
    called = {getattr(n.func, "attr", getattr(n.func, "id", "")) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert "sleep" not in called
    assert imported & {"socket", "subprocess", "multiprocessing", "zmq"} == set()


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT / "tests")))
def test_every_test_states_its_behaviour(path: Path):
    """Each test has a docstring that says what must hold."""
    silent = [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_rules_can_fail(tmp_path: Path):
    """The checks of this file find what they are for."""
    text = (
        "def f(x):\n    try:\n        x._gone()\n    except Exception:\n        pass\n"
        "class A:\n    def g(self, other):\n        self._mine = other._mine\n"
    )
    module = Module("m", tmp_path, ast.parse(text))
    assert broad_handlers(module) == {"f"}
    assert foreign_private(module) == {"_gone"}
