"""Fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.contract.filled_history import fill
from tests.contract.gateway import Running, running
from tests.contract.speaking import served
from tests.support.realtime_kit import ScriptedEngines


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "home") as started:
        yield started


@pytest.fixture
async def client(gateway: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def filled(gateway: Running) -> Running:
    """The gateway with a history: see `fill`."""
    await fill(gateway)
    return gateway


@pytest.fixture
async def scripted(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> ScriptedEngines:
    """The gateway's engines, with a language model scripted by the test."""
    model = ScriptedEngines()
    monkeypatch.setattr(gateway.services.engines, "chat", model.chat)
    monkeypatch.setattr(gateway.services.engines, "language_model", model.language_model)
    return model


@pytest.fixture
async def address(gateway: Running, scripted: ScriptedEngines) -> AsyncIterator[str]:
    async with served(gateway) as found:
        yield found
