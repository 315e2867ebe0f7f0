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
    from shoal.apps import AUTO_LOGNAME, BashApp, JoinApp, PythonApp, bash_app, join_app, python_app
    from shoal.blocks.providers.local import LocalProvider
    from shoal.config import Config, clear, current, load, new_session, share, wait_for_current_tasks
    from shoal.errors import ShoalError
    from shoal.executors.adapter import ConcurrentExecutor
    from shoal.executors.htex import HighThroughputExecutor
    from shoal.executors.ipyparallel import IPyParallelExecutor
    from shoal.executors.threads import ThreadPoolExecutor
    from shoal.facade import Executor
    from shoal.files import File
    from shoal.futures import DataFuture, OutputFuture, TaskFuture, attr
    from shoal.gathering import as_completed, gather, wait
    from shoal.memo.digest import id_for_memo
    from shoal.memo.spec import Memo
    from shoal.options import Backoff
    from shoal.resources import Resources
    from shoal.session import Session

__all__ = [
    "AUTO_LOGNAME",
    "Backoff",
    "BashApp",
    "ConcurrentExecutor",
    "Config",
    "DataFuture",
    "Executor",
    "File",
    "HighThroughputExecutor",
    "IPyParallelExecutor",
    "JoinApp",
    "LocalProvider",
    "Memo",
    "OutputFuture",
    "PythonApp",
    "Resources",
    "Session",
    "ShoalError",
    "TaskFuture",
    "ThreadPoolExecutor",
    "as_completed",
    "attr",
    "bash_app",
    "clear",
    "current",
    "gather",
    "id_for_memo",
    "join_app",
    "load",
    "new_session",
    "python_app",
    "share",
    "wait",
    "wait_for_current_tasks",
]

_HOMES = {
    "AUTO_LOGNAME": "apps",
    "Backoff": "options",
    "BashApp": "apps",
    "ConcurrentExecutor": "executors.adapter",
    "Config": "config",
    "DataFuture": "futures",
    "Executor": "facade",
    "File": "files",
    "HighThroughputExecutor": "executors.htex",
    "IPyParallelExecutor": "executors.ipyparallel",
    "JoinApp": "apps",
    "LocalProvider": "blocks.providers.local",
    "Memo": "memo.spec",
    "OutputFuture": "futures",
    "PythonApp": "apps",
    "Resources": "resources",
    "Session": "session",
    "ShoalError": "errors",
    "TaskFuture": "futures",
    "ThreadPoolExecutor": "executors.threads",
    "as_completed": "gathering",
    "attr": "futures",
    "bash_app": "apps",
    "clear": "config",
    "current": "config",
    "gather": "gathering",
    "id_for_memo": "memo.digest",
    "join_app": "apps",
    "load": "config",
    "new_session": "config",
    "python_app": "apps",
    "share": "config",
    "wait": "gathering",
    "wait_for_current_tasks": "config",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    if name == "__version__":
        return import_module("shoal.config").shoal_version()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal' has no attribute '{name}'")
    value = getattr(import_module(f"shoal.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
