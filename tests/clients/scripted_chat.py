"""A language model with a script behind HTTP, for an instance that runs outside the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from schemas.language_model import ChatDelta, ChatMessage, ChatRequest, Tool, ToolCallFragment
from tests.clients.realtime_script import answer
from tests.support.chat_servers import Connection, answering, chunk, text, usage


@asynccontextmanager
async def scripted_chat(port: int) -> AsyncIterator[list[ChatRequest]]:
    """A chat completions server on ``port`` that gives the answers of `answer`; yields the requests that it gets."""
    asked: list[ChatRequest] = []

    async def reply(connection: Connection) -> None:
        asked.append(_request(connection.body))
        await connection.begin()
        reason = "stop"
        async for delta in answer(asked[-1]):
            reason = "tool_calls" if delta.call else reason
            if (said := _chunk(delta)) is not None:
                await connection.event(said)
        await connection.event(chunk({}, reason))
        await connection.event(usage(20, 5))
        await connection.event("[DONE]")

    async with answering(reply, port=port):
        yield asked


def _request(body: dict[str, Any]) -> ChatRequest:
    messages = tuple(ChatMessage(one["role"], one.get("content") or "") for one in body["messages"])
    tools = tuple(Tool(one["function"]["name"]) for one in body.get("tools", ()))
    return ChatRequest(messages, tools)


def _chunk(delta: ChatDelta) -> dict[str, Any] | None:
    if delta.call is not None:
        return chunk({"tool_calls": [_fragment(delta.call)]})
    return text(delta.text) if delta.text else None


def _fragment(call: ToolCallFragment) -> dict[str, Any]:
    begun = {"id": call.call_id, "type": "function"} if call.call_id else {}
    named = {"name": call.name} if call.name else {}
    return {"index": call.index, **begun, "function": {**named, "arguments": call.arguments}}
