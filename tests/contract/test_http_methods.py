"""HTTP as clients use it: HEAD, Allow, CORS, schemes of any case, JSON without its type, times and cursors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from schemas.domain import JobOptions
from schemas.settings import AuthSettings
from tests.contract.gateway import USER_KEY, Running, quick_settings, running
from tests.support.lakehouse_kit import new_job

pytestmark = pytest.mark.contract

PAGE = "https://app.example.org"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


async def jobs(gateway: Running, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await gateway.ledger.jobs.create(new_job(f"recording {number}", account="default", options=JobOptions()))


async def test_head_answers_as_get_without_a_body(gateway: Running, client: httpx.AsyncClient) -> None:
    await jobs(gateway, 1)
    paths = ["/health", "/transcriptions", "/transcriptions/1", "/history", "/v1/models", "/vui/voices", "/docs"]
    for path in [*paths, "/transcriptions/99", "/nowhere"]:
        got, head = await client.get(path), await client.head(path)
        assert head.status_code == got.status_code, path
        assert head.headers.get("content-type") == got.headers.get("content-type"), path
        assert head.content == b""
    async with asyncio.timeout(60):
        assert (await client.head("/transcriptions/1/events")).status_code == 200
    async with gateway.client(None) as stranger:
        assert (await stranger.head("/transcriptions")).status_code == 401


async def test_every_405_names_all_methods_of_its_path(client: httpx.AsyncClient) -> None:
    for path, allow in {
        "/transcriptions/1": "HEAD, GET, DELETE",
        "/transcriptions": "HEAD, GET",
        "/submit": "POST",
        "/v1/webhooks": "HEAD, GET, POST",
    }.items():
        answer = await client.request("PUT", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)
        assert answer.json()["error"]["code"] == "method_not_allowed"


async def test_no_page_of_another_origin_may_use_the_api_by_default(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health", headers={"Origin": PAGE})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert (await client.options("/submit", headers=PREFLIGHT)).status_code == 405


@pytest.mark.parametrize(("origins", "told"), [(f"https://other.example.org, {PAGE}", PAGE), ("*", "*")])
async def test_pages_of_the_listed_origins_may(origins: str, told: str, tmp_path: Path) -> None:
    settings = quick_settings(tmp_path).model_copy(update={"auth": AuthSettings(cors_origins=origins)})
    async with running(tmp_path, settings) as gateway, gateway.client() as client, gateway.client(None) as stranger:
        preflight = await stranger.options("/submit", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == told
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        answer = await client.get("/transcriptions", headers={"Origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == told
        refused = await stranger.get("/transcriptions", headers={"Origin": PAGE})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, told)
        unlisted = await stranger.options("/submit", headers={**PREFLIGHT, "Origin": "https://evil.example.org"})
        assert (unlisted.status_code == 200) == (origins == "*")


def test_an_origin_that_is_none_is_refused_by_the_settings() -> None:
    for wrong in ("app.example.org", "https://a.org/path", "https://a.org, b"):
        with pytest.raises(ValidationError, match="is no origin"):
            AuthSettings(cors_origins=wrong)


@pytest.mark.parametrize("scheme", ["", "Bearer ", "bearer ", "BEARER  ", " Bearer "])
async def test_a_key_may_follow_its_scheme_in_any_case(scheme: str, gateway: Running) -> None:
    async with gateway.client(f"{scheme}{USER_KEY}") as client:
        assert (await client.get("/transcriptions")).status_code == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
async def test_json_without_its_type_is_told_so(kind: str, client: httpx.AsyncClient) -> None:
    body = b'{"voice": "maeve", "input": "Hello."}'
    answer = await client.post("/vui/v1/tts", content=body, headers={"Content-Type": kind})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "not_json")
    assert kind in error["message"]
    assert "Content-Type: application/json" in error["message"]


async def test_times_may_be_written_as_people_write_them(gateway: Running, client: httpx.AsyncClient) -> None:
    await jobs(gateway, 1)
    for early in ("2020-01-01T00:00:00+01", "2020-01-01t00:00:00z", "2020-01-01T00:00:00 01", "2020-01-01", "1577836800"):
        answer = (await client.get(f"/history?since={early}")).raise_for_status()
        assert answer.json()["total"] == 1
        assert (await client.get(f"/history?until={early}")).json()["total"] == 0
    wrong = await client.get("/history?since=1577836800000")
    assert wrong.status_code == 422
    assert "these are milliseconds; give seconds since 1970, 1577836800.000" in wrong.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/history", "/history/transcriptions"])
@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_a_cursor_shows_each_item_once_while_others_come(
    path: str, order: str, gateway: Running, client: httpx.AsyncClient
) -> None:
    await jobs(gateway, 7)
    seen: list[int] = []
    params: dict[str, Any] = {"limit": 3, "order": order}
    while True:
        page = (await client.get(path, params=params)).raise_for_status().json()
        seen += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            break
        params["cursor"] = page["next_cursor"]
        if len(seen) == 3:
            await jobs(gateway, 2, first=7)
    assert seen == ([7, 6, 5, 4, 3, 2, 1] if order == "desc" else [1, 2, 3, 4, 5, 6, 7, 8, 9])


async def test_a_cursor_that_is_none_is_refused_by_name(client: httpx.AsyncClient) -> None:
    for params in ({"cursor": "abc"}, {"cursor": ""}, {"cursor": "WzEsMSwiZGVzYyJd", "order": "asc"}):
        answer = await client.get("/history", params=params)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "cursor")
