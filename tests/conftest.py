"""Marks tests by the folder that they stand in, so that `-m "not ui"` and its kin work, and orders them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

FOLDERS = {"ui": pytest.mark.ui, "integration": pytest.mark.integration}
HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Pools of the tests have a state folder of their own: nobody's pools are listed, stopped or left behind."""
    home = os.environ["SHOAL_HOME"] = tempfile.mkdtemp(prefix="shoal-tests-")
    config.add_cleanup(lambda: _forget(home))


def _forget(home: str) -> None:
    """End the pools that tests have left behind, and remove their folder."""
    for file in Path(home).glob("pools/*.json"):
        connection = json.loads(file.read_text())
        print(f"a test left the pool '{connection['name']}' running")
        for pid in (connection.get("supervisor"), connection["pid"]):
            if pid:
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(home, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            mark = FOLDERS.get(item.path.relative_to(HERE).parts[0])
            if mark is not None:
                item.add_marker(mark)
    # The browser comes last: what fails quickly should fail early.
    items.sort(key=lambda item: item.get_closest_marker("ui") is not None)
