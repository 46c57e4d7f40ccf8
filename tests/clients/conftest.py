"""The platform that clients written by others speak to: gateway, worker and the embedded engines, loaded once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from schemas.language_model import ChatRequest
from schemas.settings import EngineSettings, JobSettings, ServerSettings, Settings, StorageSettings
from tests.clients.realtime_script import answer
from tests.clients.scripted_chat import scripted_chat
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform, platform
from tests.support.realtime_kit import ScriptedEngines

_URL = os.environ.get("FLUXIONS_TEST_URL", "").rstrip("/")
"""A running instance that conversations are held with instead of the platform in this process."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        # A worker that leaves must not be waited for while it asks for jobs.
        jobs=JobSettings(claim_wait_secs=0.5),
        engines=EngineSettings(tts_engine="espeak"),
    )
    async with platform(home, settings) as running:
        running.overheard.go.set()
        yield running


@dataclass(frozen=True)
class Conversing:
    """A platform whose language model is `answer`, and what that model was asked."""

    url: str
    key: str
    asked: list[ChatRequest]


if _URL:

    @pytest_asyncio.fixture(loop_scope="session")
    async def conversing() -> AsyncIterator[Conversing]:
        """A running instance, whose FLUXIONS_LLM_URL is that of `scripted_chat`."""
        async with scripted_chat(int(os.environ["FLUXIONS_TEST_LLM_PORT"])) as asked:
            yield Conversing(_URL, os.environ["FLUXIONS_TEST_KEY"], asked)

else:

    @pytest_asyncio.fixture(loop_scope="session")
    async def conversing(here: Platform, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Conversing]:
        """The platform in this process."""
        model = ScriptedEngines(otherwise=answer)
        monkeypatch.setattr(here.gateway.services.engines, "chat", model.chat)
        monkeypatch.setattr(here.gateway.services.engines, "language_model", model.language_model)
        yield Conversing(str(here.client.base_url).rstrip("/"), USER_KEY, model.asked)
