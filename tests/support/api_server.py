"""A small HTTP server on loopback with the API's routes and bodies, for tests of the command line."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "fx_test"


class Server:
    """Accepts recordings, reports `processing` once, then `completed`; a body with ``bad`` in it fails."""

    def __init__(self) -> None:
        self.uploads: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = []
        self.polls: dict[int, int] = {}
        self.unavailable = 0
        self.ready = True
        self.stuck = False
        self.refuse_submits = False
        self.nonsense = False
        self.started = threading.Event()
        app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/ready", self.readiness),
                Route("/submit", self.submit, methods=["POST"]),
                Route("/transcriptions", self.listing),
                Route("/transcriptions/{id:int}", self.transcription),
                Route("/transcriptions/{id:int}/events", self.events),
                Route("/operator/status", self.status),
                Route("/operator/keys", self.operator_keys, methods=["GET", "POST"]),
                Route("/operator/keys/{id}", self.revoke, methods=["DELETE"]),
                Route("/files/talk.mp3", self.file),
                Route("/redirected", lambda _: RedirectResponse("/files/talk.mp3")),
                Route("/named", self.named_file),
            ],
            lifespan=self.lifespan,
        )
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.started.set()
        yield

    def __enter__(self) -> Server:
        self._thread.start()
        assert self.started.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def refused(self, request: Request) -> Response | None:
        if self.unavailable > 0:
            self.unavailable -= 1
            return error(503, "starting", "unavailable")
        if request.headers.get("authorization") != KEY:
            return error(401, "this key is not known", "invalid_api_key")
        return None

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "gateway": "test"})

    async def readiness(self, _: Request) -> Response:
        return JSONResponse({"status": "ready"}) if self.ready else error(503, "models are loading", "unavailable")

    async def submit(self, request: Request) -> Response:
        if refusal := self.refused(request):
            return refusal
        if self.refuse_submits:
            return error(503, "the disk is full", "unavailable")
        body = b"".join([chunk async for chunk in request.stream()])
        upload = {**request.query_params, "type": request.headers["content-type"], "body": body}
        upload["length"] = request.headers.get("content-length")
        upload["keyterms"] = request.query_params.getlist("keyterms")
        self.uploads.append(upload)
        return JSONResponse({"id": len(self.uploads), "status": "submitted", "cached": False})

    async def listing(self, request: Request) -> Response:
        return self.refused(request) or JSONResponse({"total": 0, "limit": 1, "offset": 0, "transcriptions": []})

    async def transcription(self, request: Request) -> Response:
        if refusal := self.refused(request):
            return refusal
        if self.nonsense:
            return JSONResponse(["not", "a", "job"])
        number = request.path_params["id"]
        upload = self.uploads[number - 1]
        self.polls[number] = self.polls.get(number, 0) + 1
        body = {"id": number, "created_at": "x", "updated_at": "x", "filename": upload["filename"], "cached": False}
        body["non_speech"] = upload.get("non_speech") == "true"
        if self.stuck or self.polls[number] == 1:
            return JSONResponse({**body, "status": "processing"})
        if b"bad" in upload["body"]:
            return JSONResponse({**body, "status": "failed", "error_message": "not a recording"})
        text = hashlib.sha256(upload["body"]).hexdigest()[:8]
        segment: dict[str, Any] = {"speaker": "0", "text": text, "start": 0.5, "end": 1.5, "segment_idx": 0}
        if request.query_params.get("word_level_timestamps") == "true":
            segment["words"] = [{"word": text, "start": 0.5, "end": 1.25, "confidence": 0.9}]
        return JSONResponse(
            {
                **body,
                "status": "completed",
                "text": f"SPEAKER_0: {text}",
                "segments": [segment],
                "events": [{"tag": "pause"}],
                "warnings": [{"code": "truncated_audio", "message": "it breaks off at 1.5 s", "at_secs": 1.5}]
                if upload["body"].startswith(b"cut")
                else [],
            }
        )

    async def events(self, request: Request) -> Response:
        if refusal := self.refused(request):
            return refusal
        number = request.path_params["id"]

        async def until_final() -> AsyncIterator[bytes]:
            yield b'event: status\ndata: {"status":"processing"}\n\n'
            self.polls[number] = 1
            yield b'event: status\ndata: {"status":"completed"}\n\n'

        return StreamingResponse(until_final(), media_type="text/event-stream")

    async def status(self, request: Request) -> Response:
        engine = {"slot": "asr", "engine": "whisper", "capabilities": {"languages": ["en"]}}
        return self.refused(request) or JSONResponse({"engines": [engine], "jobs": {"queued": 3}})

    async def operator_keys(self, request: Request) -> Response:
        if refusal := self.refused(request):
            return refusal
        if request.method == "GET":
            return JSONResponse({"keys": self.keys})
        wanted = await request.json()
        made = {**wanted, "id": f"k{len(self.keys)}", "prefix": "fx_ab", "created_at": "2026-01-01T00:00:00.000Z"}
        self.keys.append(made)
        return JSONResponse({**made, "key": "fx_abcdef"})

    async def revoke(self, request: Request) -> Response:
        found = [k for k in self.keys if k["id"] == request.path_params["id"]]
        return JSONResponse(found[0]) if found else error(404, "there is no such key", "not_found")

    async def named_file(self, _: Request) -> Response:
        return Response(b"named", headers={"Content-Disposition": "attachment; filename*=UTF-8''caf%C3%A9.mp3"})

    async def file(self, _: Request) -> Response:
        return Response(b"over the web", media_type="audio/mpeg")


def error(status: int, message: str, code: str) -> Response:
    body = {"error": {"message": message, "type": "t", "code": code, "param": None}, "request_id": "r1"}
    return JSONResponse(body, status_code=status)


def transcript_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
