"""Renders, conversations and voices are recorded once, durably, and found again by a ledger that starts anew."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from lakehouse.ledger.ledger import Ledger
from schemas.errors import Conflict, NotFound
from schemas.records import Conversation, ConversationTurn, ToolCall, TtsRender, Voice
from schemas.settings import Settings
from tests.support.lakehouse_kit import home

pytestmark = pytest.mark.integration

BEGUN = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
RENDER = TtsRender("ada", "maeve.en-us", "Good morning, dentists.", 23, 1.5, 0.00023, "tts/ada/1.opus", "espeak-1", 0.7)
CALL = Conversation("ada", "sess_abc", BEGUN, BEGUN + dt.timedelta(seconds=312.4), 312.4, "maeve.en-us")
TURNS = (
    ConversationTurn("user", "What's on my calendar today?", BEGUN + dt.timedelta(seconds=5)),
    ConversationTurn("assistant", "You have two meetings.", BEGUN + dt.timedelta(seconds=8)),
)
CALLS = (ToolCall("calendar", {"range": "today"}, "2 events", BEGUN + dt.timedelta(seconds=7)),)
VOICE = Voice("u-ada-1", "ada", "Ada", "hello", 50, 4.0, "voices/ada/1.wav", {"pitch": 1.25}, "espeak-1")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(settings)
    try:
        yield ledger
    finally:
        await ledger.close()


def rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    return pl.read_delta(f"{settings.storage_url}/tables/{table}").sort("created_at").to_dicts()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))  # type: ignore[arg-type]


def test_renders_get_ids_in_order_and_one_with_a_key_is_recorded_once(tmp_path: Path) -> None:
    settings = home(tmp_path)
    keyed = replace(RENDER, import_key="one")

    async def scenario() -> None:
        async with opened(settings) as ledger:
            each = await asyncio.gather(*(ledger.records.add_renders([r]) for r in (keyed, keyed, RENDER, RENDER)))
            together = [row_id for (row_id,) in each]
            assert together[0] == together[1]
            assert sorted(set(together)) == [1, 2, 3]
        async with opened(settings) as ledger:
            assert await ledger.records.add_renders([keyed]) == [together[0]]
            assert await ledger.records.add_renders([replace(keyed, account="eve")]) == [4]

    run(scenario)
    found = rows(settings, "tts_renders")
    assert sorted(row["id"] for row in found) == [1, 2, 3, 4]
    assert found[0]["lexemes"] == " good morn dentist "
    assert found[0]["created_at"].microsecond % 1000 == 0


def test_renders_recorded_together_are_one_commit(tmp_path: Path) -> None:
    settings = home(tmp_path)
    renders = [replace(RENDER, account=f"a{n % 3}", import_key=str(n)) for n in range(20)]

    async def scenario() -> None:
        async with opened(settings) as ledger:
            assert sorted(await ledger.records.add_renders(renders)) == list(range(1, 21))
            assert sorted(await ledger.records.add_renders(renders)) == list(range(1, 21))

    run(scenario)
    assert len(rows(settings, "tts_renders")) == 20
    table = DeltaTable(f"{settings.storage_url}/tables/tts_renders")
    assert [entry["operation"] for entry in table.history()].count("WRITE") == 1


def test_imported_renders_keep_their_time_and_come_in_once(tmp_path: Path) -> None:
    settings = home(tmp_path)
    old = [replace(RENDER, import_key=str(n), created_at=BEGUN + dt.timedelta(days=n)) for n in range(3)]

    async def scenario() -> None:
        async with opened(settings) as ledger:
            assert await ledger.records.import_renders("ada", [*old, old[0]]) == [
                (1, True),
                (2, True),
                (3, True),
                (1, False),
            ]
        async with opened(settings) as ledger:
            assert await ledger.records.import_renders("ada", old) == [(1, False), (2, False), (3, False)]

    run(scenario)
    assert [row["created_at"] for row in rows(settings, "tts_renders")] == [render.created_at for render in old]


def test_a_conversation_is_recorded_whole_and_once(tmp_path: Path) -> None:
    settings = home(tmp_path)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            assert await asyncio.gather(*(ledger.records.add_conversation(CALL, TURNS, CALLS) for _ in range(3))) == [
                1,
                1,
                1,
            ]
        async with opened(settings) as ledger:
            assert await ledger.records.add_conversation(CALL, TURNS, CALLS) == 1
            assert await ledger.records.add_conversation(replace(CALL, account="eve"), TURNS[:1]) == 2

    run(scenario)
    conversations = {row["account"]: row for row in rows(settings, "conversations")}
    assert (conversations["ada"]["turn_count"], conversations["eve"]["turn_count"]) == (2, 1)
    turns = [row for row in rows(settings, "turns") if row["account"] == "ada"]
    assert [(t["role"], t["text"], t["created_at"]) for t in turns] == [(t.role, t.text, t.created_at) for t in TURNS]
    assert [row["args"] for row in rows(settings, "tool_calls")] == ['{"range": "today"}']


def test_what_an_attempt_that_died_left_behind_is_not_doubled(tmp_path: Path) -> None:
    settings = home(tmp_path)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            await ledger.records.add_conversation(CALL, TURNS, CALLS)
        # As after a crash between the turns and the conversation.
        from deltalake import DeltaTable

        DeltaTable(f"{settings.storage_url}/tables/conversations").delete()
        async with opened(settings) as ledger:
            await ledger.records.add_conversation(CALL, TURNS, CALLS)

    run(scenario)
    assert [len(rows(settings, name)) for name in ("conversations", "turns", "tool_calls")] == [1, 2, 1]


def test_the_last_state_of_a_voice_counts_after_a_restart(tmp_path: Path) -> None:
    settings = home(tmp_path)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            await ledger.voices.put(VOICE)
            await ledger.voices.put(replace(VOICE, id="u-ada-2"))
            await ledger.voices.put(replace(VOICE, name="Ada II"))
            await ledger.voices.delete("ada", "u-ada-2")
            with pytest.raises(NotFound):
                await ledger.voices.delete("eve", "u-ada-1")
            with pytest.raises(Conflict):
                await ledger.voices.put(replace(VOICE, account="eve"))
        async with opened(settings) as ledger:
            assert [(v.name, v.parameters) for v in await ledger.voices.of_account("ada")] == [("Ada II", {"pitch": 1.25})]
            with pytest.raises(NotFound):
                await ledger.voices.get("ada", "u-ada-2")
            await ledger.voices.put(replace(VOICE, id="u-ada-2"))
        async with opened(settings) as ledger:
            assert [v.id for v in await ledger.voices.of_account("ada")] == ["u-ada-2", "u-ada-1"]

    run(scenario)
