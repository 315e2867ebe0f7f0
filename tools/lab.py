"""Opens JupyterLab on the tour notebook with the Shoal panel beside it, and prints the address. Run by ``make lab``.

What it is given is handed to ``jupyter lab``, after its own options, so that it wins.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from jupyter_server.serverapp import list_running_servers
from jupyterlab_server.workspaces_handler import WorkspacesManager

ROOT = Path(__file__).resolve().parent.parent
TOUR = "binder/00-tour.ipynb"
STATE = ROOT / ".stamps" / "jupyter"
PAGE = f"/lab/workspaces/shoal/tree/{TOUR}"
LAYOUT = {
    "data": {
        "layout-restorer:data": {
            "left": {"collapsed": False, "visible": True, "current": "shoal-panel", "widgets": ["shoal-panel"]}
        }
    },
    "metadata": {"id": "shoal"},
}


def main(arguments: list[str]) -> int:
    """Run the server until it ends or is interrupted; its exit code."""
    workspaces = open_panel_first()
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", f"--LabApp.default_url={PAGE}"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    if not has_browser():
        command.append("--no-browser")
    environment = {**os.environ, "JUPYTERLAB_WORKSPACES_DIR": str(workspaces)}
    server = subprocess.Popen([*command, *arguments], env=environment)
    # The server asks and ends on ctrl-C, which reaches it from the terminal as it reaches this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    announce(server)
    return server.wait()


def open_panel_first() -> Path:
    """The folder of workspaces, in which the first layout shows the panel; later ones are the user's own."""
    workspaces = STATE / "workspaces"
    if not workspaces.exists():
        WorkspacesManager(str(workspaces)).save("shoal", json.dumps(LAYOUT))
    return workspaces


def has_browser() -> bool:
    """Whether a person would see a browser that is opened here."""
    desktop = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))
    return desktop and any(
        shutil.which(name) for name in ("xdg-open", "wslview", "firefox", "chromium", "google-chrome")
    )


def announce(server: subprocess.Popen[bytes]) -> None:
    """Print the address, once the server says it."""
    while server.poll() is None:
        for info in list_running_servers():
            if info["pid"] == server.pid:
                query = urlencode({"token": info["token"]}) if info["token"] else ""
                address = info["url"].rstrip("/") + PAGE + (f"?{query}" if query else "")
                print(f"\nShoal is at {address}\n", flush=True)
                return
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
