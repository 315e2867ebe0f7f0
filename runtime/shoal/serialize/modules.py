"""Modules beside the notebook: which they are, and their source, for workers that cannot import them.

A module counts as local if its file lies under the directory of the main script, or under the working directory, and is
not installed: not in ``site-packages`` or the standard library, and not part of an editable install. A local module that
any function or argument of this process has mentioned is *needed*, with every local module that it imports; the source of
all needed modules travels in each code blob. Modules that hold no Python source (extension modules) are left alone.
"""

from __future__ import annotations

import ast
import hashlib
import os
import site
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from shoal.serialize.reducers import is_app
from shoal.serialize.references import LRU_WRAPPER, met

__all__ = ["Loaded", "LocalModules", "LocalSource", "is_installed", "local", "members", "roots"]

_OWN = frozenset({"__main__", "__mp_main__", "shoal", "shoal_kernel", "shoal_lab"})
_INSTALLED_PARTS = frozenset({"site-packages", "dist-packages", ".venv", "venv"})
MOMENT = 0.002
"""Seconds for which a file that was not edited needs no other look: shorter than it takes to edit and load it anew."""

_SMALL = (type(None), bool, int, float, complex, str, bytes, tuple, frozenset, CodeType)
_elsewhere: set[str] = set()
"""Modules that were found, and are not local."""


class LocalSource(NamedTuple):
    """A local module as it travels.

    Args:
        name: its full name.
        path: its file on the client; empty for a namespace package.
        package: whether it is a package.
        search: where its submodules are looked for; None for what is no package.
        source: its text.
        digest: of its source and of that of every local module that it imports.
    """

    name: str
    path: str
    package: bool
    search: list[str] | None
    source: str
    digest: bytes


class Loaded:
    """A loaded module at one moment.

    Args:
        name: under which it is loaded.
        module: it.
        path: its file; empty if it has none.
    """

    __slots__ = ("_ids", "_kept", "_module", "_name", "_path", "_spec", "_stamp", "_until")

    def __init__(self, name: str, module: ModuleType, path: str) -> None:
        self._name, self._module = name, module
        self._spec = getattr(module, "__spec__", None)  # reloading makes a new one
        self._path, self._stamp = path, _stamp(path)
        self._until = 0.0
        items = list(members(module))
        self._ids = list(map(id, items))
        self._kept = [item for item in items if type(item) in _SMALL]  # their ids cannot become those of others

    def holds(self) -> bool:
        """Whether it was neither loaded anew since, nor got new contents from a file that was edited since.

        The latter is what IPython's autoreload does: it leaves the module, and puts new code into its functions.
        """
        module = self._module
        if sys.modules.get(self._name) is not module or getattr(module, "__spec__", None) is not self._spec:
            return False
        now = time.monotonic()
        if now < self._until:
            return True
        if not self._path or _stamp(self._path) == self._stamp:
            self._until = now + MOMENT
            return True
        return list(map(id, members(module))) == self._ids


def members(module: ModuleType) -> Iterator[Any]:
    """What a module holds: the code of each function and method that is found in it, wrappers taken off, and all other values."""
    queue: list[Any] = list(vars(module).values())
    seen = set()
    for item in queue:  # grows while it is gone through
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, FunctionType | LRU_WRAPPER):
            if isinstance(item, FunctionType):
                yield item.__code__
            queue.append(item.__dict__.get("__wrapped__"))
        elif isinstance(item, property):
            queue += (item.fget, item.fset, item.fdel)
        elif isinstance(item, staticmethod | classmethod):
            queue.append(item.__func__)
        elif is_app(type(item)):
            queue.append(item.__shoal_function__)
        elif isinstance(item, type) and item.__module__ == module.__name__:
            queue += vars(item).values()
        else:
            yield item


class _Found(NamedTuple):
    """A local module as it is on this machine: where, and by what a change shows."""

    path: str
    search: list[str] | None
    source: str
    imports: tuple[str, ...]
    loaded: Loaded | None
    stamp: tuple[int, int]


