"""History over a real ledger: readers see what was acknowledged before they asked, whatever happens in between."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from deltalake import DeltaTable

from lakehouse.history import follower, snapshot
from lakehouse.history.history import History
from lakehouse.ledger import change_log as ledger_changes
from lakehouse.ledger.change_log import Changes, Position
from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.retained import Retained
from lakehouse.storage.location import Location
from schemas.records import Conversation, ConversationTurn, ToolCall, TtsRender
from schemas.settings import Settings
from tests.support.lakehouse_kit import home, new_job, outcome, transcript

pytestmark = pytest.mark.integration


class Asked:
    """A ledger that may be exchanged for the next one, and counts the questions that reach it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.questions = 0

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]:
        self.questions += 1
        return await self.ledger.records.changes(since)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[tuple[Asked, History]]:
    asked = Asked(await Ledger.open(settings))
    history = History(Location.of(settings), asked)
    try:
        yield asked, history
    finally:
        await history.close()
        await asked.ledger.close()


def render(number: int, account: str = "ada", voice: str = "maeve") -> TtsRender:
    return TtsRender(
        account=account,
        voice=voice,
        text=f"Render {number}.",
        chars=9,
        audio_secs=1.0,
        cost_usd=0.01,
        audio_key=None,
        engine_revision="e",
        temperature=0.9,
    )


async def test_many_readers_see_every_acknowledged_job_through_projection_and_a_restart(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with reading(settings) as (asked, history):
        second = History(Location.of(settings), asked)
        for number in range(12):
            job = await asked.ledger.jobs.create(new_job(str(number), use_cache=False))
            for reader in (history, second):
                assert (await reader.page("transcriptions", "ada")).total == number + 1
            claim = await asked.ledger.jobs.claim("w", 0)
            assert claim is not None
            await asked.ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript())
            rows = await asyncio.gather(*(reader.get("transcriptions", "ada", job.id) for reader in (history, second)))
            assert [row and row["status"] for row in rows] == ["completed", "completed"]
            if number == 6:
                await asked.ledger.close()
                asked.ledger = await Ledger.open(settings)
        await second.close()
        found = await history.page("transcriptions", "ada", page=2, limit=5, order="asc", filters={"status": "completed"})
        assert (found.total, [row["id"] for row in found.rows]) == (12, [6, 7, 8, 9, 10])
        assert await history.get("transcriptions", "bob", 1) is None


async def test_readers_that_come_together_share_questions(tmp_path: Path) -> None:
    async with reading(home(tmp_path)) as (asked, history):
        await history.page("tts_renders", "ada")
        before = asked.questions
        await asyncio.gather(*(history.page("tts_renders", "ada") for _ in range(50)))
        assert asked.questions - before <= 2


async def test_a_reader_left_far_behind_opens_the_table_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_changes, "LOG_ROWS", Retained(least=2, most=4, secs=900.0))
    async with reading(home(tmp_path)) as (asked, history):
        for number in range(30):
            await asked.ledger.records.add_renders([render(number, "ada" if number % 2 else "bob", f"v{number % 4}")])
            if number in (2, 4, 20):
                await history.page("tts_renders", "ada")
        found = await history.page("tts_renders", "ada", limit=3, filters={"voice": "v3"})
        assert (found.total, [row["text"] for row in found.rows]) == (7, ["Render 27.", "Render 23.", "Render 19."])
        assert "lexemes" not in found.rows[0]
        with pytest.raises(KeyError, match="status"):
            await history.page("tts_renders", "ada", filters={"status": "completed"})


async def test_a_long_tail_is_folded_into_a_new_snapshot_beside_the_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "REFRESH_ROWS", 5)
    async with reading(home(tmp_path)) as (asked, history):
        seen = set()
        for number in range(1, 60):
            await asked.ledger.records.add_renders([render(number)])
            found = await history.page("tts_renders", "ada", limit=100, order="asc")
            assert [row["id"] for row in found.rows] == list(range(1, number + 1))
            taken = history.snapshot("tts_renders")
            assert taken is not None
            seen.add(taken.version)
        assert len(seen) > 2


async def test_files_that_maintenance_took_away_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SMALL_FILE_ROWS", 0)
    settings = home(tmp_path)
    async with reading(settings) as (asked, history):
        for number in range(1, 7):
            await asked.ledger.records.add_renders([render(number)])
        assert (await history.page("tts_renders", "ada")).total == 6
    async with reading(settings) as (_, history):
        assert (await history.get("tts_renders", "ada", 1) or {})["text"] == "Render 1."
        table = DeltaTable(Location.of(settings).table_uri("tts_renders"))
        table.optimize.compact()
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        found = await history.page("tts_renders", "ada", order="asc")
        assert [row["text"] for row in found.rows] == [f"Render {number}." for number in range(1, 7)]


async def test_the_feed_is_the_three_tables_by_time(tmp_path: Path) -> None:
    began = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
    async with reading(home(tmp_path)) as (asked, history):
        for number in range(5):
            await asked.ledger.jobs.create(new_job(str(number)))
            await asked.ledger.records.add_renders([render(number)])
            talk = Conversation("ada", f"sess_{number}", began, voice="maeve")
            await asked.ledger.records.add_conversation(talk, [])
        whole = await history.feed("ada", limit=100)
        assert whole.total == len(whole.rows) == 15
        times = [row["created_at"] for _, row in whole.rows]
        assert times == sorted(times, reverse=True)
        pages = [await history.feed("ada", offset=4 * n, limit=4) for n in range(5)]
        assert [item for page in pages for item in page.rows] == whole.rows
        some = await history.feed("ada", ["tts_renders", "conversations"], order="asc", since=times[7], until=times[2])
        inside = [
            item for item in whole.rows if item[0] != "transcriptions" and times[7] <= item[1]["created_at"] <= times[2]
        ]
        assert some.total == len(inside)
        assert sorted(some.rows, key=str) == sorted(inside, key=str)
        assert (await history.feed("bob")).total == 0


async def test_a_conversation_has_its_turns_and_no_others(tmp_path: Path) -> None:
    began = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
    async with reading(home(tmp_path)) as (asked, history):
        for account in ("ada", "bob"):
            for name in ("sess_a", "sess_b"):
                turns = [
                    ConversationTurn("user", f"{name} {n} {account}", began + dt.timedelta(seconds=n)) for n in range(4)
                ]
                calls = [ToolCall("calendar", {"range": "today"}, "2 events", began)]
                await asked.ledger.records.add_conversation(Conversation(account, name, began), turns, calls)
        found = await history.conversation("ada", "sess_b")
        assert found is not None
        assert (found["session_id"], found["account"]) == ("sess_b", "ada")
        assert [row["text"] for row in await history.turns("ada", "sess_b", 3)] == [f"sess_b {n} ada" for n in range(3)]
        assert [row["tool"] for row in await history.tool_calls("bob", "sess_a")] == ["calendar"]
        assert await history.conversation("ada", "sess_c") is None
        assert await history.turns("eve", "sess_a", 10) == []
