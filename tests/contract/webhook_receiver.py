"""An HTTP server that receives webhooks, for tests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.contract.speaking import until


class Receiver:
    """An HTTP server that keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[int, dict[str, Any]], Response] = lambda number, event: Response(status_code=204)
        self.url = ""

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.got.append((dict(request.headers), body))
        return self.answer(len(self.got), json.loads(body))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that listens on a free port of loopback."""
    made = Receiver()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}/events"
    app = Starlette(routes=[Route("/events", made.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await until(lambda: server.started)
    yield made
    server.should_exit = True
    await serving
    listening.close()
