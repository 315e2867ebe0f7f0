"""The only door to pickle and cloudpickle: values, calls, functions and failures as bytes, and back.

The client's half is ``pack_call`` and :class:`FunctionImage`, the worker's half ``Rebuilder`` and ``unpack_call``; both use
``pack``, ``unpack`` and the failures. Names are loaded on first use: a worker loads neither the client's half nor, before
something needs it, cloudpickle.

Order matters in two places. A client packs the arguments first and takes the snapshot of the function then, so that the
snapshot carries the source of modules that the arguments mention. A worker calls ``Rebuilder.function`` first, which
begins the task, and unpacks inputs and arguments then, so that all of them share one definition of a notebook's class.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.serialize.calls import pack_call, unpack_call
    from shoal.serialize.failures import RemoteTraceback, name_files, pack_failure, unpack_failure
    from shoal.serialize.image import FunctionImage, ShoalWarning, Snapshot
    from shoal.serialize.inline import InlineApp, InlineFuture
    from shoal.serialize.pickling import pack, unpack
    from shoal.serialize.rebuild import Rebuilder

__all__ = [
    "FunctionImage",
    "InlineApp",
    "InlineFuture",
    "Rebuilder",
    "RemoteTraceback",
    "ShoalWarning",
    "Snapshot",
    "name_files",
    "pack",
    "pack_call",
    "pack_failure",
    "unpack",
    "unpack_call",
    "unpack_failure",
]

_HOMES = {
    "FunctionImage": "image",
    "InlineApp": "inline",
    "InlineFuture": "inline",
    "Rebuilder": "rebuild",
    "RemoteTraceback": "failures",
    "ShoalWarning": "image",
    "Snapshot": "image",
    "name_files": "failures",
    "pack": "pickling",
    "pack_call": "calls",
    "pack_failure": "failures",
    "unpack": "pickling",
    "unpack_call": "calls",
    "unpack_failure": "failures",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal.serialize' has no attribute '{name}'")
    value = getattr(import_module(f"shoal.serialize.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
