"""Deleting renders, conversations and accounts: gone at once for everyone, and, once vacuumed, from every version."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.search import Search
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects, account_folder
from schemas.archives import FileFailure, NewArchive, NotedFile
from schemas.errors import Conflict, Forbidden, NotFound, Unavailable
from schemas.records import (
    Conversation,
    ConversationEnd,
    ConversationTurn,
    Speaker,
    ToolCall,
    TtsRender,
    Voice,
    VoiceConsent,
)
from schemas.settings import Settings
from schemas.webhooks import Happened, Webhook
from tests.integration.test_delete import finish, recording, send
from tests.support.lakehouse_kit import ManualClock, home, read_jobs, stores_with, until_projected, vacuum

pytestmark = pytest.mark.integration

SECRET = "xylophonist"
NOON = dt.datetime(2026, 6, 29, 12, tzinfo=dt.UTC)


class Home:
    """A ledger, its objects, and a reader that follows it as a gateway does."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.ledger = ledger
        self.objects = Objects.of(settings)
        self.history = History(Location.of(settings), ledger.records)
        self.search = Search(self.history)

    async def render(self, account: str, text: str) -> int:
        key = f"renders/{account_folder(account)}/{len(text)}.opus"
        await self.objects.put_bytes(key, text.encode())
        render = TtsRender(account, "maeve", text, len(text), 1.5, 0.01, key, "e", 0.7, import_key=text)
        return (await self.ledger.records.add_renders([render]))[0]

    async def conversation(self, account: str, session_id: str, text: str, *, ended: bool = True) -> None:
        records, key = self.ledger.records, f"conversations/{account_folder(account)}/{session_id}.opus"
        await self.objects.put_bytes(key, text.encode())
        await records.begin_conversation(Conversation(account, session_id, NOON, voice="maeve"))
        await records.add_entry(account, session_id, "0", ConversationTurn("user", text, NOON))
        await records.add_entry(account, session_id, "1", ToolCall("look", {"for": text}, text, NOON))
        if ended:
            await records.end_conversation(account, session_id, ConversationEnd(NOON, 4.0, audio_key=key))


@asynccontextmanager
async def opened(settings: Settings, clock: ManualClock | None = None) -> AsyncIterator[Home]:
    ledger = await Ledger.open(settings, clock=clock)
    found = Home(settings, ledger)
    try:
        yield found
    finally:
        await found.history.close()
        await ledger.close()


