"""What a cell does besides its names: files that it writes, state of modules, the screen and the keyboard.

Such a cell is no task under ``%autotask``: in the kernel it does all this in its place in the notebook. Found from its text, and from
that of the notebook's functions that it calls.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from shoal_kernel.analysis.effects import MUTATING_METHODS, call_name

__all__ = ["Effect", "outside"]

_FILE_WORDS = """
to_csv to_parquet to_excel to_feather to_hdf to_pickle to_sql to_stata to_netcdf to_zarr to_file savefig save savez
savez_compressed savetxt save_model save_weights save_pretrained tofile write_text write_bytes write_html write_image mkdir
makedirs unlink rmdir rmtree touch symlink_to hardlink_to dump urlretrieve extractall copyfile copytree chmod chown utime
system popen commit executemany
"""
_FILES = frozenset(_FILE_WORDS.split())
"""Calls that change what is outside of Python, whoever has them."""

_BY_MODULE = {
    "os": frozenset({"remove", "rename", "replace", "link", "symlink", "truncate", "removedirs", "renames"}),
    "shutil": frozenset({"copy", "copy2", "move"}),
    "subprocess": frozenset({"run", "call", "check_call", "check_output", "Popen"}),
}
_STATE = frozenset(
    [
        "chdir",
        "seed",
        "filterwarnings",
        "simplefilter",
        "use",
        "basicConfig",
        "config",
        "install",
        "umask",
        "putenv",
        "unsetenv",
    ]
)
_FRESH = frozenset({"Random", "SystemRandom", "Generator", "RandomState", "default_rng", "SeedSequence", "PCG64"})
_STREAMS = (("sys", ("stdout",)), ("sys", ("stderr",)))
_HERE = {
    "dir": "asks for the names of the notebook",
    "input": "asks the keyboard",
    "breakpoint": "stops in the debugger",
    "get_ipython": "has a magic or a shell command",
}
_OURS = ("shoal", "shoal_kernel")
_SHOWS = {"matplotlib.pyplot": "draws with pyplot", "IPython.display": "shows something by itself"}


class Effect(NamedTuple):
    """Why a cell stays in the kernel.

    Args:
        line: of the cell; 0 where a function that it calls does it.
        what: what it does, as a verb with its object.
        waits: it also has to come after all that was started before it.
        sets: it only sets up modules, which each process has to do for itself.
    """

    line: int
    what: str
    waits: bool = False
    sets: bool = False


def outside(
    tree: ast.Module, functions: Iterable[ast.Module], notebook: Mapping[str, Any], seeded: bool = False
) -> Effect | None:
    """The first thing that a cell does outside of its names.

    Args:
        tree: the cell.
        functions: the texts of the notebook's functions that it calls.
        notebook: the notebook's variables.
        seeded: the notebook has seeded the random numbers of a module, so that who draws them in secret counts.

    Returns:
        What it does: what has to wait first, what sets up modules last. None if there is nothing.
    """
    modules = {name: value.__name__ for name, value in notebook.items() if isinstance(value, ModuleType)}
    names = {name: str(getattr(value, "__module__", "")) for name, value in notebook.items() if callable(value)}
    modules |= _imported(tree)
    names |= _imported_names(tree)
    names |= {name: home for name, value in notebook.items() if (home := _generator_of(value))}
    found = list(_effects(tree, modules, names))
    if seeded:
        for text, line in ((tree, True), *((function, False) for function in functions)):
            found += [Effect(each.line if line else 0, each.what) for each in _unseeded(text, notebook)]
    for function in functions:
        found += [
            Effect(0, f"calls a function that {each.what}", each.waits) for each in _effects(function, modules, names)
        ]
    return min(found, key=lambda each: (not each.waits, each.sets), default=None)


def _imported(tree: ast.Module) -> dict[str, str]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
    return found


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """The names that a cell imports itself from modules, with these."""
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _generator_of(value: Any) -> str:
    """The module whose own generator of random numbers a function draws from; empty if it does not."""
    owner = getattr(value, "__self__", None)
    kind = (type(owner).__module__, type(owner).__name__)
    own = sys.modules.get("numpy.random.mtrand")
    if kind == ("numpy.random.mtrand", "RandomState") and own is not None and owner is vars(own).get("_rand"):
        return "numpy.random"
    return ""


def _unseeded(tree: ast.Module, notebook: Mapping[str, Any]) -> Iterator[Effect]:
    """Calls that take their random numbers from numpy's own generator, since nobody gives them a ``random_state``."""
    imported = _imported_names(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(word.arg in ("random_state", None) for word in node.keywords):
            continue
        name = call_name(node)
        called = isinstance(node.func, ast.Attribute) and name == "sample"
        if isinstance(node.func, ast.Name):
            home = sys.modules.get(imported.get(name, ""))
            called = _takes_state(notebook.get(name, vars(home).get(name) if home is not None else None))
        if called:
            yield Effect(node.lineno, f"calls {name}() without a random_state, and the notebook has seeded a module")


def _takes_state(value: Any) -> bool:
    if not callable(value) or not str(getattr(value, "__module__", "")).startswith(("sklearn", "scipy")):
        return False
    try:
        taken = inspect.signature(value).parameters.get("random_state")
    except (TypeError, ValueError):  # it is not written in Python
        return False
    return taken is not None and taken.default is None


def _effects(tree: ast.Module, modules: Mapping[str, str], names: Mapping[str, str]) -> Iterator[Effect]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node, modules, names)
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            module, _ = _rooted(node, modules)
            if module:
                yield Effect(node.lineno, f"changes the module {module}", sets=True)
        elif isinstance(node, ast.Name) and modules.get(node.id, "").partition(".")[0] in _OURS:
            yield Effect(node.lineno, "makes tasks itself")


