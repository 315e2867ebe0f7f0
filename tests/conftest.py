"""Marks tests by the folder that they stand in, so that `-m "not ui"` and its kin work everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDERS = {"ui": pytest.mark.ui, "integration": pytest.mark.integration}
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            mark = FOLDERS.get(item.path.relative_to(HERE).parts[0])
            if mark is not None:
                item.add_marker(mark)
