"""The real gateway in process: a real ledger, real tables, real objects, real engines, and no Ray."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from audio.pcm import to_float
from lakehouse.ledger import Ledger
from lakehouse.objects import Objects
from lakehouse.signing import Signer, home_secret
from schemas.domain import Lane, Recognition, Seconds, SoundEvent, Span, SpeakerHint, Turn, Word
from schemas.engines import (
    Diarizer,
    EngineInfo,
    EventDetector,
    RenderedChunk,
    RenderRequest,
    Slot,
    VoiceProfile,
    VoiceWindows,
)
from schemas.settings import ServerSettings, Settings, StorageSettings
from serve import engines
from serve.asr.deployment import RecognizerDeployment
from serve.gateway.app import create_app
from serve.gateway.services import Services
from serve.slots import SlotStatus, look
from serve.tts.deployment import SynthesizerDeployment, stream

USER_KEY = "fx_user_of_the_contract_tests"
OTHER_KEY = "fx_other_account_of_the_tests"
OPERATOR_KEY = "fx_operator_of_the_contract_tests"


class _Remote:
    """The synthesiser's replica in this process, called as through a handle; counts its renders that are not closed."""

    def __init__(self, replica: Any) -> None:
        self._replica = replica
        self.under_way = 0

    @property
    def render(self) -> _Remote:
        return self

    def remote(self, request: RenderRequest) -> _Response:
        return _Response(self._counted(request))

    async def _counted(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        self.under_way += 1
        try:
            async with aclosing(self._replica.render(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self.under_way -= 1


class _Response:
    """What a handle gives for a streaming call: chunks, and `cancel` which does not wait."""

    def __init__(self, chunks: AsyncGenerator[RenderedChunk, None]) -> None:
        self._chunks = chunks
        self._closing: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncGenerator[RenderedChunk, None]:
        return self._chunks

    def cancel(self) -> None:
        self._closing = asyncio.ensure_future(self._chunks.aclose())


class LocalEngines:
    """The engines in this process, loaded when first used; recogniser and synthesiser in their replicas' own code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def recognizer(self) -> Any:
        """The recogniser's replica: its queue, its batches, and what it says of its capabilities."""
        return RecognizerDeployment.func_or_class(self._settings)

    @cached_property
    def _diarizer(self) -> Diarizer:
        return engines.build_diarizer(self._settings)

    @cached_property
    def _events(self) -> EventDetector:
        return engines.build_event_detector(self._settings)

    @cached_property
    def synthesizer(self) -> _Remote:
        return _Remote(SynthesizerDeployment.func_or_class(self._settings))

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        async for chunk in stream(self.synthesizer, request):
            yield chunk

    async def match_voice(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None, str]:
        profile, similarity = await self.synthesizer._replica.match(pcm, voice_id)
        return profile, similarity, (await self.synthesizer._replica.info()).revision

    async def recognize(self, pcm: bytes, lane: Lane = "interactive") -> Recognition:
        replica = await asyncio.to_thread(lambda: self.recognizer)
        recognition: Recognition = await replica.recognize(pcm, lane)
        return recognition

    async def observe(self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane) -> VoiceWindows:
        samples = to_float(np.frombuffer(pcm, "<i2"))
        return await asyncio.to_thread(lambda: self._diarizer.observe(samples, speech, offset_secs))

    async def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint) -> list[Turn]:
        return await asyncio.to_thread(lambda: self._diarizer.resolve(windows, speech, hint))

    async def event_detector(self) -> EngineInfo:
        return await asyncio.to_thread(lambda: self._events.info)

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane) -> list[SoundEvent]:
        samples = to_float(np.frombuffer(pcm, "<i2"))
        return await asyncio.to_thread(lambda: self._events.observe(samples, offset_secs))

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> list[SoundEvent]:
        return await asyncio.to_thread(lambda: self._events.detect(speech, words, duration_secs, heard))

    async def slots(self) -> list[SlotStatus]:
        async def describe(slot: Slot) -> EngineInfo:
            return engines.describe_slot(self._settings, slot)

        return await look(self._settings, {slot: partial(describe, slot) for slot in engines.SLOTS})

    def close(self) -> None:
        # A replica ends what it has started when it goes.
        self.__dict__.pop("recognizer", None)
        self.__dict__.pop("synthesizer", None)
        gc.collect()


@dataclass
class Running:
    """A gateway and what stands behind it."""

    app: FastAPI
    services: Services
    ledger: Ledger

    def client(self, key: str | None = USER_KEY) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": key}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


@asynccontextmanager
async def running(home: Path, settings: Settings | None = None) -> AsyncIterator[Running]:
    """A gateway over a new ledger in ``home``, with a user's, a stranger's and the operator's key."""
    settings = settings or Settings(server=ServerSettings(home=home), storage=StorageSettings(fsync=False))
    ledger = await Ledger.open(settings)
    local = LocalEngines(settings)
    try:
        await ledger.create_key("default", "tests", ("user",), USER_KEY)
        await ledger.create_key("other", "tests", ("user",), OTHER_KEY)
        await ledger.create_key("operator", "tests", ("operator", "user"), OPERATOR_KEY)
        objects = Objects.of(settings)
        services = Services(
            settings=settings,
            ledger=ledger,
            objects=objects,
            signer=Signer(objects, home_secret(settings.home)),
            engines=local,
            engine_revision=engines.engine_revision(settings),
        )
        try:
            yield Running(create_app(services), services, ledger)
        finally:
            await services.speech.drain()
    finally:
        local.close()
        await ledger.close()
