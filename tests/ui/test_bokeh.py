"""Plots of Bokeh in notebooks, without a network."""

from __future__ import annotations

from harness import Lab, shot
from playwright.sync_api import Page, expect

PLOT = """\
from bokeh.plotting import figure
from jupyter_bokeh import BokehModel

plot = figure(height=200, width=400, title="squares")
plot.scatter([1, 2, 3, 4], [1, 4, 9, 16], size=12)
BokehModel(plot)
"""


def test_a_plot_shows_and_the_notebook_stays_small(page: Page, lab: Lab):
    """BokehJS comes from the Jupyter server: nothing is fetched from elsewhere, nor stored in the notebook."""
    elsewhere: list[str] = []
    page.on("request", lambda request: None if request.url.startswith(lab.url) else elsewhere.append(request.url))
    lab.open_notebook(page, lab.write_notebook("plot.ipynb", PLOT, kernel="python3"))
    page.wait_for_function("window.Bokeh !== undefined")
    lab.run_cell(page, 0)
    expect(page.locator(".jp-OutputArea .bk-Figure canvas").first).to_be_visible()
    shot(page, "bokeh")
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []
    assert len(str(lab.outputs(page, 0))) < 10_000
