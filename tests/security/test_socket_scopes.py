"""What a key may do over a socket is in its scopes, and no kind of socket is left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from schemas.scopes import SCOPES, granted
from serve.gateway.fastapi_app import _BARE, _ROUTERS
from tests.contract.gateway import Running, running
from tests.contract.speaking import served

pytestmark = pytest.mark.security

SECS = 60.0
_FINALIZE = {"type": "Finalize"}
"""A message that Deepgram's protocol answers."""
_SPEAK = {"type": "speak", "voice": "u-none-1", "input": "hello", "verify_chunks": False}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of socket: where it is, the scope it asks for, and where its client sends the key."""

    path: str
    scope: str
    first: dict[str, Any] | None = None
    """The first message, which has the key as `token`; None if the key is in a header."""
    scheme: str = ""

    async def refuses(self, address: str, key: str) -> bool:
        """Whether it refuses the key for want of a scope."""
        headers = {} if self.first is not None else {"Authorization": f"{self.scheme}{key}"}
        try:
            async with asyncio.timeout(SECS), connect(f"ws://{address}{self.path}", additional_headers=headers) as socket:
                said, first = "", _FINALIZE if self.first is None else {**self.first, "token": key}
                with suppress(ConnectionClosed):
                    await socket.send(json.dumps(first))
                    said = str(await socket.recv())
                return "does not have the scope" in f"{said}{socket.close_reason}"
        except InvalidStatus as refusal:
            return refusal.response.status_code == 403


KINDS = (
    Kind("/vui/v1/tts/ws", "speak", _SPEAK),
    Kind("/v1/listen", "transcribe", {"type": "start", "sample_rate": 16_000}),
    Kind("/v1/listen?encoding=linear16&sample_rate=16000", "transcribe", scheme="Token "),
    Kind("/v3/ws?sample_rate=16000&encoding=pcm_s16le", "transcribe"),
    Kind("/v1/realtime?model=x", "realtime"),
    Kind("/realtime?model=x", "realtime"),
)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "home") as started:
        yield started


async def test_each_kind_of_socket_refuses_all_scopes_except_its_own(gateway: Running) -> None:
    found = [route for router in (*_BARE, *_ROUTERS) for route in router.routes]
    routes = {route.path for route in found if isinstance(route, WebSocketRoute)}
    assert {kind.path.partition("?")[0] for kind in KINDS} == routes
    keys = {scope: (await gateway.ledger.keys.create("default", scope, (scope,)))[1] for scope in SCOPES}
    async with served(gateway) as address:
        for kind in KINDS:
            for scope, key in keys.items():
                refused = await kind.refuses(address, key)
                assert refused == (kind.scope not in granted((scope,))), (kind.path, scope)
