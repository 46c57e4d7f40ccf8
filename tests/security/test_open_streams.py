"""Limits of open sockets and event streams: of a key, an account, an address without a key, and in all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.http11 import Response

from schemas.errors import RateLimited
from schemas.settings import EngineSettings, LimitSettings, ServerSettings, Settings, StorageSettings
from serve.gateway.auth import Principal
from serve.gateway.open_streams import OpenStreams
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, running
from tests.contract.speaking import served
from tests.integration.test_decode import wav

pytestmark = pytest.mark.security

ADA, ADAS_OTHER_KEY, BOB = (
    Principal(account, key, frozenset({"user"})) for account, key in (("ada", "1"), ("ada", "2"), ("bob", "3"))
)


def test_streams_count_for_the_key_the_account_and_all_and_are_given_back() -> None:
    streams = OpenStreams(LimitSettings(streams_per_client=2, streams_per_account=3, streams=4))
    for _ in range(2):
        with ExitStack() as held:
            for principal in (ADA, ADA, ADAS_OTHER_KEY):
                held.enter_context(streams.opened(principal, "10.0.0.1"))
            for principal, whom in ((ADA, "of one key|of one account"), (ADAS_OTHER_KEY, "of one account")):
                with pytest.raises(RateLimited, match=whom) as refusal, streams.opened(principal, "10.0.0.1"):
                    pass
                assert refusal.value.headers["RateLimit-Remaining"] == "0"
            held.enter_context(streams.opened(BOB, "10.0.0.1"))
            with pytest.raises(RateLimited, match="of all clients"), streams.opened(None, "10.0.0.9"):
                pass


def test_no_key_takes_all_streams_of_its_account() -> None:
    streams = OpenStreams(LimitSettings(streams_per_client=1, streams_per_account=9, streams=9))
    with streams.opened(ADA, None):
        with pytest.raises(RateLimited, match="of one key"), streams.opened(ADA, None):
            pass
        with streams.opened(ADAS_OTHER_KEY, None):
            pass


def test_a_socket_counts_for_its_address_until_its_key_is_known() -> None:
    streams = OpenStreams(LimitSettings(streams_per_client=1, streams_per_account=1))
    with ExitStack() as held:
        first = held.enter_context(streams.opened(None, "10.0.0.1"))
        with pytest.raises(RateLimited, match="of one address"), streams.opened(None, "10.0.0.1"):
            pass
        first.belongs_to(ADA)
        first.belongs_to(ADA)  # a speech socket says so with each message
        second = held.enter_context(streams.opened(None, "10.0.0.1"))
        with pytest.raises(RateLimited, match="of one account"):
            second.belongs_to(ADAS_OTHER_KEY)
        second.belongs_to(BOB)
    with streams.opened(ADA, None), streams.opened(None, "10.0.0.1"):
        pass


@asynccontextmanager
async def limited(folder: Path, **limits: float) -> AsyncIterator[tuple[Running, str]]:
    settings = Settings(
        server=ServerSettings(home=folder),
        storage=StorageSettings(fsync=False),
        engines=EngineSettings(tts_engine="espeak"),
        limits=LimitSettings(**limits),
    )
    async with running(folder, settings) as gateway, served(gateway) as address:
        yield gateway, address


def check_refusal(response: httpx.Response | Response, most: int) -> None:
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) >= 1
    assert (response.headers["RateLimit-Limit"], response.headers["RateLimit-Remaining"]) == (str(most), "0")


async def test_more_sockets_than_all_may_have_are_refused_before_their_key_is_known(tmp_path: Path) -> None:
    async with limited(tmp_path / "home", streams=1) as (_, address), connect(f"ws://{address}/vui/v1/tts/ws"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(f"ws://{address}/vui/v1/tts/ws"):
                pass
        check_refusal(refused.value.response, 1)


async def test_a_silent_speech_socket_is_closed(tmp_path: Path) -> None:
    async with (
        limited(tmp_path / "home", socket_idle_secs=0.5) as (_, address),
        connect(f"ws://{address}/vui/v1/tts/ws") as silent,
    ):
        await asyncio.wait_for(silent.wait_closed(), 60)
        assert silent.close_code == 1001


async def spoken(socket: ClientConnection, key: str) -> str:
    """What a speech socket answers to a message with ``key``: its type, or the code of an error."""
    ask = {"type": "speak", "voice": "u-none-1", "input": "hello", "verify_chunks": False, "token": key}
    await socket.send(json.dumps(ask))
    answer = json.loads(await asyncio.wait_for(socket.recv(), 60))
    return str(answer.get("code", answer["type"]))


async def test_each_kind_of_socket_counts_for_its_account(tmp_path: Path) -> None:
    async with limited(tmp_path / "home", streams_per_account=1) as (gateway, address):
        realtime, headers = f"ws://{address}/v1/realtime?model=x", {"Authorization": USER_KEY}
        async with connect(f"ws://{address}/vui/v1/tts/ws") as speech:
            assert await spoken(speech, USER_KEY) == "unknown_voice"
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connect(realtime, additional_headers=headers):
                    pass
            check_refusal(refused.value.response, 1)
            async with connect(f"ws://{address}/v1/listen") as live:
                await live.send(json.dumps({"type": "start", "token": USER_KEY, "sample_rate": 16_000}))
                assert json.loads(await asyncio.wait_for(live.recv(), 60))["code"] == "rate_limited"
            async with connect(f"ws://{address}/vui/v1/tts/ws") as second:
                assert await spoken(second, USER_KEY) == "rate_limited"
                assert await spoken(second, OTHER_KEY) == "unknown_voice"
            async with gateway.client(USER_KEY) as client:
                sent = await client.post("/submit", content=wav(bytes(32_000), rate_hz=16_000))
                assert sent.status_code == 200
                events = await client.get(f"/transcriptions/{sent.json()['id']}/events")
                check_refusal(events, 1)
                job = f"/transcriptions/{sent.json()['id']}"
                for query in ("wait_secs=50", "wait%5Fsecs=50"):
                    check_refusal(await client.get(f"{job}?{query}"), 1)
                assert (await client.get(job)).status_code == 200
        async with connect(realtime, additional_headers=headers) as again:
            assert json.loads(await asyncio.wait_for(again.recv(), 60))["type"] == "session.created"
