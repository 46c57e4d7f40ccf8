"""Speaking: a voice is found, its render streamed, and what an account had spoken is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from lakehouse.objects import Objects
from schemas.api.speech import Render
from schemas.domain import TtsRender
from schemas.engines import RenderedChunk, RenderRequest, VoiceProfile
from schemas.errors import InvalidParameter, NotFound, Unauthenticated
from schemas.settings import Settings
from serve.engines import slot_revision
from serve.keeping import Copy, Keeper, Tally
from serve.prompts import Prompts
from serve.tts.voices import find_voice

if TYPE_CHECKING:
    from serve.gateway.services import Engines, LedgerClient

_DRAIN_SECS = 10.0
OWN_PREFIX = "u-"
"""How ids of cloned voices begin."""


class Rendering:
    """One render under way. Whoever has it closes it: that stops the engine, and keeps what an account heard."""

    def __init__(self, request: RenderRequest, chunks: AsyncGenerator[RenderedChunk, None]) -> None:
        self.request = request
        self.tally = Tally()
        self._chunks = chunks
        self._first: RenderedChunk | None = None
        self._copy: Copy | None = None
        self._row: TtsRender | None = None
        self._usd_per_char = 0.0
        self._ended = False

    async def begin(self) -> None:
        """Waits for the first sound, so that what cannot be spoken is refused before anything is answered."""
        try:
            self._first = await anext(self._chunks)
        except StopAsyncIteration:
            self._ended = True
        except BaseException:
            await self._chunks.aclose()
            raise

    def keep(self, copy: Copy, row: TtsRender, usd_per_char: float) -> None:
        """From now on sound goes to ``copy`` as well; its row is ``row`` with what became of the render."""
        self._copy, self._row, self._usd_per_char = copy, row, usd_per_char

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
        self.tally.add(chunk, len(self.request.text))
        if self._copy is not None:
            await self._copy.add(chunk.pcm)
        return chunk

    async def aclose(self) -> None:
        try:
            await self._chunks.aclose()
        finally:
            self._finish()

    def _finish(self) -> None:
        copy, row, self._copy = self._copy, self._row, None
        if copy is None or row is None:
            return
        tally = self.tally
        chars = len(row.text) if self._ended else tally.spoken_chars
        copy.finish(
            replace(
                row,
                chars=chars,
                audio_secs=tally.audio_secs,
                cost_usd=round(chars * self._usd_per_char, 9),
                verified=tally.checked > 0,
                chunks=tally.chunks,
                retries=tally.retries,
                word_error_rate=tally.word_error_rate,
            )
        )


class Speech:
    """The service behind `/vui`: HTTP and socket differ only in how they carry what it gives."""

    def __init__(self, settings: Settings, ledger: LedgerClient, objects: Objects, engines: Engines) -> None:
        self._settings = settings.speech
        self._ledger = ledger
        self._engines = engines
        self._previews: dict[str, NDArray[np.int16]] = {}
        self._keeper = Keeper(objects, ledger)
        self._prompts = Prompts(settings, objects)
        self._revision = slot_revision(settings, "synthesizer")

    async def voice(self, voice_id: str, account: str | None) -> VoiceProfile:
        """A built-in voice, or a cloned one of ``account``.

        Raises NotFound; Unauthenticated where a clone needs a key; InvalidRequest for one made for another engine.
        """
        if not voice_id.startswith(OWN_PREFIX):
            return find_voice(voice_id)
        if account is None:
            raise Unauthenticated("a cloned voice needs the API key of its account", code="missing_api_key")
        found = await self._ledger.get_voice(voice_id)
        if found is None or found.account != account:
            raise NotFound("there is no such voice in your account", code="unknown_voice", param="voice")
        return await self._prompts.profile(found)

    def check(self, ask: Render) -> None:
        """Raises InvalidParameter for a text over the limit set."""
        if len(ask.input) > self._settings.tts_max_chars:
            raise InvalidParameter(
                f"input: {len(ask.input)} characters are more than the {self._settings.tts_max_chars} accepted; split it",
                param="input",
            )

    async def start(self, ask: Render, voice: VoiceProfile, account: str | None, *, streamed: bool) -> Rendering:
        """A render whose first sound is there; kept if it is an ``account``'s. Raises InvalidParameter, EngineFailure."""
        request = RenderRequest(
            voice, ask.input, ask.temperature, ask.max_secs or None, ask.verify_chunks, streamed=streamed
        )
        rendering = Rendering(request, self._engines.render(request))
        await rendering.begin()
        if account is not None:
            row = TtsRender(account, voice.voice_id, ask.input, 0, 0.0, 0.0, None, self._revision, ask.temperature)
            rendering.keep(self._keeper.open(), row, self._settings.usd_per_million_chars / 1e6)
        return rendering

    async def preview(self, voice: VoiceProfile) -> NDArray[np.int16]:
        """``voice`` speaking its preview text, ``(num_samples,) int16`` at 24 kHz mono; made once."""
        if voice.voice_id not in self._previews:
            chunks = self._engines.render(RenderRequest(voice, voice.preview_text, verify=False))
            async with aclosing(chunks):
                pcm = b"".join([chunk.pcm async for chunk in chunks])
            self._previews[voice.voice_id] = np.frombuffer(pcm, "<i2")
        return self._previews[voice.voice_id]

    async def drain(self) -> None:
        """Wait for what is on its way into the store."""
        await self._keeper.drain(_DRAIN_SECS)
