"""A restart of the kernel in JupyterLab, and what ``%attach`` brings back below the very cells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from harness import Lab, shot
from playwright.sync_api import Page, expect

POOL = "lasting"
NOTEBOOK = "attach.ipynb"
CELLS = (
    f"%use {POOL}\nimport os, time",
    "%%task --name fit\nfor i in range(8):\n    print('fit', i)\n    time.sleep(0.5)\nmodel = i\nmodel",
    "%%task --name check\nscore = model * 10\nprint('checked')\nscore",
    "%%localtask\nlocal = time.sleep(60)",
    "%%task --name late\nlate = (local, score)",
    "%attach",
    "print('score', score.result())",
)


@pytest.fixture
def lasting(pools: Lab) -> Lab:
    """The server, with a pool that lasts."""
    pools.shoal("pool", "start", POOL, "--workers", "2")
    return pools


def until(page: Page, condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 45
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        page.wait_for_timeout(50)


def test_a_restarted_kernel_gets_its_tasks_back(page: Page, lasting: Lab) -> None:
    """They have gone on; text, values and states appear below their own cells, are saved there, and names hold futures again."""
    lab = lasting
    lab.open_notebook(page, lab.write_notebook(NOTEBOOK, *CELLS))
    for index in range(5):
        lab.run_cell(page, index)
    until(page, lambda: "fit 1\n" in lab.text(page, 1))
    lab.restart_kernel(page)
    line = page.locator(".jp-Notebook-cell").nth(1).locator(".shoal-Task")
    expect(line).to_contain_text("kernel restarted", timeout=30_000)
    lab.run_cell(page, 5)
    assert "tasks of the kernel that ended" in lab.text(page, 5)
    until(page, lambda: "fit 7\n" in lab.text(page, 1))
    until(page, lambda: "checked" in lab.text(page, 2))
    until(page, lambda: "SessionLost" in lab.text(page, 4))
    shot(page, "attach")
    assert lab.text(page, 1).count("fit 0\n") == 1
    assert "".join(f"fit {i}\n" for i in range(8)) in lab.text(page, 1)
    assert "it waited for 'local'" in lab.text(page, 4)
    until(page, lambda: line.get_attribute("data-state") == "done")
    lab.run_cell(page, 6)
    assert lab.text(page, 6) == "score 70\n"
    assert "fit 7" not in lab.text(page, 5), "it is below its own cell"
    saved = lab.save(page, NOTEBOOK)
    assert "fit 7" in str(saved[1]["outputs"])
    assert "checked" in str(saved[2]["outputs"])
