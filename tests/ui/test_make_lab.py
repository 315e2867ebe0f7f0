"""`make lab`: JupyterLab on the tour notebook, with the panel beside it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Lab, shot
from playwright.sync_api import Browser, expect

ROOT = Path(__file__).parents[2]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Lab, str]]:
    """The script behind `make lab`, running in a copy of what it needs; and the address that it printed."""
    surroundings = Lab(tmp_path)  # its home and its pools; the server is the script's own
    for name in ("tools/lab.py", "binder/00-tour.ipynb"):
        copy = tmp_path / "project" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    flags = ["--no-browser", "--port=0", "--LabApp.expose_app_in_browser=True"]
    environment = {**surroundings.environment, "DISPLAY": ""}
    script = subprocess.Popen(
        [sys.executable, str(tmp_path / "project" / "tools" / "lab.py"), *flags],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    lines: list[str] = []
    found = threading.Event()

    def read() -> None:
        for line in script.stdout or ():
            lines.append(line)
            if "Shoal is at" in line:
                found.set()
        found.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert found.wait(30)
    address = re.search(r"Shoal is at (\S+)", "".join(lines))
    assert address, "".join(lines)
    yield surroundings, address.group(1)
    script.send_signal(signal.SIGTERM)
    assert script.wait(15) is not None
    reader.join(15)
    assert surroundings.processes_gone(within=15)


def test_the_tour_opens_with_the_panel(opened: tuple[Lab, str], browser: Browser):
    """The printed address leads to the tour notebook with a kernel, and the panel is in view."""
    _, address = opened
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.goto(address)
    expect(page.locator("#shoal-panel")).to_be_visible(timeout=60_000)
    expect(page.locator("#shoal-panel").get_by_text("No pool is running.")).to_be_visible()
    expect(page.locator(".jp-NotebookPanel:visible")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("tab", name="00-tour.ipynb")).to_be_visible()
    expect(page.locator(".jp-Toolbar-kernelName:visible")).to_contain_text("Python 3", timeout=30_000)
    shot(page, "make-lab")
    page.context.close()
