"""Items of accounts: the newest state counts, and an account reaches only its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse.ledger.ledger import Ledger
from schemas.errors import Conflict, NotFound
from schemas.records import VoiceConsent
from schemas.webhooks import Webhook
from tests.support.lakehouse_kit import home

pytestmark = pytest.mark.unit

CONSENT = VoiceConsent("cons_1", "ada", "Ada", "en", "voices/ada/cons_1.wav", 2.0)
WEBHOOK = Webhook("wh_1", "ada", "https://example.org", ("transcription.completed", "voice.created"))


async def test_the_newest_state_of_an_item_counts_after_a_restart(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    first = await ledger.consents.put(CONSENT)
    renamed = await ledger.consents.put(replace(first, name="Ada II"))
    assert renamed.created_at == first.created_at is not None
    await ledger.consents.put(replace(CONSENT, id="cons_2"))
    await ledger.consents.delete("ada", "cons_2")
    webhook = await ledger.webhooks.put(WEBHOOK)
    await ledger.close()
    ledger = await Ledger.open(home(tmp_path))
    try:
        assert await ledger.consents.of_account("ada") == [renamed]
        assert await ledger.webhooks.get("ada", "wh_1") == webhook
    finally:
        await ledger.close()


async def test_an_account_neither_reads_nor_replaces_nor_deletes_an_item_of_another(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        made = await ledger.consents.put(CONSENT)
        with pytest.raises(NotFound, match="no voice consent cons_1"):
            await ledger.consents.get("eve", "cons_1")
        with pytest.raises(NotFound):
            await ledger.consents.delete("eve", "cons_1")
        with pytest.raises(Conflict, match="taken"):
            await ledger.consents.put(replace(CONSENT, account="eve"))
        assert await ledger.consents.of_account("eve") == []
        assert await ledger.consents.get("ada", "cons_1") == made
    finally:
        await ledger.close()


async def test_of_two_deletions_at_once_one_finds_nothing(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        await ledger.webhooks.put(WEBHOOK)
        results = await asyncio.gather(*[ledger.webhooks.delete("ada", "wh_1") for _ in range(2)], return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["NotFound", "Webhook"]
    finally:
        await ledger.close()
