"""JupyterLab in a headless browser: a server of its own for all tests, a fresh page for each.

Fixtures: ``lab`` (the running server, and everything that a test does with it), ``page`` (a page on which JupyterLab is
loaded). What they start they stop, and pools that a test left behind are ended with them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from harness import BROWSER_FLAGS, BROWSERS, Lab
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running JupyterLab with a home, settings and pools of its own."""
    server = Lab(tmp_path_factory.mktemp("lab"))
    server.start()
    yield server
    server.stop_pools()
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium. One for each module: its event loop must not outlive the tests that use it."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """A page on which JupyterLab is loaded, with a fresh workspace; errors of its scripts fail the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    tab = context.new_page()
    broken: list[str] = []
    tab.on("pageerror", lambda error: broken.append(f"{error}\n{error.stack}"))
    lab.theme_setting.unlink(missing_ok=True)
    lab.open(tab)
    yield tab
    context.close()
    assert broken == []


@pytest.fixture
def pools(lab: Lab) -> Iterator[Lab]:
    """The server, with no pool before the test and none after it."""
    lab.stop_pools()
    yield lab
    lab.stop_pools()
