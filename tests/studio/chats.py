"""A conversation with the model as the history has it, with measures of its answers."""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np

from audio.encode import encode
from schemas.domain import SPEECH_RATE_HZ
from schemas.records import Conversation, ConversationEnd, ConversationTurn, ToolCall, TurnLatencies
from tests.studio.server import Studio

SESSION: Final = "sess_chat"
BEGAN: Final = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
SAID: Final = (
    "What is on my calendar this week, and does any of it collide with the walk along the river that I have promised "
    "to my brother?"
)
TITLE: Final = "What is on my calendar this week, and does any of it collide with the walk…"
FULL_MILLIS: Final = 5000
"""The slowest answer, to which the bars of all are drawn."""


def add_chat(platform: Studio, account: str) -> str:
    """Records the conversation in an account's history, and returns its id."""

    def at(secs: float) -> dt.datetime:
        return BEGAN + dt.timedelta(seconds=secs)

    cut = TurnLatencies(0.5, 0.62, 0.9, 0.91)
    ahead = TurnLatencies(0.5, 0.3, 4.8, FULL_MILLIS / 1000)
    turns = [
        ConversationTurn("user", SAID, at(6)),
        ConversationTurn("assistant", "You have two meetings,", at(9), cut, words_said=9, words_heard=4, interrupted=True),
        ConversationTurn("user", "And on Thursday?", at(12)),
        ConversationTurn("assistant", "Nothing at all.", at(19), ahead, words_said=3, words_heard=3, interrupted=False),
        ConversationTurn("user", "Thank you.", at(25)),
        ConversationTurn("assistant", "Gladly.", at(27), words_said=1, words_heard=1, interrupted=False),
    ]
    conversation = Conversation(account, SESSION, BEGAN, at(30), 30.0, "maeve.en-us", created_at=BEGAN)
    called = ToolCall("calendar", {"range": "week"}, "2 events", at(7))
    platform.run(platform.gateway.ledger.records.add_conversation(conversation, turns, [called]))
    return SESSION


HEARD: Final = "sess_heard"
HEARD_SECS: Final = 30.0
HEARD_TURNS: Final = (
    ("user", "Where did I leave the umbrella?", 2.0, 5.0),
    ("assistant", "You left it in the hall.", 7.0, 11.0),
    ("user", "Thank you, I will fetch the umbrella.", 13.0, 17.0),
    ("assistant", "Mind the step.", 19.0, 22.0),
)
"""Role and text of each turn, and when its speech begins and ends in the recording."""


async def _heard(platform: Studio, account: str) -> None:
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=HEARD_SECS)
    records, objects = platform.gateway.ledger.records, platform.gateway.services.objects
    tone = (3000 * np.sin(np.arange(int(HEARD_SECS * SPEECH_RATE_HZ)) * 0.05)).astype(np.int16)
    key = f"conversations/{account}/{HEARD}.opus"
    await objects.put_bytes(key, encode(tone, "opus", SPEECH_RATE_HZ))
    await records.begin_conversation(Conversation(account, HEARD, began, voice="maeve.en-us"))
    for number, (role, text, start, end) in enumerate(HEARD_TURNS):
        turn = ConversationTurn(role, text, began + dt.timedelta(seconds=end + 1), start_secs=start, end_secs=end)
        await records.add_entry(account, HEARD, str(number), turn)
    end = ConversationEnd(began + dt.timedelta(seconds=HEARD_SECS), HEARD_SECS, audio_key=key)
    await records.end_conversation(account, HEARD, end)


def add_heard(platform: Studio, account: str) -> str:
    """Records a conversation with its sound, and returns its id."""
    platform.run(_heard(platform, account))
    return HEARD
