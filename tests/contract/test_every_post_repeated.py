"""Every POST route keeps what `Idempotency-Key` promises: the same answer again, 422 for another request, 409 meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
import pytest
from fastapi.routing import APIRoute

from lakehouse.storage.signed_urls import home_secret
from serve.gateway.fastapi_app import _BARE, _ROUTERS
from serve.services.stored_answers import StoredAnswers
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.contract.post_requests import ASKS, World
from tests.contract.test_openai_transcriptions import working

pytestmark = pytest.mark.contract

REPLAYED: Final = "idempotent-replayed"
ACCOUNTS: Final = {USER_KEY: "default", OPERATOR_KEY: "operator"}
"""The account of each key of `running`."""


def posts(gateway: Running) -> set[str]:
    """The paths of all POST routes; more than the OpenAPI shows."""
    routes = (route for router in (*_BARE, *_ROUTERS) for route in router.routes)
    routed = {route.path for route in routes if isinstance(route, APIRoute) and "POST" in route.methods}
    shown = {path for path, methods in gateway.app.openapi()["paths"].items() if "post" in methods}
    assert shown <= routed
    return routed


async def broken(world: World, path: str) -> str | None:
    """What of the promise does not hold for a route."""
    ask = await ASKS[path](world)
    http = world.user if ask.key == USER_KEY else world.operator
    key = f"of {path}"

    async def post(**further: str) -> httpx.Response:
        options = {**ask.options, "params": {**ask.options.get("params", {}), **further}}
        return await http.post(ask.path, headers={"Idempotency-Key": key}, timeout=120, **options)

    services = world.gateway.services
    elsewhere = StoredAnswers(services.objects, home_secret(services.settings.home)).request(ACCOUNTS[ask.key], key)
    await elsewhere.claim()
    meanwhile = await post()
    if (meanwhile.status_code, meanwhile.headers.get("retry-after")) != (409, "1"):
        return f"while another gateway carries it out: {meanwhile.status_code} {meanwhile.text[:200]}"
    await elsewhere.release()
    first = await post()
    if first.status_code != 200 or REPLAYED in first.headers:
        return f"first: {first.status_code} {first.text[:300]}"
    again = await post()
    if (again.status_code, again.content, again.headers.get(REPLAYED)) != (200, first.content, "true"):
        return f"again: {again.status_code} {again.headers} {again.text[:300]}"
    if again.headers["content-type"] != first.headers["content-type"]:
        return f"again as {again.headers['content-type']}"
    other = await post(another="request")
    if other.status_code != 422 or other.json()["error"]["code"] != "idempotency_key_reused":
        return f"another request: {other.status_code} {other.text[:200]}"
    return None


@pytest.mark.timeout(600)
async def test_every_post_route_replays_refuses_another_request_and_one_at_the_same_time(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "home") as gateway,
        gateway.client() as user,
        gateway.client(OPERATOR_KEY) as operator,
    ):
        assert set(ASKS) == posts(gateway), "a route without a request here, or the other way round"
        await gateway.services.engines.recognizer()  # loaded
        world = World(gateway, user, operator)
        async with working(gateway):
            waiting = ("/v1/audio/transcriptions", "/v1/audio/translations")
            found = {path: await broken(world, path) for path in waiting}
        found |= {path: await broken(world, path) for path in sorted(set(ASKS) - set(waiting))}
    assert {path: one for path, one in found.items() if one} == {}
