"""Required tool calls for models without tool support, by constrained decoding with a grammar.

The model chooses among several tools by writing a name, and then writes arguments that match the tool's JSON schema.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias

from schemas.errors import InvalidRequest
from schemas.language_model import ChatDelta, ChatMessage, ChatRequest, NamedTool, Tool, ToolCallFragment
from serve.engines.language_models import chat_body
from serve.engines.language_models.chat_chunks import new_call_id

Answer: TypeAlias = Callable[[dict[str, Any]], AsyncGenerator[ChatDelta, None]]


def is_forced(request: ChatRequest) -> bool:
    """Whether a call is required."""
    return bool(request.tools) and (request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool))


async def forced_call(request: ChatRequest, answer: Answer) -> AsyncGenerator[ChatDelta, None]:
    """Streams one call. ``answer`` generates for a request body.

    Raises InvalidRequest for a tool that was not offered, and the errors of ``answer``.
    """
    tool = await _chosen(request, answer)
    yield ChatDelta(call=ToolCallFragment(0, new_call_id(), tool.name))
    asked = _told(request, f"Call the tool {tool.name}: {tool.description}. Write its arguments as JSON and nothing else.")
    schema = {"name": tool.name, "schema": chat_body.parameters(tool)}
    body = {**asked, "response_format": {"type": "json_schema", "json_schema": schema}}
    async with aclosing(answer(body)) as deltas:
        async for delta in deltas:
            if delta.text:
                yield ChatDelta(call=ToolCallFragment(0, arguments=delta.text))
            elif delta.finish is not None:
                yield replace(delta, finish="tool_calls" if delta.finish == "stop" else delta.finish)
            else:
                yield delta


async def _chosen(request: ChatRequest, answer: Answer) -> Tool:
    by_name = {tool.name: tool for tool in request.tools}
    if isinstance(request.tool_choice, NamedTool):
        if request.tool_choice.name not in by_name:
            raise InvalidRequest(f"no tool is called {request.tool_choice.name}", param="tool_choice")
        return by_name[request.tool_choice.name]
    if len(by_name) == 1:
        return request.tools[0]
    offered = "\n".join(f"{tool.name}: {tool.description}" for tool in request.tools)
    grammar = "root ::= " + " | ".join(json.dumps(name) for name in by_name)
    body = {**_told(request, f"Name the tool that helps best.\n{offered}"), "grammar": grammar}
    written = ""
    async with aclosing(answer(body)) as deltas:
        async for delta in deltas:
            written += delta.text
    return by_name.get(written, request.tools[0])


def _told(request: ChatRequest, instruction: str) -> dict[str, Any]:
    messages = (*request.messages, ChatMessage("system", instruction))
    return chat_body.body(replace(request, messages=messages, tools=()))
