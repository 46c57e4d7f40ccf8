"""A proxy before an S3 server that breaks requests: ``python -m tests.support.faulty_s3 PORT UPSTREAM SEED``.

``POST /faults/SHARE`` (in percent) sets how many requests of objects are broken from then on, ``GET /faults`` says how many
of each kind were. The seed says which requests are broken. ``POST /faults/next-commit/KIND`` breaks the next request that
writes an entry of a table's log. The kinds, which the share takes in turn:

    refused     500, and the server never saw it
    written     the server carried it out, and the answer is 500
    unanswered  the server carried it out, and the connection ends without an answer
    late        the server carried it out, and the answer comes after `LATE_SECS`
    cut         the connection ends in the middle of the request's body; the server carried nothing out
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections import Counter

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KINDS = ("refused", "written", "unanswered", "late", "cut")
LATE_SECS = 4.0
TIMEOUT_SECS = 2.0
"""The timeout for the store's clients with which an answer is late."""
_OWN = {"connection", "transfer-encoding", "content-length", "content-encoding"}


class BrokenConnection(Exception):
    """Ends the connection: the server closes it when a request handler fails after it began to answer."""


class Proxy:
    """Passes requests on, or breaks them."""

    def __init__(self, upstream: str, seed: int) -> None:
        self._upstream = httpx.AsyncClient(base_url=upstream, timeout=30, trust_env=False)
        self._random = random.Random(seed)
        self._kinds = itertools.cycle(KINDS)
        self._share = 0.0
        self._next_commit: str | None = None
        self.broken: Counter[str] = Counter()

    async def set_share(self, request: Request) -> Response:
        self._share = int(request.path_params["percent"]) / 100
        return Response()

    async def set_next_commit(self, request: Request) -> Response:
        self._next_commit = request.path_params["kind"]
        return Response()

    async def counts(self, _: Request) -> Response:
        return JSONResponse(dict(self.broken))

    async def pass_on(self, request: Request) -> Response:
        fault = next(self._kinds) if self._random.random() < self._share else None
        if self._next_commit and request.method == "PUT" and "/_delta_log/" in request.url.path:
            fault, self._next_commit = self._next_commit, None
        if fault and request.method == "HEAD":
            fault = "refused"  # its answer has no body that could be cut
        if fault:
            self.broken[fault] += 1
        body = await request.body()
        if fault == "refused":
            return _error()
        if fault == "cut":
            return _Cut()
        headers = {name: value for name, value in request.headers.items() if name not in _OWN}
        target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        answer = await self._upstream.request(request.method, target, headers=headers, content=body)
        if fault == "written":
            return _error()
        if fault == "late":
            await asyncio.sleep(LATE_SECS)
        if fault == "unanswered":
            return _Cut()
        passed = {name: value for name, value in answer.headers.items() if name not in _OWN}
        if request.method == "HEAD":
            passed["content-length"] = answer.headers.get("content-length", "0")
        return Response(answer.content, answer.status_code, headers=passed)


class _Cut(Response):
    """Declares a body and ends the connection before it."""

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        raise BrokenConnection


def _error() -> Response:
    body = "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
    return Response(body, 500, media_type="application/xml")


def main(port: int, upstream: str, seed: int) -> None:
    proxy = Proxy(upstream, seed)
    methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    app = Starlette(
        routes=[
            Route("/faults/{percent:int}", proxy.set_share, methods=["POST"]),
            Route("/faults/next-commit/{kind}", proxy.set_next_commit, methods=["POST"]),
            Route("/faults", proxy.counts),
            Route("/{path:path}", proxy.pass_on, methods=methods),
        ]
    )
    uvicorn.run(app, port=port, log_level="critical", ws="none")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
