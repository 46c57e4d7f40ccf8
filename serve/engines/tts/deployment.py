"""The synthesiser as a Ray Serve deployment: text in, a stream of audio out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from ray import serve

from audio.pcm import to_float
from schemas.domain import Seconds
from schemas.engines import EngineInfo, Synthesizer
from schemas.errors import InvalidRequest, Unavailable
from schemas.settings import Settings
from schemas.speech import DEFAULT_TEMPERATURE, Part, Passage, RenderedChunk, RenderRequest, VoiceProfile
from serve.engines.registry import build_synthesizer, choice
from serve.engines.replica_load import ReplicaLoad
from serve.engines.replica_loader import Loaded
from serve.engines.tts.passages import ceiling_secs
from serve.engines.tts.reference_clip import usable
from serve.engines.tts.render_stream import rendered
from serve.engines.tts.verify.verdict import Verifier
from serve.engines.tts.verify.verified_render import build_verifier
from serve.engines.tts.voice_matching_process import match_voice
from serve.engines.tts.voices import default_voice
from telemetry.metrics import count_engine, count_speech

_THREADS: Final = 32
FIRST_AHEAD_SECS: Final = 0.015
"""Pause of a stream after its first audio, which lasts longer than this. Without the pause, rendering the next audio
competes with the processes that deliver the first: while an archive ran, on two cores, the p95 of the first audio was 1.6
times as late.
"""


@dataclass(frozen=True, slots=True)
class _Served:
    synthesizer: Synthesizer
    verifier: Verifier
    engine: str

    def close(self) -> None:
        self.synthesizer.close()


# Renders alternate by clause or passage; more of them at once would only wait for each other.
@serve.deployment(max_ongoing_requests=_THREADS)
class SynthesizerDeployment:
    """A replica is ready after a first render. Concurrent renders share the engine."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "synthesizer", _build, _warm_up)
        self._settings = settings
        self._verify_retries = settings.speech.tts_verify_retries
        self._threads = ThreadPoolExecutor(_THREADS, "synthesizer")
        self._matching = asyncio.Semaphore(1)
        self._load = ReplicaLoad()

    async def render(self, request: RenderRequest) -> AsyncIterator[RenderedChunk]:
        """Chunks as they are rendered, until the request's window is full; called with ``handle.options(stream=True)``.

        Cancelling the call stops the render after the current piece: some milliseconds of espeak-ng, a node of Kokoro's
        graph, a frame of another model. Raises InvalidParameter for a text with nothing to say,
        EngineFailure, Unavailable where the model could not be loaded.
        """
        stop, served = threading.Event(), self._loaded.engine
        chunks = rendered(served.synthesizer, request, served.verifier, self._verify_retries, stop)
        first_of_all = request.streamed and request.start == 0 and request.ahead_secs is None
        loop = asyncio.get_running_loop()
        step: asyncio.Future[RenderedChunk | None] | None = None
        try:
            with self._load.request() as begun:
                while True:
                    step = loop.run_in_executor(self._threads, _timed_next, chunks)
                    chunk = await asyncio.shield(step)
                    begun()
                    if chunk is None:
                        return
                    count_speech(chunk.duration_secs)
                    yield chunk
                    if first_of_all:
                        first_of_all = False
                        await asyncio.sleep(FIRST_AHEAD_SECS)
        finally:
            stop.set()
            if step is not None and not step.done():
                await asyncio.wait([step])  # a generator cannot be closed while it runs
                step.exception()  # retrieved, so that asyncio does not report it
            await loop.run_in_executor(self._threads, chunks.close)

    async def match(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None]:
        """The voice most similar to a reference clip of one person, s16le PCM at 24 kHz mono, and their cosine.

        One at a time; it takes up to a minute. For an engine that uses the clip as a prompt, the profile has only the
        pitch of the voice, and the similarity is None. Raises InvalidAudio for a clip that is too short, silent or without
        a voice, InvalidRequest where the engine cannot match voices.
        """
        info = self._loaded.engine.synthesizer.info
        if not info.capabilities["matches_voices"]:
            raise InvalidRequest(f"{info.engine} cannot match voices", code="matching_unsupported")
        with self._load.use():
            async with self._matching:
                if info.capabilities["prompt_secs"]:
                    heard = await asyncio.to_thread(usable, to_float(np.frombuffer(pcm, "<i2")))
                    return VoiceProfile(voice_id=voice_id, base="", f0_hz=round(heard.median_hz, 1)), None
                chosen = choice(self._settings, "synthesizer")
                return await match_voice(pcm, voice_id, chosen, self._settings.speech.clone_search_secs)

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.synthesizer.info

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve where the number of replicas follows the load."""
        return self._load.report()

    def __del__(self) -> None:
        # Absent where __init__ raised, or where nothing could be loaded.
        with suppress(AttributeError, Unavailable):
            self._loaded.engine.close()


def _timed_next(chunks: Iterator[RenderedChunk]) -> RenderedChunk | None:
    began = time.perf_counter()
    chunk = next(chunks, None)
    count_engine("synthesizer", time.perf_counter() - began)
    return chunk


def _build(settings: Settings) -> _Served:
    return _Served(build_synthesizer(settings), build_verifier(settings), choice(settings, "synthesizer").engine)


def _warm_up(served: _Served) -> None:
    passage = Passage((Part("Ready."),), 6, 0.0)
    for _ in served.synthesizer.render(passage, default_voice(served.engine), DEFAULT_TEMPERATURE):
        pass


async def stream(handle: Any, request: RenderRequest) -> AsyncIterator[RenderedChunk]:
    """A whole text through a deployment's handle, window by window.

    The next window is requested while one window of audio is still unplayed, so that a listener never waits for it, and at
    most two windows are rendered ahead of a slow one. ``handle`` is a DeploymentHandle with ``stream=True``. Raises as
    `SynthesizerDeployment.render`, in the form in which Ray delivers errors.
    """
    made: asyncio.Queue[RenderedChunk | None] = asyncio.Queue()
    ahead = _Ahead(request.window_secs)
    fetching = asyncio.create_task(_fetch(handle, request, made, ahead))
    try:
        while (chunk := await made.get()) is not None:
            ahead.take(chunk.duration_secs)
            yield chunk
        await fetching
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)


class _Ahead:
    """Length of the audio that is rendered and not yet consumed."""

    def __init__(self, limit_secs: Seconds) -> None:
        self._limit_secs = limit_secs
        self._secs = 0.0
        self._has_room = asyncio.Event()
        self._has_room.set()

    def make(self, secs: Seconds) -> None:
        self._secs += secs
        if self._secs >= self._limit_secs:
            self._has_room.clear()

    def take(self, secs: Seconds) -> None:
        self._secs -= secs
        if self._secs < self._limit_secs:
            self._has_room.set()

    async def room(self) -> None:
        await self._has_room.wait()


async def _fetch(handle: Any, request: RenderRequest, made: asyncio.Queue[RenderedChunk | None], ahead: _Ahead) -> None:
    """Put every chunk of ``request`` into ``made``, and None at the end, also after an error."""
    left_secs = request.max_secs or ceiling_secs(request.text) / request.speed
    start: int | None = request.start
    try:
        while start is not None and left_secs > 0:
            window = replace(request, start=start, max_secs=left_secs)
            start = None
            await ahead.room()
            chunks = handle.render.remote(window)
            try:
                async for chunk in chunks:
                    left_secs -= chunk.duration_secs
                    start = chunk.next_start
                    ahead.make(chunk.duration_secs)
                    made.put_nowait(chunk)
            finally:
                chunks.cancel()
    finally:
        made.put_nowait(None)
