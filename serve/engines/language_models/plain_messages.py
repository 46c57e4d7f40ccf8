"""Messages for a model whose chat template does not support tools: results of calls become text."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.language_model import ChatMessage


def without_tools(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The same conversation in the roles system, user and assistant.

    The assistant's calls are left out, and each result is a note before the assistant's next message.
    """
    names = {call.call_id: call.name for message in messages for call in message.tool_calls}
    found: list[ChatMessage] = []
    for message in messages:
        if message.role == "tool":
            name = names.get(message.tool_call_id or "", "tool")
            found.append(ChatMessage("system", f"Use this answer of {name} in your reply: {message.content}"))
        elif message.content or not message.tool_calls:
            found.append(ChatMessage(message.role, message.content))
    return tuple(found)
