"""Where importable things come from: the version of an installed package, or the source of a module that is edited here.

What is installed (``site-packages``, the standard library) changes with its version. Modules beside the notebook, and those
of editable installs, change when they are edited: they stand for their source, normalised, and for that of all modules of
their kind that they import. As for the workers, what counts is the source at the time when the module was first looked at,
until it is loaded anew.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import threading
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from shoal.memo.code import normalise, strangers
from shoal.memo.frames import blob, bundle, digest, frame
from shoal.memo.steps import Undigestible
from shoal.serialize.modules import Loaded, local
from shoal.serialize.references import meet

__all__ = ["is_packaged", "origin", "reference_to", "refresh", "version_of"]

_PACKAGED = frozenset({"site-packages", "dist-packages"})
_MAIN = ("__main__", "__mp_main__")
_OWN = frozenset({"shoal", "shoal_kernel", "shoal_lab"})


class _Source(NamedTuple):
    """A module that is edited here, as it was when it was first looked at."""

    loaded: Loaded | None
    digest: bytes
    imports: tuple[str, ...]


class _State:
    """How far the sources were followed."""

    version = 0
    local = -1


_lock = threading.RLock()
_sources: dict[str, _Source] = {}
_origins: dict[str, bytes] = {}
_state = _State()


def refresh() -> int:
    """A number that grows when a module that is edited here has changed or was loaded anew; cheap."""
    if _state.local != local.refresh() or not all(
        _is_current(name, source) for name, source in _sources.copy().items()
    ):
        with _lock:
            _sources.clear()
            _origins.clear()
            _state.local = local.version
            _state.version += 1
    return _state.version


def _is_current(name: str, source: _Source) -> bool:
    return name not in sys.modules if source.loaded is None else source.loaded.holds()


def reference_to(module: str, qualname: str) -> bytes:
    """The encoding of something that is importable by name."""
    return frame(b"ref", blob(b"name", f"{module}:{qualname}".encode()) + origin(module))


def origin(module: str) -> bytes:
    """What tells one state of a module from another: the version that is installed, or its source."""
    known = _origins.get(module)
    if known is None:
        with _lock:
            known = _origins[module] = _find_origin(module)
    return known


def is_packaged(module: str) -> bool:
    """Whether a module is installed, so that its version tells what is in it."""
    top = module.partition(".")[0]
    if top in _MAIN:
        return False
    if top in sys.stdlib_module_names or top in _OWN:
        return True
    path = _file_of(module) or (_file_of(top) if module in sys.modules else None)
    if path is None:
        return module not in sys.modules  # there is none
    return not _PACKAGED.isdisjoint(Path(path).parts) or Path(path).is_relative_to(_stdlib())


@cache
def version_of(top: str) -> str:
    """The version of the distribution that a top-level module comes from; empty where it has none."""
    if top in sys.stdlib_module_names:
        return ""
    version = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(version, str):
        return version
    names = _distributions().get(top)
    return metadata.version(names[0]) if names else ""


@cache
def _distributions() -> dict[str, Any]:
    return dict(metadata.packages_distributions())


@cache
def _stdlib() -> str:
    return sysconfig.get_path("stdlib")


def _find_origin(module: str) -> bytes:
    if module in _MAIN:
        return b"main:"
    if is_packaged(module):
        top = module.partition(".")[0]
        return blob(b"version", f"{top}=={version_of(top)}".encode())
    reached = [module]
    parts = []
    for name in reached:
        source = _source_of(name)
        parts.append(blob(b"module", name.encode()) + source.digest)
        for imported in source.imports:
            top = imported.partition(".")[0]
            if top in sys.stdlib_module_names:
                continue
            if is_packaged(imported):
                if imported == top:
                    parts.append(origin(top))
            elif imported not in reached and _is_module(imported):
                reached.append(imported)
    return bundle(b"source", sorted(set(parts)))


def _is_module(name: str) -> bool:
    return name in sys.modules or _file_of(name) is not None


def _file_of(module: str) -> str | None:
    loaded = sys.modules.get(module)
    if loaded is not None:
        path = getattr(loaded, "__file__", None)
        return path if isinstance(path, str) else None
    parent, _, _ = module.rpartition(".")
    if parent and parent not in sys.modules:
        return None
    search = list(getattr(sys.modules[parent], "__path__", ())) if parent else None
    spec = PathFinder.find_spec(module, search)
    return spec.origin if spec is not None and spec.has_location else None


def _source_of(name: str) -> _Source:
    known = _sources.get(name)
    if known is None:
        module = sys.modules.get(name)
        path = _file_of(name)
        text = _text_of(name, path)
        tree = _parse(text)
        imports: tuple[str, ...] = ()
        if tree is None:
            if path is None and not hasattr(module, "__path__"):
                raise Undigestible("module", f"the module {name} has no file, so what is in it cannot be told")
            found = _stamp(path)
        else:
            package = name if path is not None and Path(path).name == "__init__.py" else name.rpartition(".")[0]
            imports = tuple(dict.fromkeys(_imports(tree, package)))
            # on threads what is loaded runs, even where the file has been edited since
            others = () if module is None else strangers(module, text, path or name)
            found = digest(ast.dump(normalise(tree)).encode("utf-8", "surrogatepass") + b"".join(others))
        loaded = None if module is None else Loaded(name, module, path or "")
        known = _sources[name] = _Source(loaded, found, imports)
    return known


def _text_of(name: str, path: str | None) -> str:
    """The source as workers get it, where they get it from here."""
    from importlib.util import decode_source

    meet(name)
    local.want((name,))
    for source in local.sources():
        if source.name == name:
            return source.source
    if path is None or not path.endswith(".py"):
        return ""
    try:
        return decode_source(Path(path).read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text) if text else None
    except (SyntaxError, ValueError, RecursionError):
        return None


def _stamp(path: str | None) -> bytes:
    """For what has no source: an extension module that was built here."""
    try:
        status = Path(path).stat() if path else None
    except OSError:
        status = None
    return b"" if status is None else digest(f"{status.st_size} {status.st_mtime_ns}".encode())


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
