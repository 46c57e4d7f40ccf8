"""Converts a `ChatRequest` to the body of OpenAI's chat completions, which llama.cpp and most other servers accept."""

from __future__ import annotations

from typing import Any

from schemas.language_model import ChatMessage, ChatRequest, NamedTool, Tool, ToolChoice


def body(request: ChatRequest, limit_name: str = "max_tokens") -> dict[str, Any]:
    """The body of a streaming request with usage at its end. ``limit_name`` is the server's name of the token limit.

    Without tools, ``tools`` and ``tool_choice`` are left out: servers refuse an empty list.
    """
    found: dict[str, Any] = {
        "messages": [message(one) for one in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        found["tools"] = [tool(one) for one in request.tools]
        found["tool_choice"] = tool_choice(request.tool_choice)
    if request.temperature is not None:
        found["temperature"] = request.temperature
    if request.max_tokens is not None:
        found[limit_name] = request.max_tokens
    return found


def message(one: ChatMessage) -> dict[str, Any]:
    """One message; an assistant's message that only calls tools has no content."""
    if one.role == "tool":
        return {"role": "tool", "tool_call_id": one.tool_call_id or "", "content": one.content}
    if not one.tool_calls:
        return {"role": one.role, "content": one.content}
    calls = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in one.tool_calls
    ]
    return {"role": one.role, "content": one.content or None, "tool_calls": calls}


def tool(one: Tool) -> dict[str, Any]:
    """One function; without parameters its schema is an empty object."""
    return {
        "type": "function",
        "function": {"name": one.name, "description": one.description, "parameters": parameters(one)},
    }


def parameters(one: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments."""
    return one.parameters or {"type": "object", "properties": {}}


def tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    """The mode, or the function that must be called."""
    return {"type": "function", "function": {"name": choice.name}} if isinstance(choice, NamedTool) else choice
