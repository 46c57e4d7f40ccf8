"""Clients of a chat endpoint, built from settings as a replica builds them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from schemas.language_model import ChatDelta, ChatMessage, ChatRequest
from schemas.settings import EngineSettings, ServerSettings, Settings
from serve.engines.language_models.chat_client import ChatClient
from serve.engines.registry import build_language_model
from tests.support.chat_servers import Answer, ChatServer, answering

HELLO = ChatRequest((ChatMessage("system", "Be brief."), ChatMessage("user", "Hello.")))


def settings(url: str, **engines: Any) -> Settings:
    quick = {"llm_first_token_secs": 5.0, "llm_token_secs": 5.0, "llm_model": "test-model", "llm_retries": 2}
    chosen = EngineSettings(llm_engine="openai", llm_url=url, **{**quick, **engines})
    return Settings(server=ServerSettings(home=Path("/nowhere")), engines=chosen)


@asynccontextmanager
async def asked(*answers: Answer, **engines: Any) -> AsyncIterator[tuple[ChatClient, ChatServer]]:
    async with answering(*answers) as server:
        client = build_language_model(settings(server.url, **engines))
        assert isinstance(client, ChatClient)
        try:
            yield client, server
        finally:
            await client.close()


async def answer(client: ChatClient, request: ChatRequest = HELLO) -> list[ChatDelta]:
    async with aclosing(client.stream(request)) as deltas:
        return [delta async for delta in deltas]


def words(deltas: list[ChatDelta]) -> str:
    return "".join(delta.text for delta in deltas)
