"""The engines of one account's conversation, whose spoken characters count toward the limit of its day."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from schemas.domain import AS_SPOKEN, Lane, Recognition, RecognizeOptions
from schemas.engines import EngineInfo
from schemas.language_model import ChatDelta, ChatRequest
from schemas.speech import RenderedChunk, RenderRequest
from serve.realtime.conversation_engines import ConversationEngines
from serve.services.spoken_chars import SpokenChars


class MeteredEngines:
    """`ConversationEngines` that raise RateLimited for a render over FLUXIONS_CHARS_PER_DAY."""

    def __init__(self, engines: ConversationEngines, spoken: SpokenChars, account: str) -> None:
        self._engines = engines
        self._spoken = spoken
        self._account = account

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        """See `ConversationEngines.recognize`."""
        return await self._engines.recognize(pcm, lane, options)

    async def check_options(self, options: RecognizeOptions) -> None:
        """See `ConversationEngines.check_options`."""
        await self._engines.check_options(options)

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        """The speech of a text. Raises RateLimited."""
        await self._spoken.take(self._account, len(request.text))
        async with aclosing(self._engines.render(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """See `ConversationEngines.chat`."""
        return self._engines.chat(request)

    async def language_model(self) -> EngineInfo:
        """See `ConversationEngines.language_model`."""
        return await self._engines.language_model()
