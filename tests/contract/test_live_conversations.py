"""Recorded conversations: in the history while in progress, complete after a crash, with audio at the end."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import polars as pl
import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.live_conversations import ABANDONED_AFTER
from schemas.domain import SPEECH_RATE_HZ
from schemas.errors import NotFound
from schemas.records import Conversation, ConversationEnd, ConversationTurn, ToolCall, TurnLatencies
from schemas.times import now
from schemas.webhooks import Webhook
from tests.contract.gateway import OTHER_KEY, Running, quick_settings, running

pytestmark = pytest.mark.contract

ASKED = ConversationTurn("user", "What is on my calendar today?", now(), start_secs=0.42, end_secs=2.1)
ANSWERED = ConversationTurn(
    "assistant",
    "You have two meetings,",
    now(),
    TurnLatencies(0.5, 0.62, 0.9, 0.91),
    words_said=9,
    words_heard=4,
    interrupted=True,
    start_secs=3.02,
    end_secs=4.25,
)
CALLED = ToolCall("calendar", {"range": "today"}, "2 events", now())


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


async def body(client: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def searched(client: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    """The first results of a repeated search; none after half a minute."""
    deadline = time.monotonic() + 60
    while True:
        found = (await body(client, "/history/conversations/search", q=query))["data"]
        if found or time.monotonic() > deadline:
            return list(found)
        await asyncio.sleep(0.02)


async def test_a_turn_is_found_while_the_conversation_goes_on(gateway: Running) -> None:
    async with gateway.client() as client, gateway.client(OTHER_KEY) as other:
        held = await gateway.services.conversations.begin("default", "sess_1", "maeve.en-us", store_audio=False)
        held.turn(ASKED)
        held.tool_call(CALLED)
        held.turn(ANSWERED)
        (hit,) = await searched(client, "meetings")
        assert (hit["session_id"], hit["role"], hit["text"]) == ("sess_1", "assistant", "You have two meetings,")
        assert hit["start_secs"] == 3.02
        live = await body(client, "/history/conversations/sess_1", include_tool_calls=True)
        assert (live["ended_at"], live["duration_secs"], live["voice"]) == (None, None, "maeve.en-us")
        assert [turn["role"] for turn in live["turns"]] == ["user", "assistant"]
        assert live["title"] == ASKED.text
        assert live["tool_calls"][0]["args"] == {"range": "today"}

        await held.end(duration_secs=12.3456, cost_usd=0.012)
        ended = await body(client, "/history/conversations/sess_1")
        listed = await body(client, "/history/conversations")
        assert (await other.get("/history/conversations/sess_1")).status_code == 404
        measured = await body(client, "/history/conversations/sess_1", include_measures=True)
    assert ended["id"] == live["id"]
    assert ended["created_at"] == live["created_at"]
    assert (ended["turn_count"], ended["duration_secs"], ended["cost_usd"]) == (2, 12.346, 0.012)
    assert set(ended["turns"][1]) == {"object", "id", "session_id", "role", "text", "created_at"}, "as the contract has it"
    user, answer = (turn["measures"] for turn in measured["turns"])
    assert {name for name, value in user.items() if value is not None} == {"start_secs", "end_secs"}
    assert (user["start_secs"], answer["start_secs"], answer["end_secs"]) == (0.42, 3.02, 4.25)
    assert (answer["first_token_secs"], answer["words_heard"], answer["interrupted"]) == (0.62, 4, True)
    assert "download_url" not in ended
    assert listed["total"] == 1, "its two states are one conversation"
    assert (ended["title"], listed["data"][0]["title"]) == (ASKED.text, ASKED.text)
    row = pl.read_delta(f"{gateway.services.settings.storage_url}/tables/turns").sort("id").to_dicts()[1]
    assert (row["words_said"], row["words_heard"], row["interrupted"]) == (9, 4, True)
    assert [row[f"{step}_secs"] for step in ("end_of_turn", "first_token", "first_sound", "first_sent")] == [
        0.5,
        0.62,
        0.9,
        0.91,
    ]


async def test_both_sides_are_stored_as_one_stereo_recording(gateway: Running) -> None:
    def tone(hz: float, secs: float) -> bytes:
        wave = 12_000 * np.sin(2 * np.pi * hz * np.arange(round(secs * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ)
        return wave.astype("<i2").tobytes()

    held = await gateway.services.conversations.begin("default", "sess_2", None, store_audio=True)
    for start in range(20):  # the user speaks for 20 s, so that some of it is encoded before the end
        held.user_sound(float(start), tone(400, 1.0))
    held.model_sound(14.0, tone(900, 6.0))
    held.cut_model_sound(17.0)
    await held.end(duration_secs=20.0)
    async with gateway.client() as client:
        url = (await body(client, "/history/conversations/sess_2"))["download_url"]
        data = (await client.get(url)).content
    path = gateway.services.settings.home / "sound.opus"
    path.write_bytes(data)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    sound = np.concatenate([frame.reshape(-1, 2) if frame.shape[0] == 1 else frame.T for frame in frames]).astype(float)
    assert abs(len(sound) / rate - 20.0) < 0.2

    def level(side: int, secs: float) -> float:
        piece = sound[round(secs * rate) : round((secs + 0.5) * rate), side]
        return float(np.sqrt(np.mean(piece**2)))

    loud = level(0, 5.0)
    assert level(1, 15.0) > 0.5 * loud
    for quiet in (level(1, 5.0), level(1, 13.0), level(1, 18.0)):
        assert quiet < 0.05 * loud


async def test_a_killed_gateway_loses_no_finished_turn_and_a_new_ledger_goes_on(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path)
    talk = Conversation("ada", "sess_3", now(), voice="maeve.en-us")
    ledger = await Ledger.open(settings)
    first = await ledger.records.begin_conversation(talk)
    assert await ledger.records.begin_conversation(talk) == first
    turn = await ledger.records.add_entry("ada", "sess_3", "0", ASKED)
    await ledger.records.add_entry("ada", "sess_3", "later", replace(ASKED, text="And tomorrow?"))
    both = await asyncio.gather(*(ledger.records.add_entry("ada", "sess_3", "1", ANSWERED) for _ in range(3)))
    assert len(set(both)) == 1
    await ledger.close()

    ledger = await Ledger.open(settings)
    try:
        assert await ledger.records.begin_conversation(talk) == first
        assert await ledger.records.add_entry("ada", "sess_3", "0", ASKED) == turn
        await ledger.records.add_entry("ada", "sess_3", "2", CALLED)
        with pytest.raises(NotFound):
            await ledger.records.add_entry("eve", "sess_3", "0", ASKED)
        end = ConversationEnd(now(), 9.0)
        ends = await asyncio.gather(*(ledger.records.end_conversation("ada", "sess_3", end) for _ in range(2)))
        assert ends == [first, first]
        assert await ledger.records.end_conversation("ada", "sess_3", end) == first
        with pytest.raises(NotFound):
            await ledger.records.add_entry("ada", "sess_3", "3", ASKED)
    finally:
        await ledger.close()
    ledger = await Ledger.open(settings)
    try:
        assert await ledger.records.end_conversation("ada", "sess_3", end) == first
    finally:
        await ledger.close()
    tables = f"{settings.storage_url}/tables"
    assert pl.read_delta(f"{tables}/turns").height == 3
    rows = pl.read_delta(f"{tables}/conversations").sort("revision").to_dicts()
    assert [(row["revision"], row["turn_count"], row["title"]) for row in rows] == [(0, 0, None), (1, 3, ASKED.text)]


class _Clock:
    """Clocks that tests move: both of them by ``passed``, and the wall clock alone by ``step``."""

    def __init__(self) -> None:
        self.passed = self.step = dt.timedelta()

    def monotonic(self) -> float:
        return time.monotonic() + self.passed.total_seconds()

    def utc(self) -> dt.datetime:
        return now() + self.passed + self.step

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(secs)


async def test_an_abandoned_conversation_is_ended_when_another_begins(tmp_path: Path) -> None:
    clock = _Clock()
    ledger = await Ledger.open(quick_settings(tmp_path), clock=clock)

    async def begin_another(session_id: str) -> dict[tuple[str, int], dict[str, Any]]:
        """Rows of all conversations afterwards."""
        await ledger.records.begin_conversation(replace(lost, session_id=session_id))
        rows = pl.read_delta(f"{quick_settings(tmp_path).storage_url}/tables/conversations").to_dicts()
        return {(row["session_id"], row["revision"]): row for row in rows}

    try:
        lost = Conversation("ada", "sess_lost", now())
        await ledger.records.begin_conversation(lost)
        await ledger.records.add_entry("ada", "sess_lost", "0", ASKED)
        clock.step = 2 * ABANDONED_AFTER
        assert set(await begin_another("sess_new")) == {("sess_lost", 0), ("sess_new", 0)}, "no time has passed"
        clock.step, clock.passed = dt.timedelta(), ABANDONED_AFTER + dt.timedelta(minutes=1)
        await ledger.webhooks.put(Webhook("wh_1", "ada", "https://example.org", ("conversation.ended",)))
        states = await begin_another("sess_newer")
        told = [json.loads(one.delivery.payload)["data"]["id"] for one in await ledger.webhooks.due(10, 0)]
        assert sorted(told) == ["sess_lost", "sess_new"]
    finally:
        await ledger.close()
    ended = states["sess_lost", 1]
    assert ended["turn_count"] == 1
    assert 0 <= ended["duration_secs"] < 60


async def test_thirty_conversations_at_once_keep_their_own_words(gateway: Running) -> None:
    recorder = gateway.services.conversations
    held = [await recorder.begin("default", f"sess_{n}", None, store_audio=False) for n in range(30)]
    for number in range(5):
        for n, one in enumerate(held):
            one.turn(ConversationTurn("user", f"words {n} number {number}", now()))
    await asyncio.gather(*(one.end(duration_secs=1.0) for one in held))
    async with gateway.client() as client:
        for n in (0, 13, 29):
            found = await body(client, f"/history/conversations/sess_{n}")
            assert [turn["text"] for turn in found["turns"]] == [f"words {n} number {number}" for number in range(5)]
        assert (await body(client, "/history/conversations"))["total"] == 30
