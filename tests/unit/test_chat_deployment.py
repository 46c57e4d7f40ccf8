"""The language model's replica: portions of an answer, errors, and cancellation by the caller."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from schemas.errors import EngineFailure, Unavailable
from schemas.language_model import ChatMessage, ChatRequest
from schemas.settings import EngineSettings, ServerSettings, Settings
from tests.support.chat_servers import Connection, answering, saying, text

pytestmark = pytest.mark.unit

with warnings.catch_warnings():
    # Ray Serve 2.60 declares its models in a way pydantic deprecates, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.engines.language_models.deployment import LanguageModelDeployment, gathered

HELLO = ChatRequest((ChatMessage("user", "Hello."),))


def settings(url: str, **engines: str) -> Settings:
    chosen = {"llm_engine": "openai", "llm_url": url, "llm_model": "test-model", **engines}
    return Settings(server=ServerSettings(home=Path("/nowhere")), engines=EngineSettings(**chosen))  # type: ignore[arg-type]


async def test_a_replica_gives_the_answer_and_its_faults() -> None:
    async def breaks(connection: Connection) -> None:
        await connection.begin()
        await connection.event(text("Well,"))
        await connection.event("{broken")

    async with answering(saying("Good ", "morning."), breaks) as server:
        replica = LanguageModelDeployment.func_or_class(settings(server.url))
        assert (await replica.info()).engine == "openai"
        portions = [portion async for portion in replica.chat(HELLO)]
        assert "".join(delta.text for portion in portions for delta in portion) == "Good morning."
        given: list[str] = []
        with pytest.raises(EngineFailure, match="broken JSON"):
            given.extend([delta.text async for portion in replica.chat(HELLO) for delta in portion])


async def test_a_caller_who_goes_away_ends_the_generation() -> None:
    async def endless(connection: Connection) -> None:
        await connection.begin()
        while True:
            await connection.event(text("and "))
            await asyncio.sleep(0.01)

    async with answering(endless) as server:
        replica = LanguageModelDeployment.func_or_class(settings(server.url))
        async with aclosing(replica.chat(HELLO)) as portions:
            assert (await anext(portions))[0].text == "and "
        await asyncio.wait_for(server.requests[0].closed.wait(), 10)


async def test_a_replica_without_a_model_says_why() -> None:
    replica = LanguageModelDeployment.func_or_class(
        settings("http://127.0.0.1:9/v1", llm_engine="llama", llm_model="/nope")
    )
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"language_model: the engine llama cannot load /nope \(FLUXIONS_LLM_MODEL\)"):
            await anext(replica.chat(HELLO))


async def test_what_comes_meanwhile_is_one_portion_and_errors_follow_what_came() -> None:
    taken = asyncio.Event()

    async def items() -> AsyncGenerator[int, None]:
        yield 1
        await taken.wait()
        for number in (2, 3, 4):
            yield number
        raise EngineFailure("it broke")

    portions = gathered(items())
    assert await anext(portions) == (1,)
    taken.set()
    assert await anext(portions) == (2, 3, 4)
    with pytest.raises(EngineFailure, match="it broke"):
        await anext(portions)
