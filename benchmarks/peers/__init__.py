"""The systems that are measured: every module of this folder with a tuple ``PEERS``."""

from __future__ import annotations

import importlib
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.peer import Peer


def find_peers() -> dict[str, tuple[str, Peer]]:
    """Each system by name, with the module that it lives in; the project first, then by title."""
    found: list[tuple[str, Peer]] = []
    for module in iter_modules(__path__, f"{__name__}."):
        found += [(module.name, peer) for peer in getattr(importlib.import_module(module.name), "PEERS", ())]
    found.sort(key=lambda entry: (not entry[1].project, entry[1].title))
    return {peer.name: (module, peer) for module, peer in found}


def load_peer(module: str, name: str) -> Peer:
    """One system, without importing the others (their imports would be measured as well).

    Raises:
        KeyError: the module has no system of that name.
    """
    peers: dict[str, Peer] = {peer.name: peer for peer in importlib.import_module(module).PEERS}
    return peers[name]