class LocalModules:
    """The needed local modules of this process.

    Attributes:
        version: grows when a module becomes needed, and when one changes.
    """

    def __init__(self) -> None:
        self.version = 0
        self._found: dict[str, _Found] = {}
        self._seen = 0
        self._sources: list[LocalSource] | None = []
        self._lock = threading.RLock()

    def refresh(self) -> int:
        """Look at the modules that were mentioned since the last time, and for changes; returns the version."""
        if len(met) != self._seen or self._found:
            with self._lock:
                names = met[self._seen :]
                self._seen += len(names)
                self.want(names)
                for name, found in list(self._found.items()):
                    if not _is_current(name, found):
                        del self._found[name]
                        self._changed()
                        self.want((name,))
        return self.version

    def want(self, names: Iterable[str]) -> None:
        """Make those of these modules needed that are local, and what they import; unknown names are passed over."""
        queue = list(names)
        with self._lock:
            for name in queue:
                parts = name.split(".")
                if parts[0] in _OWN or parts[0] in sys.stdlib_module_names or parts[0] in _elsewhere:
                    continue
                for end in range(1, len(parts) + 1):  # a package comes before what is in it
                    part = ".".join(parts[:end])
                    if part not in self._found:
                        found = _find(part)
                        if found is None:
                            break
                        self._found[part] = found
                        self._changed()
                        queue.extend(found.imports)

    def sources(self) -> list[LocalSource]:
        """Every needed module, sorted by name."""
        with self._lock:
            if self._sources is None:
                self._sources = [self._source(name) for name in sorted(self._found)]
            return self._sources

    def _source(self, name: str) -> LocalSource:
        found = self._found[name]
        digest = hashlib.blake2b(digest_size=16)
        for other in sorted(self._reach(name)):
            digest.update(other.encode())
            digest.update(self._found[other].source.encode())
        return LocalSource(name, found.path, found.search is not None, found.search, found.source, digest.digest())

    def _reach(self, name: str) -> set[str]:
        reached = {name}
        queue = [name]
        for module in queue:
            for imported in self._found[module].imports:
                parts = imported.split(".")
                for end in range(1, len(parts) + 1):
                    part = ".".join(parts[:end])
                    if part in self._found and part not in reached:
                        reached.add(part)
                        queue.append(part)
        return reached

    def _changed(self) -> None:
        self.version += 1
        self._sources = None


local = LocalModules()
"""Those of this process."""


# --------------------------------------------------------------------------- finding


def _find(name: str) -> _Found | None:
    module = sys.modules.get(name)
    if isinstance(module, ModuleType):
        path = getattr(module, "__file__", None)
        search = list(map(str, getattr(module, "__path__", ()))) if hasattr(module, "__path__") else None
    else:
        module = None
        parent, _, _ = name.rpartition(".")
        spec = PathFinder.find_spec(name, _search_of(parent) if parent else None)
        if spec is None:
            return None
        path = spec.origin
        search = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    places = (search or [""]) if path is None else [path]
    if not all(map(_is_local, places)):
        _elsewhere.add(name)
        return None
    loaded = None if module is None else Loaded(name, module, path or "")
    if path is None:
        return _Found("", search, "", (), loaded, (0, 0))
    if not path.endswith(".py"):
        return None
    stamp = _stamp(path)
    try:
        source = _decoded(Path(path).read_bytes())
    except OSError:
        return None  # it was loaded, and is gone
    package = name if search is not None else name.rpartition(".")[0]
    return _Found(path, search, source, tuple(_imports(source, path, package)), loaded, stamp)


def _search_of(package: str) -> list[str]:
    module = sys.modules.get(package)
    if module is not None:
        return list(map(str, getattr(module, "__path__", ())))
    found = _find(package)
    return [] if found is None or found.search is None else found.search


def _is_current(name: str, found: _Found) -> bool:
    if found.loaded is not None:
        return found.loaded.holds()
    return name not in sys.modules and (not found.path or _stamp(found.path) == found.stamp)


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - as hot as it gets
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _decoded(text: bytes) -> str:
    from importlib.util import decode_source

    return decode_source(text)


def _imports(source: str, path: str, package: str) -> Iterator[str]:
    """The modules that a source imports, ``a.b`` for ``from a import b`` included."""
    try:
        tree = ast.parse(source, path)
    except SyntaxError:
        return  # importing it fails over there as it does here
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            if base:
                yield base
                for alias in node.names:
                    yield f"{base}.{alias.name}"


# --------------------------------------------------------------------------- what is local


def _is_local(path: str) -> bool:
    where = Path(path)
    return where.is_absolute() and not is_installed(path) and any(where.is_relative_to(root) for root in roots())


def roots() -> list[Path]:
    """The directories whose modules are local: those of the main script and of the work."""
    found = [_START, _here()]
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is not None:
        found.append(Path(main).absolute().parent)
    return [place for place in found if place is not None]


def _here() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None  # the directory was removed


_START = _here()


def is_installed(path: str) -> bool:
    """Whether a file belongs to an installed package or to the standard library.

    Args:
        path: an absolute path.
    """
    where = Path(path)
    return not _INSTALLED_PARTS.isdisjoint(where.parts) or any(where.is_relative_to(place) for place in _installed())


@cache
def _installed() -> tuple[Path, ...]:
    places = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    editable: set[str] = set()
    for folder in map(Path, folders):
        for listing in folder.glob("*.pth") if folder.is_dir() else ():
            lines = listing.read_text(errors="replace").splitlines()
            editable.update(line for line in lines if line.startswith("/"))
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # how setuptools installs projects whose layout is no plain folder
            editable.update(getattr(module, "MAPPING", {}).values())
    return tuple(Path(place).absolute() for place in places | editable)
