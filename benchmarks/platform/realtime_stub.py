"""STUB engines behind real realtime sessions, for `fluxions bench realtime --stub` only: the platform's share of a turn.

Sockets, events, decoding, voice activity, turns and conversations are the platform's. Recogniser, language model and
synthesiser return the same words and a tone at once.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from audio.vad import VoiceActivity
from clients.public import Target
from runtime.children import die_with_parent, module_env, start, stop
from schemas.api.realtime.session_config import Audio, AudioOutput, RealtimeConfig
from schemas.domain import AS_SPOKEN, SPEECH_RATE_HZ, Lane, Recognition, RecognizeOptions, Word
from schemas.engines import EngineInfo
from schemas.errors import ServerUnreachable
from schemas.language_model import ChatDelta, ChatRequest
from schemas.settings import RealtimeSettings
from schemas.speech import RenderedChunk, RenderRequest, VoiceProfile
from serve.realtime.connection import converse
from serve.realtime.event_writer import EventWriter
from serve.realtime.session import Session
from serve.realtime.session_parts import SessionParts

_SECS: Final = 3.0
_CHUNKS: Final = 10


class StubConversationEngines:
    """A `serve.realtime.conversation_engines.ConversationEngines` without delay."""

    def __init__(self) -> None:
        times = np.arange(round(_SECS / _CHUNKS * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
        self._tone = (3000 * np.sin(2 * np.pi * 220 * times)).astype("<i2").tobytes()

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        return Recognition((Word("stub", 0.0, 0.1), Word("words", 0.1, 0.2)))

    async def check_options(self, options: RecognizeOptions) -> None:
        return None

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        for number in range(_CHUNKS):
            yield RenderedChunk(self._tone, ends_passage=number == _CHUNKS - 1)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        for word in ("This ", "is ", "a ", "stub. "):
            yield ChatDelta(word)
        yield ChatDelta(finish="stop")

    async def language_model(self) -> EngineInfo:
        return EngineInfo("language_model", "stub", "", "stub", {"context_tokens": None})


@contextmanager
def stub_server() -> Iterator[Target]:
    """A server on loopback, in a process of its own, with realtime sessions only, which use these engines."""
    process = start([sys.executable, "-m", __name__], module_env(), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe
        port = process.stdout.readline().strip()
        if not port:
            raise ServerUnreachable("the server with the stub engines did not start")
        yield Target(f"http://127.0.0.1:{int(port)}")
    finally:
        stop(process)


async def _voice(_: str) -> VoiceProfile:
    return VoiceProfile(voice_id="stub", base="")


def _app() -> Starlette:
    activity, engines = VoiceActivity(), StubConversationEngines()

    async def session(ws: WebSocket) -> None:
        await ws.accept()
        writer = EventWriter(ws.send_text)
        chosen = {"realtime_eager": ws.query_params["eager"] == "true"} if "eager" in ws.query_params else {}
        parts = SessionParts(
            engines=engines,
            activity=activity,
            end_of_turn=None,
            voice=_voice,
            settings=RealtimeSettings().model_copy(update=chosen),
            window_secs=13.0,
            clock=time.monotonic,
        )

        async def receive() -> str | None:
            message = await ws.receive()
            return message.get("text") if message["type"] == "websocket.receive" else None

        config = RealtimeConfig(model="stub", audio=Audio(output=AudioOutput(voice="stub")))
        await converse(Session(parts, writer, config), writer, receive, longest_secs=3600, leaving=asyncio.Event())

    return Starlette(routes=[WebSocketRoute("/v1/realtime", session)])


def main() -> None:
    """Serve until the parent ends; the port is printed first."""
    die_with_parent(os.getppid())
    app = _app()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="error", ws="websockets-sansio")).run(sockets=[listening])


if __name__ == "__main__":
    main()