async def test_a_deleted_render_is_nowhere_and_its_neighbours_stay(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as at:
        kept = await at.render("ada", "something else")
        gone = await at.render("ada", f"I am a {SECRET}")
        assert [hit.row["id"] for hit in await at.search.everything("ada", SECRET, 5)] == [gone]
        with pytest.raises(NotFound):
            await at.ledger.deletions.render("eve", gone)
        await at.ledger.deletions.render("ada", gone)
        assert await at.history.get("tts_renders", "ada", gone) is None
        assert (await at.history.page("tts_renders", "ada")).total == 1
        assert await at.search.everything("ada", SECRET, 5) == []
        with pytest.raises(NotFound):
            await at.ledger.deletions.render("ada", gone)
        assert await at.history.get("tts_renders", "ada", kept) is not None
    vacuum(settings)
    assert list(stores_with(settings, SECRET)) == []
    assert list(stores_with(settings, "something else"))
    async with opened(settings) as at:
        assert await at.render("ada", "a third text") > gone, "an id was given twice"


async def test_a_deleted_conversation_goes_with_turns_calls_and_sound(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as at:
        await at.conversation("o'ada", "sess_gone", SECRET)
        await at.conversation("o'ada", "sess_kept", "something else")
        assert len(await at.search.turns("o'ada", SECRET, 5)) == 1
        with pytest.raises(NotFound):
            await at.ledger.deletions.conversation("eve", "sess_gone")
        await at.ledger.deletions.conversation("o'ada", "sess_gone")
        assert await at.history.conversation("o'ada", "sess_gone") is None
        assert await at.history.turns("o'ada", "sess_gone", 10) == []
        assert await at.history.tool_calls("o'ada", "sess_gone") == []
        assert await at.search.turns("o'ada", SECRET, 5) == []
        assert len(await at.history.turns("o'ada", "sess_kept", 10)) == 1
    vacuum(settings)
    assert list(stores_with(settings, SECRET)) == []
    assert list(stores_with(settings, "something else"))


async def test_a_conversation_that_goes_on_is_not_deleted(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as at:
        await at.conversation("ada", "sess_live", SECRET, ended=False)
        with pytest.raises(Conflict, match="end it first"):
            await at.ledger.deletions.conversation("ada", "sess_live")
        assert await at.history.conversation("ada", "sess_live") is not None


async def test_a_deletion_that_failed_half_way_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home(tmp_path)
    async with opened(settings) as at:
        await at.conversation("ada", "sess_gone", SECRET)

        async def fails(_: str) -> None:
            raise Unavailable("the table turns could not be written")

        monkeypatch.setattr(at.ledger._writers["turns"], "delete", fails)
        with pytest.raises(Unavailable):
            await at.ledger.deletions.conversation("ada", "sess_gone")
        monkeypatch.undo()
    async with opened(settings) as at:
        await at.ledger.deletions.settled()
        assert await at.history.conversation("ada", "sess_gone") is None
    vacuum(settings)
    assert list(stores_with(settings, SECRET)) == []


async def fill(at: Home, account: str, text: str) -> None:
    """One of everything that an account can have, each with ``text``."""
    ledger = at.ledger
    for content in (text, f"{text} waits"):
        await send(ledger, at.objects, new := replace(recording(content, account=account), filename=f"{text}.wav"))
        await at.objects.put_bytes(new.audio_key, text.encode())
        if content == text:
            await finish(ledger, at.objects, text)
    await at.render(account, text)
    await at.conversation(account, f"sess_{account}", text)
    await at.conversation(account, f"sess_live_{account}", text, ended=False)
    for folder in ("voices", "consents"):
        await at.objects.put_bytes(f"voices/{account}/{folder}.wav", text.encode())
    voice = Voice(f"u-{account}", account, text, text, 50, 4.0, f"voices/{account}/voices.wav", {"said": text}, "e")
    await ledger.voices.put(voice)
    consent = VoiceConsent(f"cons_{account}", account, text, "en", f"voices/{account}/consents.wav", 2.0)
    await ledger.consents.put(consent)
    await ledger.speakers.put(Speaker(f"spk_{account}", account, text, f"voices/{account}/voices.wav", 2.0))
    await ledger.webhooks.put(Webhook(f"whk_{account}", account, f"https://{text}.example/", ("voice.created",)))
    await ledger.voices.put(voice)
    await ledger.webhooks.publish(Happened(account, f"evt_{account}", "webhook.test", {"said": text}), f"whk_{account}")
    archive = await ledger.archives.open(NewArchive(account, text, f"/{text}"), "engines-1")
    noted = NotedFile(
        f"/{text}/a.wav", f"/{text}/a.wav", account, f"{text}.wav", FileFailure("not_audio", text), skipped=True
    )
    await ledger.archives.note_files(archive.id, [noted])
    for folder in ("audio", "results", "playback", "conversations", "renders", "voices"):
        await at.objects.put_bytes(f"{folder}/{account_folder(account)}/also", text.encode())
    await until_projected(ledger)


async def test_nothing_of_a_deleted_account_is_left(tmp_path: Path) -> None:
    settings, clock = home(tmp_path), ManualClock()
    async with opened(settings, clock) as at:
        for account, text in (("ada", "glockenspiel"), ("bob", "marimba")):
            await fill(at, account, text)
            key, _ = await at.ledger.keys.create(account, "laptop", ("user",))
            if account == "ada":
                hashed = key.key_hash
        assert {f.split("/")[1] for f in stores_with(settings, "glockenspiel") if f.startswith("tables")} >= {
            *("segments", "job_events", "tts_renders", "turns", "tool_calls"),
            *("voices", "voice_consents", "speakers", "webhooks", "webhook_deliveries", "archives", "archive_files"),
        }
        await at.ledger.deletions.account("ada")
        await until_projected(at.ledger)
        assert await at.ledger.keys.find(hashed) is None
        assert (await read_jobs(at.ledger, "ada", 10, 0)) == (0, [])
        assert (await read_jobs(at.ledger, "bob", 10, 0))[0] == 2
        for table, bobs in (("tts_renders", 1), ("conversations", 2)):
            assert (await at.history.page(table, "ada")).total == 0
            assert (await at.history.page(table, "bob")).total == bobs
        assert await at.ledger.voices.of_account("ada") == await at.ledger.consents.of_account("ada") == []
        assert await at.ledger.webhooks.of_account("ada") == []
        assert [run.account for run in await at.ledger.archives.all()] == ["bob"]
        await at.ledger.deletions.account("ada")  # repeating does no harm
    vacuum(settings)
    assert list(stores_with(settings, "glockenspiel")) == []
    assert len(list(stores_with(settings, "marimba"))) > 10


async def test_what_was_under_way_writes_nothing_for_a_deleted_account(tmp_path: Path) -> None:
    settings, clock = home(tmp_path), ManualClock()
    async with opened(settings, clock) as at:
        await at.conversation("ada", "sess_live", "something", ended=False)
        await at.ledger.deletions.account("ada")
    # Neither at once nor after a restart.
    async with opened(settings, clock) as at:
        assert await at.render("ada", SECRET) == 0
        with pytest.raises(Forbidden):
            await send(at.ledger, at.objects, recording("late", account="ada"))
        with pytest.raises(NotFound):
            await at.ledger.records.add_entry("ada", "sess_live", "9", ConversationTurn("user", SECRET, NOON))
        with pytest.raises(Forbidden):
            await at.ledger.keys.create("ada", "laptop", ("user",))
        assert await at.render("bob", "still speaks") > 0
        clock.advance(2 * 3600 + 1)
        assert await at.render("ada", "begins anew") > 0


async def test_the_account_that_runs_the_platform_is_not_deleted(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as at:
        key, _ = await at.ledger.keys.create("operator", "worker", ("operator",))
        with pytest.raises(Conflict, match="revoke them first"):
            await at.ledger.deletions.account("operator")
        await at.ledger.keys.revoke(key.id)
        await at.ledger.deletions.account("operator")


async def test_no_row_holds_the_words_of_a_deleted_voice(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as at:
        voice = Voice("u-ada", "ada", SECRET, SECRET, 50, 4.0, "voices/ada/1.wav", {"said": SECRET}, "e")
        await at.ledger.voices.put(voice)
        assert (await at.ledger.voices.delete("ada", "u-ada")).name == SECRET
        again = Voice("u-ada", "ada", "anew", "anew", 50, 4.0, "voices/ada/1.wav", {}, "e")
        await at.ledger.voices.put(again)
    vacuum(settings)
    assert list(stores_with(settings, SECRET)) == []
    async with opened(settings) as at:
        assert [one.name for one in await at.ledger.voices.of_account("ada")] == ["anew"]
