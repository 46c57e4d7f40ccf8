"""Text to speech: finds the voice, streams the render, and records the renders of an account."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property, partial
from textwrap import shorten
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lakehouse.ledger.interface import ItemLedger, RecordLedger
from lakehouse.storage.objects import Objects
from schemas.api.speech import Render
from schemas.domain import Seconds
from schemas.errors import InvalidParameter, NotFound, Unauthenticated
from schemas.records import TtsRender, Voice
from schemas.settings import Settings
from schemas.speech import MAX_SPEED, MIN_SPEED, RenderedChunk, RenderRequest, VoiceProfile
from schemas.speech_engines import Engines
from serve.engines.registry import choice, describe_slot, slot_revision
from serve.engines.tts.text.plain_text import plain_text
from serve.engines.tts.voices import built_in, find_voice
from serve.services.render_recorder import RenderRecorder, RenderRecording, RenderStats
from serve.services.spoken_chars import SpokenChars
from serve.services.voice_prompts import Prompts
from telemetry.metrics import FIRST_AUDIO

_DRAIN_SECS = 10.0
OWN_PREFIX = "u-"
"""How ids of cloned voices begin."""
_PREVIEW_CHARS = 160
_PREVIEW_TEXT = "Hello. This is how I sound when I read a text aloud."
"""Preview text of a cloned voice whose clip has no known transcript."""


class Rendering:
    """One render in progress, an async iterator of its chunks.

    Its holder must call `aclose`, which stops the engine and, for an account, records the audio rendered so far.
    """

    def __init__(self, request: RenderRequest, chunks: AsyncGenerator[RenderedChunk, None]) -> None:
        self.request = request
        self.stats = RenderStats()
        self._chunks = chunks
        self._first: RenderedChunk | None = None
        self._recording: RenderRecording | None = None
        self._stored: RenderRecording | None = None
        self._row: TtsRender | None = None
        self._usd_per_char = 0.0
        self._ended = False

    async def begin(self) -> None:
        """Wait for the first chunk, so that a text that cannot be spoken fails before the response begins.

        Raises InvalidParameter, EngineFailure.
        """
        try:
            self._first = await anext(self._chunks)
        except StopAsyncIteration:
            self._ended = True
        except BaseException:
            await self._chunks.aclose()
            raise

    def record(self, recording: RenderRecording, row: TtsRender, usd_per_char: float) -> None:
        """Add each chunk to ``recording`` as well; ``row`` is completed with the render's counts at its end."""
        self._recording = self._stored = recording
        self._row, self._usd_per_char = row, usd_per_char

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RenderedChunk:
        chunk, self._first = self._first, None
        if chunk is None:
            if self._ended:
                raise StopAsyncIteration
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._ended = True
                raise
        self.stats.add(chunk, len(self.request.text))
        if self._recording is not None:
            await self._recording.add(chunk.pcm)
        return chunk

    async def aclose(self) -> None:
        """Stop the engine, if it still renders, and hand the row to the recorder."""
        try:
            await self._chunks.aclose()
        finally:
            self._finish()

    async def row_id(self) -> int | None:
        """Id of the render in the history, after `aclose`, once it is there; None for a render that is not recorded."""
        return None if self._stored is None else await self._stored.row_id()

    def _finish(self) -> None:
        recording, row, self._recording = self._recording, self._row, None
        if recording is None or row is None:
            return
        stats = self.stats
        chars = len(row.text) if self._ended else stats.spoken_chars
        recording.finish(
            replace(
                row,
                chars=chars,
                audio_secs=stats.audio_secs,
                cost_usd=round(chars * self._usd_per_char, 9),
                verified=stats.checked > 0,
                chunks=stats.chunks,
                retries=stats.retries,
                word_error_rate=stats.word_error_rate,
            )
        )


