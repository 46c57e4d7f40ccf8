"""The real gateway in process: a real ledger, real tables, real objects, real engines, and no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.objects import Objects
from lakehouse.storage.signed_urls import home_secret
from schemas.domain import Slot
from schemas.engines import EngineInfo
from schemas.language_model import ChatDelta, ChatRequest
from schemas.settings import EngineSettings, ServerSettings, Settings, StorageSettings
from schemas.speech import RenderedChunk, RenderRequest, VoiceProfile
from schemas.speech_engines import SlotStatus
from serve.engines import registry
from serve.engines.asr.deployment import RecognizerDeployment
from serve.engines.in_process import InProcessEngines
from serve.engines.language_models.deployment import LanguageModelDeployment
from serve.engines.status import probe_slots
from serve.engines.tts.deployment import SynthesizerDeployment, stream
from serve.gateway.dependencies import Services
from serve.gateway.fastapi_app import create_app

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


class LocalEngines(InProcessEngines):
    """All engines in this process, loaded when first used, in their replicas' own code."""

    @cached_property
    def synthesizer(self) -> _Remote:
        return _Remote(SynthesizerDeployment.func_or_class(self._settings))

    async def recognizer_replica(self) -> Any:
        """Its queue, its batches, and what it says of its capabilities."""
        return await self._replica(RecognizerDeployment)

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        async for chunk in stream(self.synthesizer, request):
            yield chunk

    async def match_voice(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None, str]:
        profile, similarity = await self.synthesizer._replica.match(pcm, voice_id)
        return profile, similarity, (await self.synthesizer._replica.info()).revision

    @cached_property
    def language_model_replica(self) -> Any:
        return LanguageModelDeployment.func_or_class(self._settings)

    async def language_model(self) -> EngineInfo:
        info: EngineInfo = await self.language_model_replica.info()
        return info

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        async with aclosing(self.language_model_replica.chat(request)) as portions:
            async for portion in portions:
                for delta in portion:
                    yield delta

    async def slots(self) -> list[SlotStatus]:
        async def describe(slot: Slot) -> EngineInfo:
            return registry.describe_slot(self._settings, slot)

        return await probe_slots(self._settings, {slot: partial(describe, slot) for slot in registry.SLOTS})

    def close(self) -> None:
        # A replica ends what it has started when it goes.
        self.__dict__.pop("synthesizer", None)
        self.__dict__.pop("language_model_replica", None)
        super().close()


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


def quick_settings(home: Path, synthesizer: str = "espeak") -> Settings:
    """Tables that are not synced, and by default the synthesiser that speaks at once."""
    return Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        engines=EngineSettings(tts_engine=synthesizer),
    )


@asynccontextmanager
async def running(home: Path, settings: Settings | None = None) -> AsyncIterator[Running]:
    """A gateway over a new ledger in ``home``, with a user's, a stranger's and the operator's key."""
    settings = settings or quick_settings(home)
    ledger = await Ledger.open(settings)
    local = LocalEngines(settings)
    try:
        await ledger.keys.create("default", "tests", ("user",), USER_KEY)
        await ledger.keys.create("other", "tests", ("user",), OTHER_KEY)
        await ledger.keys.create("operator", "tests", ("operator", "admin", "user"), OPERATOR_KEY)
        objects = Objects.of(settings)
        services = Services.build(
            settings=settings,
            ledger=ledger,
            objects=objects,
            secret=home_secret(settings.home),
            engines=local,
            engine_revision=registry.engine_revision(settings),
        )
        try:
            yield Running(create_app(services), services, ledger)
        finally:
            await services.close()
    finally:
        local.close()
        await ledger.close()
