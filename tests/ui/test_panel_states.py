"""What the panel says of states that real pools are seldom in, told to the page as the server would tell them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from harness import Lab, shot
from playwright.sync_api import Page, expect


def pool(name: str, **changes: Any) -> dict[str, Any]:
    """A pool at work, with changes."""
    block = {"number": 1, "state": "running", "provider": "local", "job": "1", "since": time.time(), "message": ""}
    return {
        "name": name, "kind": "lasting", "state": "up", "pid": 7, "python": "3.11", "started": time.time() - 4000,
        "owner": "", "clients": ["00-tour.ipynb"], "target": 2, "blocks": [block], "hosts": [], "slots": 4,
        "workers": 3, "running": 2, "queued": 57, "done": 1203, "trouble": "", **changes,
    }  # fmt: skip


MANY = [
    pool("teaching"),
    pool("htex-4711-ab12cd", kind="embedded", owner="analysis.ipynb", queued=0, running=0, slots=2, workers=2, target=1),
    pool("silent", state="not answering"),
    pool("past", state="gone"),
    pool("coming", workers=0, running=0, blocks=[], clients=[]),
    pool("none", workers=0, slots=0, running=0, queued=0, target=0, blocks=[], clients=[]),
    pool(
        "broken", workers=0, slots=0, running=0, queued=3, blocks=[], clients=[],
        trouble="workers of 'broken' do not start: exit code 1\nIt wrote:\n    ModuleNotFoundError: No module named 'x'",
    ),
]  # fmt: skip
WORDS = {
    "teaching": "Working",
    "htex-4711-ab12cd": "Ready",
    "silent": "Not answering",
    "past": "Gone",
    "coming": "Starting workers",
    "none": "No blocks",
    "broken": "In trouble",
}


def tell(lab: Lab, page: Page, pools: list[dict[str, Any]]) -> None:
    """Show the panel with these pools."""
    lab.answer_pools(page, {"version": "0", "pools": pools})
    lab.show_panel(page)


def test_every_state_has_its_word(page: Page, lab: Lab):
    """States are told in words, beside their shapes and colours."""
    tell(lab, page, MANY)
    for name, word in WORDS.items():
        expect(page.locator(f"[data-pool='{name}'] .shoal-State")).to_have_text(word)
    expect(page.locator("[data-pool=teaching] [data-number=tasks]")).to_have_text(
        "2\u00a0running, 57\u00a0queued, 1203\u00a0done"
    )
    expect(page.locator("[data-pool=teaching] [data-number=blocks]")).to_contain_text("1 of 2")
    expect(page.locator("[data-pool='htex-4711-ab12cd']")).to_contain_text("Ends with analysis.ipynb")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_the_panel_is_accessible(page: Page, lab: Lab, theme: str):
    """An accessibility checker finds nothing to blame in the panel, in any theme, with the form open or not."""
    tell(lab, page, MANY)
    lab.theme(page, theme)
    expect(page.locator(".shoal-Pool")).to_have_count(len(MANY))
    for _ in range(2):
        found = Axe().run(page, context="#shoal-panel")
        assert found.violations_count == 0, found.generate_report()
        page.get_by_role("button", name="Start a pool").first.click()
    shot(page, f"panel-states-{theme.split(maxsplit=1)[1].lower().replace(' ', '-')}")


def test_trouble_can_be_unfolded(page: Page, lab: Lab):
    """One line says what is wrong; the rest of it, with what the workers wrote, is a click away."""
    tell(lab, page, MANY)
    broken = page.locator("[data-pool=broken]")
    expect(broken.get_by_text("workers of 'broken' do not start: exit code 1").first).to_be_visible()
    expect(broken.locator("pre")).to_be_hidden()
    broken.locator("summary").click()
    expect(broken.locator("pre")).to_contain_text("ModuleNotFoundError")


def test_a_server_without_the_extension_is_told(page: Page, lab: Lab):
    """Where the server extension is missing the panel says what to do, and offers nothing that cannot work."""
    lab.answer_pools(page, {"message": "Not Found", "reason": None}, status=404)
    lab.show_panel(page)
    expect(page.get_by_role("alert")).to_contain_text("This Jupyter server has no Shoal extension")
    expect(page.get_by_role("button", name="Start a pool").first).to_be_disabled()


def test_a_server_that_answers_an_error_is_told(page: Page, lab: Lab):
    """An error of the server is shown with what was known last, and goes away when all is well again."""
    tell(lab, page, [pool("known")])
    expect(page.locator("[data-pool=known]")).to_be_visible()
    lab.answer_pools(page, {"error": "OSError", "message": "the folder is gone.", "fix": "Mount it."}, status=422)
    expect(page.get_by_role("alert")).to_contain_text("The folder is gone. Mount it.", timeout=10_000)
    expect(page.get_by_role("alert")).to_contain_text("Below is what was known last.")
    expect(page.locator("[data-pool=known]")).to_be_visible()
    shot(page, "panel-server-error")
    lab.answer_pools(page, {"version": "0", "pools": []})
    page.get_by_role("button", name="Refresh the list of pools").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_unreachable_server_is_told(page: Page, lab: Lab):
    """A broken connection is said to be one, and the panel goes on asking."""
    tell(lab, page, [pool("known")])
    page.unroute("**/shoal/pools*")
    page.route("**/shoal/pools*", lambda route: route.abort())
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached", timeout=10_000)


def test_the_form_checks_before_it_sends(page: Page, lab: Lab):
    """Mistakes are marked beside their fields, the first one gets the focus, and nothing is sent."""
    sent: list[str] = []
    tell(lab, page, [])
    page.on("request", lambda request: sent.append(request.method) if "/shoal/" in request.url else None)
    page.get_by_role("button", name="Start a pool").first.click()
    form = page.get_by_role("form", name="Start a pool")
    form.get_by_label("Name").fill("two words")
    form.get_by_label("Workers per block").fill("0")
    form.get_by_label("Blocks", exact=True).fill("three")
    form.get_by_label("At most").fill("0")
    form.get_by_role("button", name="Start").click()
    expect(form.locator("[aria-invalid=true]")).to_have_count(4)
    expect(form.get_by_label("Name")).to_be_focused()
    expect(form.get_by_label("Name")).to_have_accessible_description(
        'Use letters, digits, "-" and "_", and begin with a letter or a digit.'
    )
    assert "POST" not in sent
    shot(page, "panel-form-problems")
