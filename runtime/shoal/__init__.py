"""Shoal makes a Jupyter notebook a parallel program.

Decorate functions with :func:`python_app`, call them, and a task graph runs on a pool of workers::

    import shoal

    @shoal.python_app
    def fit(model, data): ...

    scores = [fit(model, data) for model in models]     # futures, at once
    best = max(scores, key=lambda f: f.result())

Names are loaded on first use, so that ``import shoal`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.apps import PythonApp, python_app
    from shoal.blocks.providers.local import LocalProvider
    from shoal.config import Config, clear, current, load
    from shoal.errors import ShoalError
    from shoal.executors.htex import HighThroughputExecutor
    from shoal.executors.threads import ThreadPoolExecutor
    from shoal.futures import OutputFuture, TaskFuture
    from shoal.resources import Resources
    from shoal.session import Session

__all__ = [
    "Config",
    "HighThroughputExecutor",
    "LocalProvider",
    "OutputFuture",
    "PythonApp",
    "Resources",
    "Session",
    "ShoalError",
    "TaskFuture",
    "ThreadPoolExecutor",
    "clear",
    "current",
    "load",
    "python_app",
]

_HOMES = {
    "Config": "config",
    "HighThroughputExecutor": "executors.htex",
    "LocalProvider": "blocks.providers.local",
    "OutputFuture": "futures",
    "PythonApp": "apps",
    "Resources": "resources",
    "Session": "session",
    "ShoalError": "errors",
    "TaskFuture": "futures",
    "ThreadPoolExecutor": "executors.threads",
    "clear": "config",
    "current": "config",
    "load": "config",
    "python_app": "apps",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal' has no attribute '{name}'")
    value = getattr(import_module(f"shoal.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
