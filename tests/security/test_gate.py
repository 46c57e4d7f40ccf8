"""Access rules: no body is read without permission or above the limit, and every route has a rule."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from schemas.errors import RangeNotSatisfiable
from schemas.scopes import SCOPES, USER_SCOPES, granted
from schemas.settings import EngineSettings, LimitSettings, ServerSettings, Settings, SpeechSettings, StorageSettings
from serve.gateway import fastapi_app
from serve.gateway.access import ANY, OPEN, RULES, AccessRules
from serve.gateway.gate import check_declared, declared_bytes
from serve.gateway.routes.objects import byte_range
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, Running, running
from tests.integration.test_decode import wav

pytestmark = pytest.mark.security

SMALL = LimitSettings(json_max_bytes=2048, max_upload_bytes=4096, frame_max_bytes=1024 * 1024, import_max_bytes=2048)
CHUNK = bytes(64 * 1024)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    settings = Settings(
        server=ServerSettings(home=tmp_path / "home"),
        storage=StorageSettings(fsync=False),
        limits=SMALL,
        speech=SpeechSettings(clone_max_bytes=1024),
    )
    async with running(tmp_path / "home", settings) as started:
        yield started


def operations(gateway: Running) -> list[tuple[str, str]]:
    found = [
        (method.upper(), re.sub(r"{[^}]+}", "1", path))
        for path, methods in gateway.app.openapi()["paths"].items()
        for method in methods
    ]
    assert len(found) > 40
    return found


class Body:
    """An endless body that counts the bytes read."""

    def __init__(self) -> None:
        self.read_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(64):
            self.read_bytes += len(CHUNK)
            yield CHUNK


async def sent(client: httpx.AsyncClient, method: str, path: str, *, declared: bool) -> tuple[httpx.Response, int]:
    body = Body()
    headers = {"Content-Type": "application/json"}
    if declared:
        headers["Content-Length"] = str(64 * len(CHUNK))
    response = await client.request(method, path, content=body.__aiter__(), headers=headers)
    return response, body.read_bytes


@pytest.mark.parametrize("declared", [True, False])
async def test_a_stranger_s_body_is_not_read_on_any_route(gateway: Running, declared: bool) -> None:
    rules = AccessRules.of(gateway.services.settings)
    async with gateway.client("fx_wrong") as stranger:
        for method, path in operations(gateway):
            if rules.is_open(method, path, rules.find(path)):
                continue
            response, read_bytes = await sent(stranger, method, path, declared=declared)
            assert (response.status_code, read_bytes) == (401, 0), (method, path)


@pytest.mark.parametrize("declared", [True, False])
async def test_no_route_reads_more_than_its_limit(gateway: Running, declared: bool) -> None:
    rules = AccessRules.of(gateway.services.settings)
    async with gateway.client(OPERATOR_KEY) as client:
        for method, path in operations(gateway):
            most = rules.body_bytes(rules.find(path))
            response, read_bytes = await sent(client, method, path, declared=declared)
            assert response.status_code < 500, (method, path, response.text)
            assert read_bytes <= (0 if declared and most < 64 * len(CHUNK) else most + len(CHUNK)), (method, path)
            if method in ("POST", "PUT") and declared and most < 64 * len(CHUNK):
                assert response.status_code in (413, 404), (method, path, response.text)


async def test_what_a_key_may_do_is_in_its_scopes(gateway: Running) -> None:
    """Each route refuses all scopes except its own."""
    keys = {}
    for scope in SCOPES:
        _, keys[scope] = await gateway.ledger.keys.create("default", scope, (scope,))
    rules = AccessRules.of(gateway.services.settings)
    for scope, key in keys.items():
        async with gateway.client(key) as client:
            for method, path in operations(gateway):
                rule = rules.find(path)
                assert rule is not None
                if rules.is_open(method, path, rule) or "events" in path:
                    continue
                response = await client.request(method, path)
                allowed = rule.scope == ANY or rule.scope in granted((scope,))
                assert (response.status_code == 403) == (not allowed), (scope, method, path, response.text)


async def test_a_path_written_in_another_way_asks_for_the_same_scope(gateway: Running) -> None:
    """The router finds a route also with a newline behind its path, and decodes what is percent-encoded."""
    _, speaks = await gateway.ledger.keys.create("default", "speaks", ("speak",))
    _, works = await gateway.ledger.keys.create("operator", "works", ("operator",))
    rules, refused = AccessRules.of(gateway.services.settings), 0
    async with gateway.client(speaks) as speaker, gateway.client(works) as worker:
        for method, path in operations(gateway):
            rule = rules.find(path)
            assert rule is not None
            if rule.scope == ANY or rules.is_open(method, path, rule):
                continue
            client = worker if rule.scope in ("speak", "admin") else speaker
            for written in (f"{path}%0A", f"{path}/%0A", f"/%{ord(path[1]):02x}{path[2:]}"):
                response = await client.request(method, written)
                refused += response.status_code == 403
                assert response.status_code in (403, 404), (method, written, response.text)
    assert refused > 100


async def test_a_route_without_a_rule_is_not_served(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter(prefix="/somewhere")

    @router.get("/new")
    async def new() -> None: ...

    with pytest.raises(RuntimeError, match="/somewhere/new has no rule"):
        check_declared([router], AccessRules.of(Settings()))
    monkeypatch.setattr(fastapi_app, "_ROUTERS", (*fastapi_app._ROUTERS, router))
    with pytest.raises(RuntimeError, match="/somewhere/new has no rule"):
        fastapi_app.create_app(gateway.services)


def test_rules_name_scopes_that_exist() -> None:
    assert {rule.scope for rule in RULES} <= {OPEN, ANY, *SCOPES}
    assert granted(("user",)) >= set(USER_SCOPES)
    assert "transcribe" not in granted(("operator",))
    rules = AccessRules.of(Settings())
    found = {path: rules.find(path) for path in ("/", "/nowhere", "/submitted", "//submit", "/vui")}
    assert set(found.values()) == {None}


MANY_DIGITS = st.integers(1, 6000).map(lambda count: "9" * count)
DIGITS = st.text("0123456789²٣۴-, =", max_size=30) | st.text(max_size=20) | MANY_DIGITS


@given(first=DIGITS, last=DIGITS, unit=st.sampled_from(["bytes", "Bytes ", "bits", ""]), size=st.integers(0, 2**40))
def test_any_range_header_is_answered(first: str, last: str, unit: str, size: int) -> None:
    try:
        start, end, status = byte_range(f"{unit}={first}-{last}", size)
    except RangeNotSatisfiable:
        return
    assert (0 <= start < end <= size and status == 206) or (start, end, status) == (0, size, 200)


@given(value=DIGITS)
def test_any_content_length_is_a_number(value: str) -> None:
    raw = value.encode("utf-8")
    length = declared_bytes(Headers(raw=[(b"content-length", raw)]))
    assert length is not None
    assert length >= 0


async def test_headers_of_any_kind_are_no_failure(gateway: Running) -> None:
    weird = ["bytes=²-", "bytes=" + "9" * 5000 + "-", "bytes=-", "-", "\xb2", "1" * 5000, "Bearer", "Basic x", "\t", ","]
    names = ["Range", "Authorization", "Last-Event-ID", "Accept", "X-Request-Id", "Content-Type", "If-Range"]
    async with gateway.client(None) as stranger, gateway.client() as user:
        for name, value, client in itertools.product(names, weird, (stranger, user)):
            for path in ("/transcriptions/1/events", "/objects/a?expires=1&signature=a", "/vui/v1/tts", "/health"):
                headers = [(name.encode(), value.encode("latin-1"))]
                response = await client.request("POST" if "tts" in path else "GET", path, headers=headers)
                assert response.status_code < 500, (name, value, path)


@asynccontextmanager
async def limited(home: Path, **limits: int) -> AsyncIterator[Running]:
    settings = Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        engines=EngineSettings(tts_engine="espeak"),
        limits=LimitSettings(**limits),
    )
    async with running(home, settings) as started:
        yield started


async def test_requests_over_the_limit_get_the_time_of_the_next_attempt(tmp_path: Path) -> None:
    async with limited(tmp_path, requests_per_minute=3) as gateway, gateway.client() as client:
        left = [(await client.get("/transcriptions")).headers["ratelimit-remaining"] for _ in range(3)]
        assert left == ["2", "1", "0"]
        refused = await client.get("/history")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("3", "0")
        # Another key has its own count; workers and what is open to all have none.
        async with gateway.client(OTHER_KEY) as other, gateway.client(OPERATOR_KEY) as worker:
            assert (await other.get("/transcriptions")).status_code == 200
            for _ in range(5):
                assert (await worker.get("/operator/status")).status_code == 200
                assert (await client.get("/health")).status_code == 200


async def test_a_day_s_bytes_of_an_account_are_bounded_declared_or_not(tmp_path: Path) -> None:
    async with limited(tmp_path, upload_bytes_per_day=100_000) as gateway, gateway.client() as client:
        sound = wav(bytes(60_000), rate_hz=16_000)
        assert (await client.post("/submit", content=sound)).status_code == 200
        refused = await client.post("/submit", content=sound)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)

        async def chunks() -> AsyncIterator[bytes]:
            for at in range(0, len(sound), 10_000):
                yield sound[at : at + 10_000]

        assert (await client.post("/submit", content=chunks())).status_code == 429
        async with gateway.client(OTHER_KEY) as other:
            assert (await other.post("/submit", content=chunks())).status_code == 200
