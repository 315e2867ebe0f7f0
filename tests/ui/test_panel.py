"""The panel in a browser, with real pools: listed, started, scaled, used and stopped."""

from __future__ import annotations

import re

from harness import Lab, shot
from playwright.sync_api import Locator, Page, expect

START = 30_000
"""Milliseconds within which a pool is up, on a busy machine."""


def card(page: Page, name: str) -> Locator:
    """The card of a pool."""
    return page.locator(f".shoal-Pool[data-pool='{name}']")


def start_pool(page: Page, name: str, workers: int = 1) -> None:
    """Fill in the form and send it."""
    page.get_by_role("button", name="Start a pool").first.click()
    form = page.get_by_role("form", name="Start a pool")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Workers per block").fill(str(workers))
    form.get_by_role("button", name="Start").click()
    expect(form).to_have_count(0, timeout=START)


def test_a_fresh_machine_has_no_pools(page: Page, pools: Lab):
    """With nothing running the panel says so, and what a pool is for."""
    pools.show_panel(page)
    expect(page.get_by_text("No pool is running.")).to_be_visible()
    shot(page, "panel-empty")


def test_the_life_of_a_pool_in_the_panel(page: Page, pools: Lab):
    """A pool started from the panel comes up with its workers, is scaled within its limits, and is stopped."""
    pools.show_panel(page)
    start_pool(page, "teaching", workers=2)
    pool = card(page, "teaching")
    expect(pool.get_by_text("Ready")).to_be_visible(timeout=START)
    expect(pool.locator("[data-number=workers]")).to_contain_text("2, 0 at work")
    shot(page, "panel-pool-light")
    pools.theme(page, "JupyterLab Dark")
    shot(page, "panel-pool-dark")
    pools.theme(page, "JupyterLab Light")

    pool.get_by_role("button", name="One block more").click()
    expect(pool.locator("[data-number=workers]")).to_contain_text("4, 0 at work", timeout=START)
    pool.get_by_role("button", name="One block less").click()
    expect(pool.locator("[data-number=workers]")).to_contain_text("2, 0 at work", timeout=START)

    pool.get_by_role("button", name="Stop pool teaching").click()
    shot(page, "panel-stop")
    page.get_by_role("dialog").get_by_role("button", name="Stop pool teaching").click()
    expect(pool).to_have_count(0, timeout=START)
    assert pools.pool_names() == []


def test_stopping_can_be_thought_over(page: Page, pools: Lab):
    """The question before a pool ends can be answered with no, and that is the first choice."""
    pools.shoal("pool", "start", "kept", "--workers", "1")
    pools.show_panel(page)
    card(page, "kept").get_by_role("button", name="Stop pool kept").click()
    page.get_by_role("dialog").press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert pools.pool_names() == ["kept"]


def test_pools_started_elsewhere_are_listed(page: Page, pools: Lab):
    """A pool of the command line appears by itself, and disappears when it is stopped there."""
    pools.show_panel(page)
    pools.shoal("pool", "start", "elsewhere", "--workers", "1")
    expect(card(page, "elsewhere").get_by_text("Ready")).to_be_visible(timeout=START)
    pools.shoal("pool", "stop", "elsewhere")
    expect(card(page, "elsewhere")).to_have_count(0, timeout=START)


def test_a_pool_of_the_panel_can_be_stopped_elsewhere(page: Page, pools: Lab):
    """The server that started a pool does not keep its process as a zombie that looks alive."""
    pools.show_panel(page)
    start_pool(page, "mine")
    pools.shoal("pool", "stop", "mine")
    expect(card(page, "mine")).to_have_count(0, timeout=START)


def test_a_name_is_taken_once(page: Page, pools: Lab):
    """The form refuses the name of a running pool; where only the server knows of it, its error stands in the form."""
    pools.show_panel(page)
    pools.shoal("pool", "start", "taken", "--workers", "1")
    expect(card(page, "taken")).to_be_visible(timeout=START)
    page.get_by_role("button", name="Start a pool").first.click()
    form = page.get_by_role("form", name="Start a pool")
    form.get_by_label("Name").fill("taken")
    form.get_by_role("button", name="Start").click()
    expect(form.get_by_text("A pool of this name is running already.")).to_be_visible()

    pools.answer_pools(page, {"version": "0", "pools": []}, method="GET")
    expect(card(page, "taken")).to_have_count(0, timeout=START)
    form.get_by_role("button", name="Start").click()
    expect(form.get_by_role("alert")).to_contain_text("A pool named 'taken' is running already")
    shot(page, "panel-form-error")


def test_scaling_stops_at_the_limit(page: Page, pools: Lab):
    """A pool that may not grow says so when it is asked to."""
    pools.shoal("pool", "start", "small", "--workers", "1", "--max-blocks", "1")
    pools.show_panel(page)
    card(page, "small").get_by_role("button", name="One block more").click()
    expect(page.get_by_text(re.compile("Pool small stays at 1"))).to_be_visible()


def test_a_notebook_attaches_by_a_button(page: Page, pools: Lab):
    """The button inserts a cell that attaches the notebook; the panel then shows the notebook at its pool."""
    pools.shoal("pool", "start", "shared", "--workers", "1")
    pools.show_panel(page)
    use = card(page, "shared").get_by_role("button", name="Use pool shared in the notebook")
    expect(use).to_be_disabled()  # there is no notebook yet
    pools.open_notebook(page, pools.write_notebook("attach.ipynb", "1 + 1"))
    use.click()
    source = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.source")
    assert 'HighThroughputExecutor(pool="shared")' in source
    pools.run_cell(page, 1)
    assert "Error" not in pools.text(page, 1)
    expect(card(page, "shared").locator("[data-number=clients]")).to_contain_text("attach.ipynb", timeout=START)
    shot(page, "panel-attached")


def test_the_code_to_attach_can_be_copied(page: Page, pools: Lab):
    """The clipboard gets the code, and a screen reader hears that it did."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pools.shoal("pool", "start", "copied", "--workers", "1")
    pools.show_panel(page)
    card(page, "copied").get_by_role("button", name="Copy code to attach").click()
    expect(page.locator("#shoal-panel").get_by_role("status")).to_have_text("The code is copied.")
    assert 'pool="copied"' in page.evaluate("() => navigator.clipboard.readText()")


def test_commands_are_in_the_palette(page: Page, pools: Lab):
    """The panel and the form can be reached from the command palette, without a mouse."""
    page.locator("body").press("Control+Shift+C")
    search = page.locator(".lm-CommandPalette-input:visible")
    expect(search).to_be_focused()
    search.fill("Start a Pool")
    expect(page.locator(".lm-CommandPalette-item.lm-mod-active")).to_contain_text("Start a Pool")
    search.press("Enter")
    expect(page.get_by_role("form", name="Start a pool").get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("form", name="Start a pool")).to_have_count(0)
