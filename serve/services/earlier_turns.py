"""What a session that continues an earlier conversation knows of it: its turns, and those of the ones that it continued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lakehouse.history.history import History
from schemas.errors import NotFound
from schemas.language_model import ChatMessage
from serve.realtime.conversation import MAX_ITEMS
from serve.realtime.items import Item, TextContent, new_id
from serve.realtime.prompt import estimated_tokens

MAX_TURNS: Final = MAX_ITEMS // 2
"""Most turns that are taken over, the latest ones, so that as many items of the new session have room."""
MAX_CONVERSATIONS: Final = 256
"""Most conversations that are read."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The conversation that a session continues, and what is taken over from it and from those before it."""

    conversation_id: str | None = None
    items: Sequence[Item] = ()


NOTHING: Final = Earlier()


async def earlier(history: History, account: str, conversation_id: str | None, context_tokens: int | None) -> Earlier:
    """The latest turns of a conversation and of those that it continues, as many as the model's context has room for.

    A conversation that was deleted ends the chain. Raises NotFound if there is no ``conversation_id``.
    """
    if not conversation_id:
        return NOTHING
    row = await history.conversation(account, conversation_id)
    if row is None:
        raise NotFound("there is no such conversation in your account", code="not_found", param="conversation_id")
    turns: list[dict[str, Any]] = []
    seen: set[str] = set()
    tokens = 0
    while row is not None and row["session_id"] not in seen and len(seen) < MAX_CONVERSATIONS:
        seen.add(row["session_id"])
        found = await history.turns(account, row["session_id"], None)
        turns = [*found, *turns][-MAX_TURNS:]
        tokens += sum(estimated_tokens(ChatMessage(turn["role"], turn["text"])) for turn in found)
        if len(turns) == MAX_TURNS or (context_tokens is not None and tokens > context_tokens):
            break
        row = await history.conversation(account, row["continues"]) if row["continues"] else None
    return Earlier(conversation_id, [_item(turn) for turn in turns])


def _item(turn: dict[str, Any]) -> Item:
    return Item(new_id("item"), "message", role=turn["role"], content=[TextContent(turn["text"])])
