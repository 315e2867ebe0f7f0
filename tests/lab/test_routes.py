"""The routes: who is let in, what comes back, and that the server stays awake meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from shoal_lab import views
from shoal_lab.models import PoolList

# A stranger who has got past the check against forged requests: what stops him now is that he is nobody.
STRANGER = {"Cookie": "_xsrf=0123456789abcdef", "X-XSRFToken": "0123456789abcdef"}
ROUTES = [
    (("shoal", "pools"), "GET", None),
    (("shoal", "pools"), "POST", '{"name": "x"}'),
    (("shoal", "pools", "x"), "PATCH", '{"blocks": 1}'),
    (("shoal", "pools", "x"), "DELETE", None),
    (("shoal", "bokeh", "bokeh.min.js"), "GET", None),
]


async def refused(request: Any) -> tuple[int, dict[str, Any]]:
    """The status and the body of a request that must fail."""
    with pytest.raises(HTTPClientError) as failed:
        await request
    return failed.value.code, json.loads(failed.value.response.body)


@pytest.mark.parametrize(("parts", "method", "body"), ROUTES)
async def test_nobody_gets_in_without_a_token(jp_serverapp, http_server_client, parts, method, body):
    """Every verb of every route answers 403 to a stranger, and does nothing."""
    address = jp_serverapp.base_url + "/".join(parts)
    with pytest.raises(HTTPClientError) as failed:
        await http_server_client.fetch(
            address, method=method, body=body, headers=STRANGER, follow_redirects=False, allow_nonstandard_methods=True
        )
    assert failed.value.code in (302, 403)


@pytest.mark.parametrize(("parts", "method", "body"), ROUTES)
async def test_a_wrong_token_is_no_token(jp_serverapp, jp_fetch, parts, method, body):
    """A guess does not help either."""
    with pytest.raises(HTTPClientError) as failed:
        await jp_fetch(
            *parts, method=method, body=body, headers={**STRANGER, "Authorization": "token guess"}, follow_redirects=False,
            allow_nonstandard_methods=True,
        )  # fmt: skip
    assert failed.value.code in (302, 403)


@pytest.mark.usefixtures("shoal_home")
async def test_no_pools_are_an_empty_list(jp_fetch):
    """On a fresh machine the list is empty and tells the version."""
    response = await jp_fetch("shoal", "pools")
    assert json.loads(response.body) == {"version": views.VERSION, "pools": []}


@pytest.mark.usefixtures("shoal_home")
async def test_mistakes_come_back_with_their_fix(jp_fetch):
    """A pool that is not there is 404, a name that cannot be is 400; both say what to do."""
    code, body = await refused(jp_fetch("shoal", "pools", "nobody", method="DELETE"))
    assert (code, body["error"]) == (404, "PoolNotFound")
    code, body = await refused(jp_fetch("shoal", "pools", method="POST", body='{"name": "a b"}'))
    assert (code, body["error"]) == (400, "ConfigurationError")
    assert body["fix"]
    code, body = await refused(jp_fetch("shoal", "pools", method="POST", body="nonsense"))
    assert (code, body["error"]) == (400, "ConfigurationError")


async def test_the_server_serves_others_meanwhile(jp_fetch, monkeypatch):
    """While a pool takes its time to answer, the server answers everybody else."""
    answer = threading.Event()

    def slow() -> PoolList:
        assert answer.wait(10)
        return PoolList("0", [])

    monkeypatch.setattr(views, "list_pools", slow)
    waiting = asyncio.ensure_future(jp_fetch("shoal", "pools"))
    status = await jp_fetch("api", "status")
    assert status.code == 200
    assert not waiting.done()
    answer.set()
    assert json.loads((await waiting).body)["pools"] == []


@pytest.mark.usefixtures("shoal_home")
async def test_the_life_of_a_pool(jp_fetch):
    """A pool is started, seen with its workers, scaled, not started twice, and stopped."""
    wanted = {"name": "life", "max_workers_per_node": 1, "init_blocks": 1, "max_blocks": 2}
    started = await jp_fetch("shoal", "pools", method="POST", body=json.dumps(wanted), request_timeout=60)
    [pool] = json.loads(started.body)["pools"]
    assert (pool["name"], pool["kind"], pool["state"], pool["target"]) == ("life", "lasting", "up", 1)

    code, body = await refused(jp_fetch("shoal", "pools", method="POST", body=json.dumps(wanted)))
    assert (code, body["error"]) == (409, "PoolExists")

    scaled = await jp_fetch("shoal", "pools", "life", method="PATCH", body='{"blocks": 2}')
    assert json.loads(scaled.body)["pools"][0]["target"] == 2
    for _ in range(100):
        [pool] = json.loads((await jp_fetch("shoal", "pools")).body)["pools"]
        if pool["workers"] == 2:
            break
        await asyncio.sleep(0.1)
    assert pool["workers"] == 2
    assert {block["state"] for block in pool["blocks"]} == {"running"}

    stopped = await jp_fetch("shoal", "pools", "life", method="DELETE", request_timeout=60)
    assert json.loads(stopped.body)["pools"] == []


async def test_bokeh_comes_from_this_server(jp_fetch):
    """The page gets BokehJS of the installed Bokeh, and no other file of it."""
    response = await jp_fetch("shoal", "bokeh", "bokeh.min.js")
    assert response.headers["Content-Type"].startswith(("text/javascript", "application/javascript"))
    assert len(response.body) > 100_000
    with pytest.raises(HTTPClientError) as failed:
        await jp_fetch("shoal", "bokeh", "..%2Fserver.py")
    assert failed.value.code == 404
