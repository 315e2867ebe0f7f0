"""A Jupyter server in the test's own process, with Shoal's extension loaded, and pools of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403  fixtures and hooks, for this folder only


@pytest.fixture
def jp_server_config() -> dict[str, object]:
    """The server loads the extension, and leaves it to each route to refuse who brings no token (its default)."""
    return {"ServerApp": {"jpserver_extensions": {"shoal_lab": True, "jupyter_server_terminals": False}}}


@pytest.fixture
def shoal_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of its own, whose pools are ended after the test."""
    home = tmp_path / "shoal"
    monkeypatch.setitem(os.environ, "SHOAL_HOME", str(home))
    yield home
    from shoal.pool import control

    for info in control.list_pools():
        control.stop_pool(info.name)
