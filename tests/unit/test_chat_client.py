"""Answers of chat endpoints: differences between servers, tool calls, cancellation and errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from schemas.errors import Unavailable
from schemas.language_model import ChatDelta, ChatMessage, ChatRequest, ChatUsage, NamedTool, Tool, ToolCall
from serve.engines.registry import describe_slot
from tests.support.chat_clients import answer, asked, settings, words
from tests.support.chat_servers import Connection, chunk, saying, text, usage

pytestmark = pytest.mark.unit

WEATHER = Tool("weather", "The weather in a city.", {"type": "object", "properties": {"city": {"type": "string"}}})


def calls(deltas: list[ChatDelta]) -> dict[int, tuple[str | None, str | None, str]]:
    found: dict[int, tuple[str | None, str | None, str]] = {}
    for delta in deltas:
        if (part := delta.call) is not None:
            known = found.get(part.index)
            if known is None:
                found[part.index] = (part.call_id, part.name, part.arguments)
            else:
                assert (part.call_id, part.name) == (None, None)
                found[part.index] = (*known[:2], known[2] + part.arguments)
    return found


async def test_text_comes_in_pieces_with_its_end_and_usage() -> None:
    async with asked(saying("Hel", "lo ", "there."), llm_api_key="secret-key") as (client, server):
        deltas = await answer(client)
    assert [delta.text for delta in deltas if delta.text] == ["Hel", "lo ", "there."]
    assert [delta.finish for delta in deltas if delta.finish] == ["stop"]
    assert deltas[-1].usage == ChatUsage(12, 4, 3)
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer secret-key"
    assert request.body == {
        "model": "test-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_everything_of_a_request_is_sent() -> None:
    call = ToolCall("call_1", "weather", '{"city": "Rome"}')
    request = ChatRequest(
        (
            ChatMessage("user", "Weather?"),
            ChatMessage("assistant", "", (call,)),
            ChatMessage("tool", "sunny", tool_call_id="call_1"),
        ),
        (WEATHER, Tool("stop")),
        NamedTool("weather"),
        0.3,
        50,
    )
    async with asked(saying("It is sunny.")) as (client, server):
        await answer(client, request)
    body = server.requests[0].body
    assert "authorization" not in server.requests[0].headers
    assert (body["temperature"], body["max_tokens"]) == (0.3, 50)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert [tool["function"]["parameters"] for tool in body["tools"]] == [
        WEATHER.parameters,
        {"type": "object", "properties": {}},
    ]
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert body["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]


async def test_calls_are_joined_by_index_in_pieces_and_whole() -> None:
    def part(index: int, arguments: str, **more: str) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": more["name"]} if "name" in more else {})}
        return {"index": index, "function": function, **({"id": more["id"]} if "id" in more else {})}

    chunks = [
        chunk({"tool_calls": [part(0, "", id="call_a", name="weather")]}),
        chunk({"tool_calls": [part(0, '{"ci')]}),
        chunk({"tool_calls": [part(1, '{"city": "Oslo"}', id="call_b", name="weather")]}),
        chunk({"tool_calls": [part(0, 'ty": "Rome"}', id="call_a", name="")]}),
    ]
    async with asked(saying("One moment.", chunks=chunks)) as (client, _):
        deltas = await answer(client)
    assert words(deltas) == "One moment."
    assert calls(deltas) == {
        0: ("call_a", "weather", '{"city": "Rome"}'),
        1: ("call_b", "weather", '{"city": "Oslo"}'),
    }
    assert [delta.finish for delta in deltas if delta.finish] == ["tool_calls"], "whatever the server called it"


async def test_calls_without_index_or_id_are_distinguished() -> None:
    whole = [
        {"id": "one", "function": {"name": "weather", "arguments": {"city": "Rome"}}},
        {"id": "two", "function": {"name": "weather", "arguments": "{}"}},
    ]
    async with asked(saying(chunks=[chunk({"tool_calls": whole})])) as (client, _):
        found = calls(await answer(client))
    assert [(call_id, json.loads(arguments)) for call_id, _, arguments in found.values()] == [
        ("one", {"city": "Rome"}),
        ("two", {}),
    ]
    nameless = [chunk({"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": "{}"}}]})]
    async with asked(saying(chunks=nameless)) as (client, _):
        assert calls(await answer(client))[0][0].startswith("call_")  # type: ignore[union-attr]


@pytest.mark.parametrize("cuts", [(1000,), (3,), (1,), (9, 14)])
async def test_reasoning_is_never_given(cuts: tuple[int, ...]) -> None:
    said = "<think>They greet me.\nI greet back.</think>\n\nHello <b>you</b>. 1 < 2 <thinking>hm</thinking>Bye"
    pieces, start = [], 0
    while start < len(said):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(said[start : start + size])
        start += size
    hidden = [chunk({"reasoning_content": "secretly", "content": None})]
    async with asked(saying(*pieces, chunks=hidden)) as (client, _):
        assert words(await answer(client)) == "Hello <b>you</b>. 1 < 2 Bye"
    async with asked(saying("<think>never", " ends")) as (client, _):
        assert words(await answer(client)) == ""


async def test_an_end_without_reason_usage_or_done_is_an_end() -> None:
    async def bare(connection: Connection) -> None:
        await connection.begin()
        await connection.event(text("Yes."))
        await connection.event("[DONE]")

    async def stays_open(connection: Connection) -> None:
        await connection.begin()
        await connection.event(text("Yes."))
        await connection.event(chunk({}, "length"))
        await connection.event(usage(3, 1))
        await asyncio.Event().wait()

    async with asked(bare) as (client, _):
        assert await answer(client) == [ChatDelta(text="Yes."), ChatDelta(finish="stop")]
    async with asked(stays_open) as (client, _):
        deltas = await asyncio.wait_for(answer(client), 10)
    assert deltas == [ChatDelta(text="Yes."), ChatDelta(finish="length"), ChatDelta(usage=ChatUsage(3, 0, 1))]


async def test_many_are_answered_at_once_each_with_its_own() -> None:
    async def echo(connection: Connection) -> None:
        await saying(*connection.body["messages"][0]["content"])(connection)

    async with asked(echo) as (client, _):
        said = [f"number {n}" for n in range(30)]
        requests = [ChatRequest((ChatMessage("user", one),)) for one in said]
        found = await asyncio.gather(*(answer(client, request) for request in requests))
    assert [words(deltas) for deltas in found] == said


@pytest.mark.parametrize(
    ("engines", "variable", "words_in_it"),
    [
        ({"llm_url": ""}, "FLUXIONS_LLM_URL", "is empty"),
        ({"llm_url": "localhost:1234"}, "FLUXIONS_LLM_URL", "no http or https URL"),
        ({"llm_url": "http://user:secret@host/v1"}, "FLUXIONS_LLM_URL", "more than a host and a path"),
        ({"llm_url": "http://host/v1", "llm_model": ""}, "FLUXIONS_LLM_MODEL", "names no model"),
    ],
)
def test_settings_amiss_are_named(engines: dict[str, str], variable: str, words_in_it: str) -> None:
    url = engines.pop("llm_url")
    with pytest.raises(Unavailable, match=words_in_it) as refused:
        describe_slot(settings(url, **engines), "language_model")
    assert refused.value.param == variable
    assert "secret" not in refused.value.message


def test_the_engine_says_where_it_is_and_keeps_its_key() -> None:
    chosen = settings("https://llm.example.org/v1/chat/completions", llm_api_key="secret-key")
    info = describe_slot(chosen, "language_model")
    assert info.capabilities["tools"] is True
    assert "llm.example.org" in info.capabilities["size"]
    assert "secret-key" not in repr(chosen) + repr(info)
