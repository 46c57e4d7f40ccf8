"""The synthesiser as a Ray Serve deployment: text in, sound out as it is made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from ray import serve

from audio.pcm import to_float
from schemas.engines import (
    DEFAULT_TEMPERATURE,
    EngineInfo,
    Part,
    Passage,
    RenderedChunk,
    RenderRequest,
    Synthesizer,
    VoiceProfile,
)
from schemas.errors import InvalidRequest, Unavailable
from schemas.settings import Settings
from serve.engines import build_synthesizer
from serve.loading import Loaded
from serve.tts.chunks import ceiling_secs
from serve.tts.match_process import match_voice
from serve.tts.reference import usable
from serve.tts.rendering import rendered
from serve.tts.verify.retrying import build_verifier
from serve.tts.verify.verdict import Verifier
from serve.tts.voices import DEFAULT_VOICE

_THREADS: Final = 32
FIRST_AHEAD_SECS: Final = 0.015
"""A stream rests so long after its first sound, which lasts longer itself. Made at once, what follows takes the processor
from all that carries the first sound to its listener: beside an archive, on two cores, its p95 was 1.6 times as late."""


@dataclass(frozen=True, slots=True)
class _Served:
    synthesizer: Synthesizer
    verifier: Verifier


# Renders take turns clause by clause; more at once than this would only wait for each other.
@serve.deployment(max_ongoing_requests=_THREADS)
class SynthesizerDeployment:
    """A replica is ready once it has spoken. Concurrent renders share the engine, never their sound."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "synthesizer", _build, _warm_up)
        self._verify_retries = settings.speech.tts_verify_retries
        self._threads = ThreadPoolExecutor(_THREADS, "synthesizer")
        self._matching = asyncio.Semaphore(1)

    async def render(self, request: RenderRequest) -> AsyncIterator[RenderedChunk]:
        """Chunks as they are made, until the request's window is full; called with ``handle.options(stream=True)``.

        A caller who goes away ends the render with the piece in hand: some milliseconds of espeak-ng, a frame of a
        model. Raises InvalidParameter for an unknown cue or a text that holds nothing to say, EngineFailure, Unavailable
        where the model could not be loaded.
        """
        stop, served = threading.Event(), self._loaded.engine
        chunks = rendered(served.synthesizer, request, served.verifier, self._verify_retries, stop)
        first_of_all = request.streamed and request.start == 0
        loop = asyncio.get_running_loop()
        step: asyncio.Future[RenderedChunk | None] | None = None
        try:
            while True:
                step = loop.run_in_executor(self._threads, next, chunks, None)
                chunk = await asyncio.shield(step)
                if chunk is None:
                    return
                yield chunk
                if first_of_all:
                    first_of_all = False
                    await asyncio.sleep(FIRST_AHEAD_SECS)
        finally:
            stop.set()
            if step is not None and not step.done():
                await asyncio.wait([step])  # a generator cannot be closed while it runs
                step.exception()  # seen, so that nobody reports it as overlooked
            await loop.run_in_executor(self._threads, chunks.close)

    async def match(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None]:
        """The voice nearest to a reference clip of one person, s16le PCM at 24 kHz mono, and how near (a cosine).

        One at a time; it takes some seconds. An engine that speaks on from a prompt needs the clip itself, so that the
        profile says only how high the voice is, and nothing how near. Raises InvalidAudio for a clip that is too short,
        silent or holds no voice, InvalidRequest where the engine cannot match voices.
        """
        info = self._loaded.engine.synthesizer.info
        if not info.capabilities["matches_voices"]:
            raise InvalidRequest(f"{info.engine} cannot match voices", code="matching_unsupported")
        async with self._matching:
            if info.capabilities["prompt_secs"]:
                heard = await asyncio.to_thread(usable, to_float(np.frombuffer(pcm, "<i2")))
                return VoiceProfile(voice_id=voice_id, base="", f0_hz=round(heard.median_hz, 1)), None
            return await match_voice(pcm, voice_id)

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.synthesizer.info

    def __del__(self) -> None:
        # Absent where __init__ raised, or where nothing could be loaded.
        with suppress(AttributeError, Unavailable):
            self._loaded.engine.verifier.close()


def _build(settings: Settings) -> _Served:
    return _Served(build_synthesizer(settings), build_verifier(settings))


def _warm_up(served: _Served) -> None:
    for _ in served.synthesizer.render(Passage((Part("Ready."),), 6, 0.0), DEFAULT_VOICE, DEFAULT_TEMPERATURE):
        pass


async def stream(handle: Any, request: RenderRequest) -> AsyncIterator[RenderedChunk]:
    """All of a text through a deployment's handle, window by window: what is ahead of a slow listener stays small.

    ``handle`` is a DeploymentHandle with ``stream=True``. Raises as `SynthesizerDeployment.render`, as Ray delivers it.
    """
    left_secs = request.max_secs or ceiling_secs(request.text)
    start: int | None = request.start
    while start is not None and left_secs > 0:
        window = replace(request, start=start, max_secs=left_secs)
        start = None
        chunks = handle.render.remote(window)
        try:
            async for chunk in chunks:
                left_secs -= chunk.duration_secs
                start = chunk.next_start
                yield chunk
        finally:
            chunks.cancel()
