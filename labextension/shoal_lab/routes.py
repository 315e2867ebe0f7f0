"""The addresses below ``/shoal``: authenticated, thin, and never blocking the server's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, AuthenticatedFileHandler
from jupyter_server.utils import url_path_join
from tornado import web

from shoal.errors import ShoalError
from shoal_lab import views
from shoal_lab.models import PoolList

__all__ = ["PoolHandler", "PoolsHandler", "handlers"]

_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="shoal-lab")
"""Questions to pools wait here for their answers, so that the server serves everybody else meanwhile."""


class _Handler(APIHandler):
    auth_resource = "shoal"

    async def answer(self, view: Callable[..., PoolList], *args: Any) -> None:
        """Run a view on a thread, and send what it returns or why it could not."""
        try:
            result: msgspec.Struct = await asyncio.get_running_loop().run_in_executor(_THREADS, view, *args)
        except ShoalError as error:
            status, result = views.describe(error)
            self.set_status(status)
        self.set_header("Content-Type", "application/json")
        await self.finish(msgspec.json.encode(result))


class PoolsHandler(_Handler):
    """All pools: ``/shoal/pools``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """List them."""
        await self.answer(views.list_pools)

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start one."""
        await self.answer(views.start_pool, self.request.body)


class PoolHandler(_Handler):
    """One pool: ``/shoal/pools/NAME``."""

    @web.authenticated
    @authorized
    async def patch(self, name: str) -> None:
        """Scale it."""
        await self.answer(views.scale_pool, name, self.request.body)

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Stop it."""
        await self.answer(views.stop_pool, name)


def handlers(base_url: str) -> list[tuple[Any, ...]]:
    """The routes, below the server's own base address."""
    pools = url_path_join(base_url, "shoal", "pools")
    return [
        (pools, PoolsHandler),
        (url_path_join(pools, "([^/]+)"), PoolHandler),
        *_bokeh(url_path_join(base_url, "shoal", "bokeh", r"(bokeh[\w-]*\.min\.js)")),
    ]


def _bokeh(pattern: str) -> list[tuple[Any, ...]]:
    """BokehJS as the Bokeh that is installed here brings it; no route where there is none."""
    found = find_spec("bokeh")
    if found is None or found.origin is None:
        return []
    folder = Path(found.origin).parent / "server" / "static" / "js"
    return [(pattern, AuthenticatedFileHandler, {"path": str(folder)})]
