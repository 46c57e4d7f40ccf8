"""What is open ends with the key or token that it was opened with: sockets, event streams, renders and uploads."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from fluxions.client import AsyncClient
from schemas.errors import Unauthenticated
from schemas.speech import RenderedChunk, RenderRequest
from serve.gateway import access_watch
from serve.realtime.session import Session
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, Running
from tests.contract.speaking import MAEVE, served
from tests.integration.test_decode import wav
from tests.security.test_keys_and_tokens import gateway_with

pytestmark = pytest.mark.security

LONG_SECS = 60.0
SPEAK = {"voice": MAEVE, "input": "Good morning.", "verify_chunks": False}
REVOKED, TOKEN_ENDED, DELETED = "invalid_api_key", "token_ended", "account_deleted"
DEEPGRAM = "/v1/listen?encoding=linear16&sample_rate=16000"
ASSEMBLYAI = "/v3/ws?sample_rate=16000&encoding=pcm_s16le"


@dataclass
class Shop:
    """An account with a key, at a gateway whose renders never end."""

    gateway: Running
    address: str
    key: str
    key_id: str

    async def made(self, path: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        async with self.gateway.client(key or self.key) as client:
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

    async def token(self) -> str:
        scopes = ["transcribe", "speak", "realtime"]
        return str((await self.made("/v1/tokens", {"scopes": scopes, "seconds": 600}))["token"])

    async def secret(self, key: str) -> str:
        return str((await self.made("/v1/realtime/client_secrets", {}, key))["value"])

    async def revoke(self) -> None:
        async with self.gateway.client(OPERATOR_KEY) as admin:
            assert (await admin.delete(f"/operator/keys/{self.key_id}")).status_code == 200

    async def expire(self) -> None:
        async with self.gateway.client(OPERATOR_KEY) as admin:
            path = f"/operator/keys/{self.key_id}/rotate"
            assert (await admin.post(path, json={"grace_secs": 0})).status_code == 200

    async def delete(self) -> None:
        async with self.gateway.client(OPERATOR_KEY) as admin:
            assert (await admin.delete("/operator/accounts/shop")).status_code == 200


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    async with gateway_with(tmp_path / "home") as gateway, served(gateway) as address:
        render = gateway.services.engines.render

        async def endless(request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
            async for chunk in render(request):
                yield chunk
                await asyncio.Event().wait()

        monkeypatch.setattr(gateway.services.engines, "render", endless)
        async with gateway.client(OPERATOR_KEY) as admin:
            made = (await admin.post("/operator/keys", json={"account": "shop"})).json()
        yield Shop(gateway, address, made["key"], made["id"])


async def next_json(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), LONG_SECS))
    return found


async def last_words(socket: ClientConnection) -> tuple[list[dict[str, Any]], int | None, str]:
    """The messages up to the close, and its code and reason."""
    said = []
    with suppress(ConnectionClosedError):
        async with asyncio.timeout(LONG_SECS):
            while True:
                message = await socket.recv()
                if isinstance(message, str):
                    said.append(json.loads(message))
    return said, socket.close_code, socket.close_reason or ""


Check = Callable[[str], Awaitable[None]]
"""Waits for the end of what was opened, and checks that it says the code."""


async def realtime(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    socket = await held.enter_async_context(
        connect(f"ws://{shop.address}/v1/realtime?model=x", additional_headers={"Authorization": key})
    )
    assert (await next_json(socket))["type"] == "session.created"

    async def check(code: str) -> None:
        said, closed, reason = await last_words(socket)
        assert (said[-1]["type"], said[-1]["error"]["code"]) == ("error", code)
        assert (closed, reason) == (1008, code)

    return check


async def live(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    socket = await held.enter_async_context(connect(f"ws://{shop.address}/v1/listen"))
    await socket.send(json.dumps({"type": "start", "token": key, "sample_rate": 16_000}))
    assert (await next_json(socket))["type"] == "started"

    async def check(code: str) -> None:
        said, closed, reason = await last_words(socket)
        assert (said[-1]["type"], said[-1]["code"]) == ("error", code)
        assert (closed, reason) == (1008, code)

    return check


async def deepgram(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    headers = {"Authorization": f"Token {key}"}
    socket = await held.enter_async_context(connect(f"ws://{shop.address}{DEEPGRAM}", additional_headers=headers))
    await socket.send(json.dumps({"type": "Finalize"}))
    assert (await next_json(socket))["type"] == "Results"

    async def check(code: str) -> None:
        said, closed, reason = await last_words(socket)
        assert (said, closed, reason.startswith("DATA-0000: ")) == ([], 1008, True)

    return check


async def assemblyai(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    socket = await held.enter_async_context(
        connect(f"ws://{shop.address}{ASSEMBLYAI}", additional_headers={"Authorization": key})
    )
    assert (await next_json(socket))["type"] == "Begin"

    async def check(code: str) -> None:
        said, closed, _ = await last_words(socket)
        expected = 3006 if code == DELETED else 4001
        assert (said[-1]["type"], said[-1]["error_code"], closed) == ("Error", expected, expected)

    return check


async def speech(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    socket = await held.enter_async_context(connect(f"ws://{shop.address}/vui/v1/tts/ws"))
    await socket.send(json.dumps({"type": "speak", "token": key, **SPEAK}))
    assert (await next_json(socket))["type"] == "start"

    async def check(code: str) -> None:
        said, closed, reason = await last_words(socket)
        assert (said[-1]["type"], said[-1]["code"]) == ("error", code)
        assert (closed, reason) == (1008, code)

    return check


async def job_events(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    client = await held.enter_async_context(
        httpx.AsyncClient(base_url=f"http://{shop.address}", headers={"Authorization": key}, timeout=LONG_SECS)
    )
    job = (await client.post("/submit", content=wav(bytes(32_000), rate_hz=16_000))).json()
    answer = await held.enter_async_context(client.stream("GET", f"/transcriptions/{job['id']}/events"))
    lines = answer.aiter_lines()
    assert await anext(lines) == "event: status"

    async def check(code: str) -> None:
        rest = [line async for line in lines if line]
        last = json.loads(rest[-1].removeprefix("data: "))
        if code == DELETED and rest[-2] == "event: status":  # the job went with its account
            assert last["status"] == "deleted"
        else:
            assert (rest[-2], last["error"]["code"]) == ("event: error", code)

    return check


async def waiting_get(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    client = await held.enter_async_context(
        httpx.AsyncClient(base_url=f"http://{shop.address}", headers={"Authorization": key}, timeout=LONG_SECS)
    )
    job = (await client.post("/submit", content=wav(bytes([2, 0]) * 16_000, rate_hz=16_000))).json()
    asking = asyncio.create_task(client.get(f"/transcriptions/{job['id']}", params={"wait_secs": 55}))
    async with asyncio.timeout(LONG_SECS):
        while job["id"] not in shop.gateway.ledger._board._waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def check(code: str) -> None:
        answer = await asking
        if code != DELETED:  # then the job may have gone with its account
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
        assert answer.status_code in (401, 403, 404)

    return check


async def sdk_events(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    client = await held.enter_async_context(AsyncClient(f"http://{shop.address}", key))
    job = await client.submit(wav(bytes([1, 0]) * 16_000, rate_hz=16_000))
    events = client.events(job.id)
    assert (await anext(events)).name == "status"

    async def check(code: str) -> None:
        if code == DELETED:
            return  # as `job_events`
        with pytest.raises(Unauthenticated) as ended:
            async for _ in events:
                pass
        assert ended.value.code == code

    return check


async def render(shop: Shop, key: str, held: AsyncExitStack) -> Check:
    client = await held.enter_async_context(
        httpx.AsyncClient(base_url=f"http://{shop.address}", headers={"Authorization": key}, timeout=LONG_SECS)
    )
    ask = {**SPEAK, "stream": True, "response_format": "pcm"}
    answer = await held.enter_async_context(client.stream("POST", "/vui/v1/tts", json=ask))
    assert answer.status_code == 200

    async def check(_: str) -> None:
        with pytest.raises(httpx.RemoteProtocolError):  # it is broken off
            await answer.aread()

    return check


SOCKETS = (realtime, live, deepgram, assemblyai, speech)
STREAMS = (*SOCKETS, job_events, waiting_get, sdk_events)


@pytest.mark.parametrize("cause", [Shop.revoke, Shop.expire, Shop.delete], ids=["revoked", "expired", "deleted"])
async def test_what_is_open_ends_with_its_key(shop: Shop, cause: Callable[[Shop], Awaitable[None]]) -> None:
    async with AsyncExitStack() as held:
        checks = [await one(shop, shop.key, held) for one in (*STREAMS, render)]
        checks += [await one(shop, await shop.token(), held) for one in (live, speech, job_events)]
        checks.append(await realtime(shop, await shop.secret(shop.key), held))
        stranger = await held.enter_async_context(connect(f"ws://{shop.address}/v1/listen"))
        await stranger.send(json.dumps({"type": "start", "token": OTHER_KEY, "sample_rate": 16_000}))
        assert (await next_json(stranger))["type"] == "started"
        await cause(shop)
        for check in checks:
            await check(DELETED if cause is Shop.delete else REVOKED)
        await stranger.send(json.dumps({"type": "finalize"}))
        assert (await next_json(stranger))["type"] == "finalized", "what another account has open goes on"


async def test_a_client_is_told_before_its_session_has_stopped_and_stored_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, close = asyncio.Event(), Session.close

    async def close_late(session: Session) -> None:
        await told.wait()
        await close(session)

    monkeypatch.setattr(Session, "close", close_late)
    async with AsyncExitStack() as held:
        check = await realtime(shop, shop.key, held)
        await shop.revoke()
        await check(REVOKED)
        told.set()


async def test_sockets_and_event_streams_end_with_their_token(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await shop.token()
    async with AsyncExitStack() as held:
        checks = [await one(shop, token, held) for one in STREAMS]
        checks.append(await realtime(shop, await shop.secret(token), held))
        goes_on = await realtime(shop, await shop.secret(shop.key), held)  # a secret is needed to open a session only
        by_key = await live(shop, shop.key, held)
        monkeypatch.setattr(access_watch, "time", SimpleNamespace(time=lambda: time.time() + 601))
        for check in checks:
            await check(TOKEN_ENDED)
        await shop.revoke()
        for check in (goes_on, by_key):
            await check(REVOKED)


async def test_an_upload_under_way_ends_with_its_key(shop: Shop) -> None:
    host, _, port = shop.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        "POST /submit HTTP/1.1",
        "Host: x",
        f"Authorization: {shop.key}",
        "Content-Length: 32044",
        "Expect: 100-continue",
    )
    try:
        async with asyncio.timeout(LONG_SECS):
            writer.write("\r\n".join((*head, "", "")).encode())
            # The server says so once the route reads the body, of which only the beginning comes.
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(wav(bytes(32_000), rate_hz=16_000)[:1000])
            await shop.revoke()
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 401 ")
    finally:
        writer.close()
