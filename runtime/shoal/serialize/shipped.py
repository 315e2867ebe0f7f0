"""Local modules of clients, on the worker: imported from the source that came with the code.

Tasks of one worker may need different versions of a module (it was edited and reloaded between submissions), so a module
that was executed once is kept under its digest, and the version that a task was submitted with is put in place before the
task runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

__all__ = ["ShippedModules"]

ShippedSource = tuple[str, str, bool, list[str] | None, str, bytes]
"""Name, path on the client, whether it is a package, its search path, source, digest."""

_KEPT = 64


class _Loader:
    """Executes the source of one module."""

    def __init__(self, path: str, source: str) -> None:
        self._path, self._source = path, source

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the source in the module's namespace."""
        exec(self.get_code(), module.__dict__)  # noqa: S102 - the user's own module

    def get_code(self, name: str = "") -> CodeType:
        """The compiled source."""
        return compile(self._source, self._path or "<namespace package>", "exec", dont_inherit=True)

    def get_source(self, name: str) -> str:
        """The source, for tracebacks."""
        return self._source


class ShippedModules:
    """A finder of the import system that knows the local modules of the task at hand."""

    def __init__(self) -> None:
        self._now: dict[str, ShippedSource] = {}
        self._executed: dict[tuple[str, bytes], ModuleType] = {}

    def use(self, modules: Sequence[ShippedSource]) -> None:
        """Make these the local modules; others of earlier tasks are not importable any more."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for name, module in self._loaded():
            self._executed[name, self._now[name][-1]] = module
        wanted = {module[0]: module for module in modules}
        for name in {**self._now, **wanted}:
            old, new = self._now.get(name), wanted.get(name)
            if old is None or new is None or new[-1] != old[-1]:
                _put(name, None if new is None else self._executed.pop((name, new[-1]), None))
        self._now = wanted
        while len(self._executed) > _KEPT:
            del self._executed[next(iter(self._executed))]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a local module; called by the import system."""
        entry = self._now.get(name)
        if entry is None:
            return None
        _, file, package, search, source, _ = entry
        spec = ModuleSpec(name, _Loader(file, source), origin=file or None, is_package=package)  # type: ignore[arg-type]
        spec.has_location = bool(file)
        if package:
            spec.submodule_search_locations = list(search or ())
        return spec

    def _loaded(self) -> list[tuple[str, ModuleType]]:
        found = [(name, sys.modules.get(name)) for name in self._now]
        return [(name, module) for name, module in found if isinstance(module, ModuleType)]


def _put(name: str, module: ModuleType | None) -> None:
    """Make ``module`` what importing ``name`` gives; None to have it executed when it is imported."""
    parent, _, child = name.rpartition(".")
    above = sys.modules.get(parent)
    if module is not None:
        sys.modules[name] = module
        if above is not None:
            setattr(above, child, module)
    elif (old := sys.modules.pop(name, None)) is not None and getattr(above, child, None) is old:
        delattr(above, child)