class Speech:
    """The service behind `/vui`, used by the HTTP routes and by the socket."""

    def __init__(
        self,
        settings: Settings,
        voices: ItemLedger[Voice],
        records: RecordLedger,
        objects: Objects,
        engines: Engines,
        spoken: SpokenChars,
    ) -> None:
        self._describe = partial(describe_slot, settings, "synthesizer")
        self._settings = settings.speech
        self._spoken = spoken
        self._voices = voices
        self._engines = engines
        self._previews: dict[str, NDArray[np.int16]] = {}
        self._recorder = RenderRecorder(objects, records)
        self._prompts = Prompts(settings, objects)
        self._revision = slot_revision(settings, "synthesizer")
        self._engine = choice(settings, "synthesizer").engine

    @property
    def built_in(self) -> tuple[VoiceProfile, ...]:
        """The built-in voices."""
        return built_in(self._engine)

    @cached_property
    def _sets_speed(self) -> bool:
        """Raises Unavailable if the engine's model is missing."""
        return bool(self._describe().capabilities["speed"])

    async def voice(self, voice_id: str, account: str | None) -> VoiceProfile:
        """A built-in voice, or a cloned one of ``account``.

        Raises NotFound; Unauthenticated where a clone needs a key; InvalidRequest for a voice of another engine.
        """
        if not voice_id.startswith(OWN_PREFIX):
            return find_voice(voice_id, self._engine)
        if account is None:
            raise Unauthenticated("a cloned voice needs the API key of its account", code="missing_api_key")
        return await self._prompts.profile(await self._own(voice_id, account))

    async def _own(self, voice_id: str, account: str) -> Voice:
        try:
            return await self._voices.get(account, voice_id)
        except NotFound:
            raise NotFound("there is no such voice in your account", code="unknown_voice", param="voice") from None

    def paces(self, speed: float) -> tuple[float, float]:
        """``speed`` as a product of two factors: the pace that the engine renders, and the change of tempo applied to its
        audio.
        """
        own = min(max(speed, MIN_SPEED), MAX_SPEED) if self._sets_speed else 1.0
        return own, speed / own

    def check(self, ask: Render) -> None:
        """Raises InvalidParameter for a text over FLUXIONS_TTS_MAX_CHARS, or a speed that the engine does not have."""
        if ask.speed != 1 and not self._sets_speed:
            raise InvalidParameter(
                f"speed: {ask.speed:g} is not possible, for the synthesiser {self._engine} has one pace only; leave it out",
                param="speed",
            )
        if len(ask.input) > self._settings.tts_max_chars:
            raise InvalidParameter(
                f"input: {len(ask.input)} characters are more than the {self._settings.tts_max_chars} accepted; split it",
                param="input",
            )

    async def start(self, ask: Render, voice: VoiceProfile, account: str | None, *, streamed: bool) -> Rendering:
        """A render whose first chunk is ready; recorded if ``account`` is given.

        Raises InvalidParameter, EngineFailure, RateLimited.
        """
        if account is not None:
            await self._spoken.take(account, len(ask.input))
        request = RenderRequest(
            voice,
            plain_text(ask.input, name_emoji=self._settings.tts_emoji == "named"),
            ask.temperature,
            ask.max_secs or None,
            ask.verify_chunks,
            streamed=streamed,
            speed=ask.speed,
        )
        rendering = Rendering(request, self._engines.render(request))
        began = time.perf_counter()
        await rendering.begin()
        FIRST_AUDIO.labels("yes" if streamed else "no").observe(time.perf_counter() - began)
        if account is not None:
            row = TtsRender(account, voice.voice_id, ask.input, 0, 0.0, 0.0, None, self._revision, ask.temperature)
            rendering.record(self._recorder.open(), row, self._settings.usd_per_million_chars / 1e6)
        return rendering

    async def preview(self, voice: VoiceProfile) -> NDArray[np.int16]:
        """``voice`` speaking its preview text, ``(num_samples,) int16`` at 24 kHz mono; rendered once and cached."""
        if voice.voice_id not in self._previews:
            self._previews[voice.voice_id] = await self._said(voice, voice.preview_text)
        return self._previews[voice.voice_id]

    async def own_preview(self, voice_id: str, account: str) -> NDArray[np.int16]:
        """A cloned voice of ``account`` speaking the beginning of its clip's words, as `preview`.

        Rendered anew each time and in no history; its characters count towards the account's limit. Raises NotFound;
        InvalidRequest for a voice of another engine; RateLimited; EngineFailure.
        """
        found = await self._own(voice_id, account)
        voice = await self._prompts.profile(found)
        said = plain_text(found.text, name_emoji=False)
        text = shorten(said, _PREVIEW_CHARS, placeholder="") or said[:_PREVIEW_CHARS].strip() or _PREVIEW_TEXT
        await self._spoken.take(account, len(text))
        return await self._said(voice, text)

    async def _said(self, voice: VoiceProfile, text: str) -> NDArray[np.int16]:
        chunks = self._engines.render(RenderRequest(voice, text, verify=False))
        async with aclosing(chunks):
            pcm = b"".join([chunk.pcm async for chunk in chunks])
        return np.frombuffer(pcm, "<i2")

    async def drain(self, timeout_secs: Seconds = _DRAIN_SECS) -> None:
        """Wait until renders that ended are stored, at most ``timeout_secs``; then their rows are written without sound."""
        await self._recorder.drain(timeout_secs)
