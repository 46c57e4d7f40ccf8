"""Deletion through the API: who may delete what, what is left on the disk, and what the audit says."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl
import pytest

from cli.main import main
from schemas.records import Conversation, ConversationTurn, Voice
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, USER_KEY, Running, running
from tests.integration.test_decode import wav
from tests.support.lakehouse_kit import files_with, until_projected, vacuum

pytestmark = pytest.mark.security

NOON = dt.datetime(2026, 6, 29, 12, tzinfo=dt.UTC)
SECRET = "xylophonist"
MARKED_SOUND = bytes(range(1, 65)) * 500
"""One second of s16le at 16 kHz that nothing else holds."""
MARK = MARKED_SOUND[:640]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "home") as started:
        yield started


async def spoken(gateway: Running) -> int:
    """Id of a render of `SECRET` for the first account."""
    async with gateway.client(USER_KEY) as owner:
        ask = {"voice": "maeve", "input": f"I am a {SECRET}.", "verify_chunks": False}
        assert (await owner.post("/vui/v1/tts", json=ask)).status_code == 200
        await gateway.services.speech.drain(60)
        return int((await owner.get("/history/tts")).json()["data"][0]["id"])


async def test_a_render_is_deleted_by_its_owner_with_its_audio(gateway: Running, tmp_path: Path) -> None:
    render_id = await spoken(gateway)
    path = f"/history/tts/{render_id}"
    async with gateway.client(USER_KEY) as owner, gateway.client(OTHER_KEY) as other:
        link = (await owner.get(path)).json()["download_url"]
        assert (await owner.get(link)).status_code == 200
        assert (await other.delete(path)).status_code == 404
        assert (await owner.delete(path)).json() == {"object": "tts", "id": render_id, "deleted": True}
        assert (await owner.get(path)).status_code == (await owner.delete(path)).status_code == 404
        assert (await owner.get("/history/tts")).json()["total"] == 0
        assert (await owner.get(f"/history/search?q={SECRET}")).json()["data"] == []
        assert (await owner.get(link)).status_code == 404
    vacuum(gateway.services.settings)
    assert list(files_with(tmp_path, SECRET.encode())) == []


async def test_a_conversation_is_deleted_by_its_owner_once_it_has_ended(gateway: Running) -> None:
    records, path = gateway.ledger.records, "/history/conversations/sess_1"
    await records.begin_conversation(Conversation("default", "sess_live", NOON))
    await records.add_conversation(Conversation("default", "sess_1", NOON), [ConversationTurn("user", SECRET, NOON)])
    async with gateway.client(USER_KEY) as owner, gateway.client(OTHER_KEY) as other:
        assert (await owner.delete("/history/conversations/sess_live")).status_code == 409
        assert (await other.delete(path)).status_code == 404
        assert (await owner.delete(path)).json() == {"object": "conversation", "id": "sess_1", "deleted": True}
        assert (await owner.get(path)).status_code == (await owner.delete(path)).status_code == 404
        assert (await owner.get(f"/history/conversations/search?q={SECRET}")).json()["data"] == []


async def test_an_account_is_deleted_by_an_admin_and_leaves_no_byte(gateway: Running, tmp_path: Path) -> None:
    await spoken(gateway)
    sound = wav(MARKED_SOUND, rate_hz=16_000)
    async with gateway.client(USER_KEY) as owner, gateway.client(OTHER_KEY) as other:
        for client, name in ((owner, SECRET), (other, "kept")):
            sent = await client.post("/submit", content=sound, params={"filename": f"{name}.wav"})
            assert sent.status_code == 200
        assert len(list(files_with(tmp_path, MARK))) == 2
        await gateway.services.objects.put_bytes("voices/default/1.wav", MARKED_SOUND)
        voice = Voice("u-1", "default", SECRET, SECRET, 50, 4.0, "voices/default/1.wav", {"said": SECRET}, "e")
        await gateway.ledger.voices.put(voice)
        await gateway.ledger.records.add_conversation(
            Conversation("default", "sess_1", NOON), [ConversationTurn("user", SECRET, NOON)]
        )
        assert (await owner.delete("/operator/accounts/default")).status_code == 403
        async with gateway.client(OPERATOR_KEY) as admin:
            assert (await admin.delete("/operator/accounts/operator")).status_code == 409
            gone = await admin.delete("/operator/accounts/default")
            assert gone.json() == {"object": "account", "id": "default", "deleted": True}
        await until_projected(gateway.ledger)
        await asyncio.sleep(gateway.services.settings.auth.key_cache_secs)  # by then no gateway takes the key any more
        assert (await owner.get("/history")).status_code == 401
        assert (await other.get("/history/transcriptions")).json()["total"] == 1
    vacuum(gateway.services.settings)
    assert list(files_with(tmp_path, SECRET.encode())) == []
    assert [str(path.parent.name) for path in files_with(tmp_path, MARK)] == ["other"]
    audit = pl.read_delta(f"{gateway.services.settings.storage_url}/tables/audit_events")
    assert audit.filter(pl.col("action") == "DELETE /operator/accounts")["target"].to_list() == [
        "/operator/accounts/default"
    ]


def test_the_command_asks_before_it_deletes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["accounts", "delete", "ada", "--url", "http://127.0.0.1:9", "--key", "k"]
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(asked) == 130
    assert "Delete the account ada" in capsys.readouterr().err
    assert main([*asked, "--yes"]) == 3
