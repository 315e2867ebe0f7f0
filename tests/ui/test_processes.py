"""What is left when JupyterLab ends: nothing, but pools that were started to last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import Lab
from playwright.sync_api import Browser

NOTEBOOK = """\
import shoal
shoal.load(shoal.Config(executors=[shoal.HighThroughputExecutor(label="own", max_workers_per_node=2)]))

@shoal.python_app
def double(x):
    return 2 * x

print(double(21).result())
"""


@pytest.fixture
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server for one test, which may end it."""
    server = Lab(tmp_path_factory.mktemp("own-lab"))
    server.start()
    yield server
    server.stop_pools()
    server.stop()
    assert server.processes_gone(within=15)


@pytest.mark.parametrize("lasting", [False, True], ids=["embedded", "lasting"])
def test_only_lasting_pools_outlive_the_server(own_lab: Lab, browser: Browser, lasting: bool):
    """A notebook's own pool ends with JupyterLab, with every process of it; one that was started to last stays."""
    page = browser.new_context().new_page()
    own_lab.open(page)
    if lasting:
        own_lab.shoal("pool", "start", "stays", "--workers", "1")
    own_lab.open_notebook(page, own_lab.write_notebook("own.ipynb", NOTEBOOK))
    own_lab.run_cell(page, 0)
    assert "42" in own_lab.text(page, 0), own_lab.text(page, 0)
    page.context.close()
    own_lab.stop()
    if not lasting:
        assert own_lab.processes_gone(within=15), own_lab.processes()
        assert own_lab.pool_names() == []
        return
    # supervisor, pool, manager and worker of the one that lasts
    assert own_lab.processes_gone(within=15, keep=4), own_lab.processes()
    assert own_lab.pool_names() == ["stays"]
    assert "stays" in own_lab.shoal("pool", "list")
