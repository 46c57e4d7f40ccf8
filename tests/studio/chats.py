"""A conversation with the model as the history has it, with measures of its answers."""

from __future__ import annotations

import datetime as dt
from typing import Final

from schemas.records import Conversation, ConversationTurn, ToolCall, TurnLatencies
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