def _of_call(node: ast.Call, modules: Mapping[str, str], names: Mapping[str, str]) -> Iterator[Effect]:
    name = call_name(node)
    module, path = _rooted(node.func, modules)
    shown = f"{module}.{name}" if module else name
    own = isinstance(node.func, ast.Name) and names.get(name) == "__main__"  # its text is looked at
    if isinstance(node.func, ast.Name):
        home = names.get(name, "")
        if name in _HERE and not (name == "dir" and node.args):
            yield Effect(node.lineno, _HERE[name])
        elif home.partition(".")[0] in _OURS:
            yield Effect(node.lineno, "makes tasks itself")
        elif home in ("random", "numpy.random") and name not in _FRESH:
            if name in _STATE:
                yield Effect(node.lineno, f"calls {name}(), which sets up a module", sets=True)
            else:
                yield Effect(node.lineno, f"draws from the random numbers of the module {home.partition('.')[0]}")
        elif home.startswith("IPython"):
            yield Effect(node.lineno, _SHOWS["IPython.display"])
    if name == "open" and _writes(node):
        yield Effect(node.lineno, "opens a file to write", waits=True)
    elif (name in _FILES and not own) or name in _BY_MODULE.get(module, ()) or (module, name) == ("os", "open"):
        yield Effect(node.lineno, f"calls {shown}(), which changes files or what else is outside", waits=True)
    elif module and (name in _STATE or (name.startswith("set") and name != "set")):
        yield Effect(node.lineno, f"calls {shown}(), which sets up a module", sets=True)
    elif (module, path[:1]) in _STREAMS:
        return  # what it writes is shown below the cell
    elif module and len(path) > 1 and path[-1] in MUTATING_METHODS and not _draws(module, path):
        yield Effect(node.lineno, f"changes the module {module}", sets=True)
    elif _draws(module, path):
        yield Effect(node.lineno, f"draws from the random numbers of the module {module}")
    elif module in _SHOWS:
        yield Effect(node.lineno, _SHOWS[module])


def _draws(module: str, path: tuple[str, ...]) -> bool:
    """Whether a call draws random numbers whose generator is a module's own."""
    parts = (*module.split("."), *path)
    return len(parts) > 1 and parts[-2] == "random" and parts[0] in ("random", "numpy") and parts[-1] not in _FRESH


def _writes(node: ast.Call) -> bool:
    """Whether ``open(...)``, or ``path.open(...)``, may write."""
    place = 1 if isinstance(node.func, ast.Name) else 0
    mode = next((word.value for word in node.keywords if word.arg == "mode"), None)
    if mode is None:
        mode = node.args[place] if len(node.args) > place else ast.Constant("r")
    text = mode.value if isinstance(mode, ast.Constant) else "w"
    return not isinstance(text, str) or any(letter in text for letter in "wax+")


def _rooted(node: ast.expr, modules: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The module that an expression begins with (``os`` of ``os.environ["A"]``; empty if none), and the attributes after it."""
    path: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            return "", ()
    return (modules.get(node.id, ""), tuple(path)) if isinstance(node, ast.Name) else ("", ())
