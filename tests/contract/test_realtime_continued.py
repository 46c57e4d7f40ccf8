"""A session that continues an earlier conversation, and those that this one continued."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from schemas.errors import NotFound
from schemas.records import Conversation, ConversationTurn
from serve.services import earlier_turns
from serve.services.earlier_turns import earlier
from tests.contract.gateway import Running
from tests.contract.speaking import until
from tests.support.realtime_kit import TEXT, ScriptedEngines, written
from tests.support.realtime_socket import next_of, opened

pytestmark = pytest.mark.contract

NOON = dt.datetime(2026, 6, 29, 12, tzinfo=dt.UTC)


async def exchange(ws: Any, text: str) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await ws.send(json.dumps({"type": "response.create", "response": TEXT}))
    await next_of(ws, "response.done")


def told(engines: ScriptedEngines) -> list[str]:
    """What the model was last asked, without the instructions."""
    return [message.content for message in engines.asked[-1].messages if message.role != "system"]


async def test_a_third_session_knows_the_first_ones_turns(
    gateway: Running, address: str, scripted: ScriptedEngines
) -> None:
    scripted.answers = [written("One."), written("Two."), written("Three.")]
    ids: list[str] = []
    for question in ("First?", "Second?", "Third?"):
        continued = f"&conversation_id={ids[-1]}" if ids else ""
        async with opened(address, path=f"/v1/realtime?model=x{continued}") as ws:
            ids.append((await next_of(ws, "session.created"))["session"]["id"])
            await exchange(ws, question)
        await until(lambda: gateway.services.realtime.open_sessions == 0)
    assert told(scripted) == ["First?", "One.", "Second?", "Two.", "Third?"]
    async with gateway.client() as http:
        bodies = [(await http.get(f"/history/conversations/{one}")).json() for one in ids]
        assert [body.get("continues") for body in bodies] == [None, *ids[:2]]
        assert "continues" not in bodies[0]
        assert (await http.delete(f"/history/conversations/{ids[0]}")).status_code == 200
    async with opened(address, path=f"/v1/realtime?model=x&conversation_id={ids[2]}") as ws:
        await next_of(ws, "session.created")
        await exchange(ws, "Fourth?")
    assert told(scripted) == ["Second?", "Two.", "Third?", "Three.", "Fourth?"]


async def chain(gateway: Running, *lengths: int) -> str:
    """Conversations of so many turns, each of which continues the one before; the session id of the last."""
    number, last = 0, None
    for place, length in enumerate(lengths):
        begun = NOON + dt.timedelta(hours=place)
        turns = [ConversationTurn("user", f"turn {number + n}", begun + dt.timedelta(seconds=n)) for n in range(length)]
        number += length
        made = Conversation("default", f"sess_{place}", begun, begun + dt.timedelta(minutes=5), 300.0, continues=last)
        await gateway.ledger.records.add_conversation(made, turns)
        last = made.session_id
    assert last is not None
    return last


async def texts(gateway: Running, last: str, context_tokens: int | None) -> list[str]:
    found = await earlier(gateway.services.history, "default", last, context_tokens)
    assert found.conversation_id == last
    return [item.text() for item in found.items]


async def test_the_latest_turns_are_taken_over_within_the_limits(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    last = await chain(gateway, 4, 0, 3, 2)
    assert await texts(gateway, last, None) == [f"turn {n}" for n in range(9)]
    # About 8 tokens a turn: the last two conversations are more than the model reads, so the first is not needed.
    assert await texts(gateway, last, 30) == [f"turn {n}" for n in range(4, 9)]
    monkeypatch.setattr(earlier_turns, "MAX_TURNS", 6)
    assert await texts(gateway, last, None) == [f"turn {n}" for n in range(3, 9)]
    monkeypatch.setattr(earlier_turns, "MAX_CONVERSATIONS", 1)
    assert await texts(gateway, last, None) == ["turn 7", "turn 8"]


async def test_conversations_that_continue_each_other_are_read_once(gateway: Running) -> None:
    for session, other in (("sess_a", "sess_b"), ("sess_b", "sess_a")):
        made = Conversation("default", session, NOON, NOON, 0.0, continues=other)
        await gateway.ledger.records.add_conversation(made, [ConversationTurn("user", session, NOON)])
    assert await texts(gateway, "sess_a", None) == ["sess_b", "sess_a"]
    with pytest.raises(NotFound):
        await earlier(gateway.services.history, "default", "sess_c", None)
