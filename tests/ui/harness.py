"""A JupyterLab server in a process of its own, and what tests do with it and with its pages."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, Route

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
TOKEN = "test-token"
SHOTS = Path(__file__).parent / "screenshots"
PANEL = "shoal-panel"

OPEN_NOTEBOOK = """async path => {
  const app = window.jupyterapp;
  await app.restored;
  const widget = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
  await widget.context.ready;
  await widget.sessionContext.ready;
  await widget.sessionContext.session.kernel.info;
  app.shell.activateById(widget.id);
}"""
# Does not wait for the kernel, which answers JupyterLab only when its cell has ended.
OPEN_ONLY = """async path => {
  const app = window.jupyterapp;
  await app.restored;
  const widget = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
  await widget.context.ready;
  app.shell.activateById(widget.id);
}"""
CELL = "index => window.jupyterapp.shell.currentWidget.content.widgets[index].model"


class Lab:
    """One JupyterLab server.

    Args:
        folder: where it keeps its home, its settings and its notebooks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.mark = uuid.uuid4().hex
        self.log = folder / "server.log"
        home = folder / "home"
        settings = folder / "settings"
        for path in (self.root, home, settings):
            path.mkdir()
        quiet = settings / "@jupyterlab" / "apputils-extension"
        quiet.mkdir(parents=True)
        (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "SHOAL", "XDG"))
        }
        self.environment = {
            **inherited,
            "HOME": str(home),
            "IPYTHONDIR": str(home / ".ipython"),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "SHOAL_HOME": str(folder / "shoal"),
            "SHOAL_TEST_MARK": self.mark,
        }
        # where a page notes the theme that it was given
        self.theme_setting = quiet / "themes.jupyterlab-settings"
        self._server: subprocess.Popen[bytes] | None = None
        self.url = ""

    # ------------------------------------------------------------------ the server

    def start(self) -> None:
        """Start it and wait until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [
            *(sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}"),
            *("--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.root}"),
            *("--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"),
        ]
        with self.log.open("wb") as log:
            self._server = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._server.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/status?token={TOKEN}", timeout=2) as response:
                return response.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def stop(self) -> None:
        """End it as a terminal does that is closed, and wait for it."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait(15)

    # ------------------------------------------------------------------ pools and processes

    def shoal(self, *words: str) -> str:
        """Run the command line with the same pools as the server; what it prints."""
        code = "import sys; from shoal.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pool_names(self) -> list[str]:
        """The pools that have a connection file."""
        return sorted(file.stem for file in (self.folder / "shoal" / "pools").glob("*.json"))

    def stop_pools(self) -> None:
        """End every pool."""
        for name in self.pool_names():
            self.shoal("pool", "stop", name)

    def processes(self) -> list[psutil.Process]:
        """Every process that this server or anything below it started, detached ones included."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get("SHOAL_TEST_MARK") == self.mark
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def processes_gone(self, within: float, keep: int = 0) -> bool:
        """Whether at most ``keep`` of them are left within some seconds."""
        deadline = time.monotonic() + within
        while len(self.processes()) > keep:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    # ------------------------------------------------------------------ pages

    def open(self, page: Page, path: str = "/lab") -> None:
        """Load JupyterLab in a page, with a fresh workspace, and wait until it is ready."""
        page.goto(f"{self.url}{path}?token={TOKEN}&reset")
        page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        page.evaluate("async () => { await window.jupyterapp.restored; }")

    def write_notebook(self, name: str, *cells: str, kernel: str = "shoal") -> str:
        """Write a notebook of code cells below the server's root; its path there."""
        import nbformat
        from nbformat.v4 import new_code_cell, new_notebook

        notebook = new_notebook(
            cells=[new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
        )
        nbformat.write(notebook, self.root / name)
        return name

    def open_notebook(self, page: Page, path: str) -> None:
        """Open a notebook and wait for its kernel."""
        page.evaluate(OPEN_NOTEBOOK, path)

    def reload(self, page: Page, path: str) -> None:
        """Load the page anew and open a notebook in it, whatever its kernel does meanwhile."""
        page.reload()
        page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        page.evaluate(OPEN_ONLY, path)

    def restart_kernel(self, page: Page) -> None:
        """Restart the kernel of the current notebook, and wait until it answers."""
        page.evaluate(
            """async () => {
              const context = window.jupyterapp.shell.currentWidget.sessionContext;
              await context.restartKernel();
              await context.session.kernel.requestKernelInfo();
            }"""
        )

    def fill(self, page: Page, *cells: str) -> None:
        """Give the current notebook other cells; its kernel stays."""
        page.evaluate(
            """sources => {
              const notebook = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
              const cells = sources.map(source => ({cell_type: 'code', source, metadata: {}, outputs: [], execution_count: null}));
              notebook.transact(() => {
                notebook.deleteCellRange(0, notebook.cells.length);
                notebook.insertCells(0, cells);
              });
            }""",
            list(cells),
        )

    def save(self, page: Page, path: str) -> list[dict[str, Any]]:
        """Save the current notebook; the cells as they are in the file then."""
        page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); }")
        return list(json.loads((self.root / path).read_text())["cells"])

    def run_cell(self, page: Page, index: int, wait: float | None = 60.0) -> None:
        """Run one cell of the current notebook.

        Args:
            page: where the notebook is open.
            index: which cell.
            wait: seconds to wait for its end; None: do not wait.
        """
        page.evaluate(
            """async index => {
              const app = window.jupyterapp;
              const notebook = app.shell.currentWidget.content;
              notebook.activeCellIndex = index;
              notebook.deselectAll();
              void app.commands.execute('notebook:run-cell');
            }""",
            index,
        )
        if wait is not None:
            self.wait_for_cell(page, index, wait)

    def wait_for_cell(self, page: Page, index: int, wait: float = 60.0) -> None:
        """Wait until a cell that was started has ended."""
        page.wait_for_function(
            f"index => {{ const m = ({CELL})(index); return m.executionState === 'idle' && m.executionCount !== null; }}",
            arg=index,
            timeout=wait * 1000,
        )

    def run_all(self, page: Page, wait: float = 120.0) -> None:
        """Run every cell of the current notebook, and wait for the end of it all."""
        page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        page.wait_for_function(
            """() => window.jupyterapp.shell.currentWidget.content.widgets
              .filter(cell => cell.model.type === 'code' && cell.model.sharedModel.source.trim())
              .every(cell => cell.model.executionState === 'idle' && cell.model.executionCount !== null)""",
            timeout=wait * 1000,
        )

    def outputs(self, page: Page, index: int) -> list[dict[str, Any]]:
        """The outputs of a cell as the notebook would save them (windowing hides some of them from the page)."""
        return page.evaluate(f"index => ({CELL})(index).outputs.toJSON()", index)

    def text(self, page: Page, index: int) -> str:
        """What a cell printed, its plain results, and its errors."""
        parts = []
        for output in self.outputs(page, index):
            parts.append(output.get("text", ""))
            parts.append(output.get("data", {}).get("text/plain", ""))
            parts.append("\n".join(output.get("traceback", [])))
        return "".join("".join(part) for part in parts)

    def show_panel(self, page: Page) -> None:
        """Bring the Shoal panel to the front of the left sidebar."""
        page.evaluate("async () => { await window.jupyterapp.commands.execute('shoal:show-panel'); }")
        page.wait_for_selector(f"#{PANEL}:visible")

    def theme(self, page: Page, name: str) -> None:
        """Change the theme, for example to 'JupyterLab Dark', and wait until it shows."""
        page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached")
        # JupyterLab stumbles over its own splash screen when themes follow each other faster than it fades.
        page.wait_for_selector("#jupyterlab-splash", state="detached")

    def answer_pools(self, page: Page, body: dict[str, Any], status: int = 200, method: str | None = None) -> None:
        """Let a page see these pools, whatever the server would say.

        Args:
            page: which page.
            body: what it gets, as JSON.
            status: the HTTP status.
            method: only for requests of this method; None: for all.
        """

        def answer(route: Route) -> None:
            if method in (None, route.request.method):
                route.fulfill(status=status, json=body)
            else:
                route.continue_()

        page.unroute("**/shoal/pools*")
        page.route("**/shoal/pools*", answer)


def shot(page: Page, name: str) -> Path:
    """Take a screenshot into the folder of screenshots."""
    SHOTS.mkdir(exist_ok=True)
    path = SHOTS / f"{name}.png"
    page.screenshot(path=str(path))
    return path
