"""The JupyterLab side of Shoal: the server extension, and the folder of the prebuilt lab extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__: list[str] = []


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where the prebuilt lab extension lies, for ``jupyter labextension develop``."""
    return [{"src": "labextension", "dest": "shoal-lab"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """That this package is a server extension."""
    return [{"module": "shoal_lab"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Add the routes to a Jupyter server."""
    from shoal_lab.routes import handlers

    server.web_app.add_handlers(".*$", handlers(server.web_app.settings["base_url"]))  # type: ignore[no-untyped-call]
    server.log.info("Shoal: pools are served below %sshoal", server.web_app.settings["base_url"])
