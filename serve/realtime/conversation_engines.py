"""The engines of a conversation."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from schemas.domain import AS_SPOKEN, Lane, Recognition, RecognizeOptions
from schemas.engines import EngineInfo
from schemas.errors import FluxionsError
from schemas.language_model import ChatDelta, ChatRequest
from schemas.speech import RenderedChunk, RenderRequest


class RecognizingEngines(Protocol):
    """The methods of `schemas.speech_engines.Engines` that recognise speech; they are described there."""

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        """The text of one utterance, s16le at 16 kHz mono."""
        ...

    async def check_options(self, options: RecognizeOptions) -> None:
        """Raises InvalidParameter for options that the recogniser does not support."""
        ...


class ConversationEngines(RecognizingEngines, Protocol):
    """The methods of `schemas.speech_engines.Engines` that a conversation needs."""

    def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        """The speech of a text."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """A language model's output; closing it stops the model."""
        ...

    async def language_model(self) -> EngineInfo:
        """The model and its capabilities."""
        ...


async def context_tokens(engines: ConversationEngines) -> int | None:
    """The model's context length in tokens; None if its engine declares none.

    None also where the engine fails: it then fails at the request, too.
    """
    try:
        found = (await engines.language_model()).capabilities.get("context_tokens")
    except FluxionsError:
        return None
    return found if isinstance(found, int) else None
