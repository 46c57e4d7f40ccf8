"""Failing chat endpoints: retries, timeouts and error messages."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from schemas.errors import EngineFailure, FluxionsError, InvalidRequest, RateLimited, Unavailable
from serve.engines.language_models.chat_client import ChatClient
from serve.engines.registry import build_language_model
from tests.support.chat_clients import HELLO, answer, asked, settings, words
from tests.support.chat_servers import Connection, answering, saying, text

pytestmark = pytest.mark.unit


async def fails_500(connection: Connection) -> None:
    await connection.status(500, {"error": {"message": "the secret words", "type": "server_error"}})


async def test_a_fault_that_passes_is_asked_again() -> None:
    async def busy(connection: Connection) -> None:
        await connection.status(429, Retry_After="0.05")

    async def hangs_up(connection: Connection) -> None:
        connection.writer.close()

    async with asked(fails_500, busy, hangs_up, saying("At last."), llm_retries=3) as (client, server):
        assert words(await answer(client)) == "At last."
    assert len(server.requests) == 4


async def test_a_fault_that_stays_is_named_and_nothing_said_is_repeated() -> None:
    async with asked(fails_500, llm_retries=1) as (client, server):
        with pytest.raises(Unavailable, match=r"127.0.0.1:\d+ is away \(HTTP 500, server_error\)") as refused:
            await answer(client)
        assert len(server.requests) == 2
        assert "secret" not in str(refused.value)

    async def busy(connection: Connection) -> None:
        await connection.status(429)

    async with asked(busy, llm_retries=0) as (client, _):
        with pytest.raises(RateLimited):
            await answer(client)
    unused = build_language_model(settings("http://127.0.0.1:9", llm_retries=0))
    assert isinstance(unused, ChatClient)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await answer(unused)
    await unused.close()


@pytest.mark.parametrize(
    ("status", "error", "kind", "code"),
    [
        (401, {"code": "invalid_api_key"}, Unavailable, "llm_key_refused"),
        (404, {"message": "no model"}, Unavailable, "llm_absent"),
        (400, {"code": "context_length_exceeded"}, InvalidRequest, "context_length_exceeded"),
        (400, {"message": "This model's maximum context length is 9"}, InvalidRequest, "context_length_exceeded"),
        (400, {"message": "bad schema"}, InvalidRequest, "llm_rejected"),
        (302, {}, EngineFailure, "engine_failure"),
    ],
)
async def test_a_refusal_is_not_asked_again(status: int, error: Any, kind: type[FluxionsError], code: str) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.status(status, {"error": error})

    async with asked(refuse) as (client, server):
        with pytest.raises(kind) as refused:
            await answer(client)
        assert refused.value.code == code
        assert len(server.requests) == 1


async def test_a_server_that_stalls_is_left_before_and_within_its_answer() -> None:
    async def silent(connection: Connection) -> None:
        await connection.begin()
        while True:
            await connection.write(": still here\n\n")
            await asyncio.sleep(0.05)

    async def falls_silent(connection: Connection) -> None:
        await connection.begin()
        await connection.event(text("Well,"))
        await silent(connection)

    async with asked(silent, llm_first_token_secs=0.5) as (client, server):
        with pytest.raises(Unavailable, match=r"did not begin to answer within 0\.5 s"):
            await answer(client)
        await asyncio.wait_for(server.requests[0].closed.wait(), 10)
        assert len(server.requests) == 1
    async with asked(falls_silent, llm_answer_secs=0.6) as (client, server):
        deltas = client.stream(HELLO)
        assert (await anext(deltas)).text == "Well,"
        with pytest.raises(EngineFailure, match=r"did not end its answer within 0\.6 s"):
            await anext(deltas)
        await asyncio.wait_for(server.requests[0].closed.wait(), 10)
        assert len(server.requests) == 1, "never asked again once something was given"


async def test_a_pause_within_the_answer_is_bounded() -> None:
    async def pauses(connection: Connection) -> None:
        await connection.begin()
        await connection.event(text("Well,"))
        await asyncio.Event().wait()

    async with asked(pauses, llm_token_secs=0.3) as (client, _):
        with pytest.raises(EngineFailure, match=r"stopped for 0\.3 s within its answer"):
            await answer(client)


async def test_a_server_that_never_ends_is_left() -> None:
    async def endless(connection: Connection) -> None:
        await connection.begin()
        while True:
            await connection.event(text("and "))
            await asyncio.sleep(0.01)

    async with asked(endless, llm_answer_secs=0.5) as (client, server):
        with pytest.raises(EngineFailure, match="did not end"):
            await answer(client)
        await asyncio.wait_for(server.requests[0].closed.wait(), 10)


@pytest.mark.parametrize(
    ("sent", "match"),
    [
        ('data: {"choices": [{"delta": {"content": "a\n\n', "broken JSON"),
        ("data: [1, 2]\n\n", "no object"),
        ('data: {"choices": "none"}\n\n', "choices is wrong"),
        ('data: {"choices": [{"delta": {"content": 7}}]}\n\n', r"choices\.0\.delta\.content is wrong"),
        ('data: {"error": {"message": "the secret words", "code": "boom"}}\n\n', r"failed, boom$"),
        ('data: {"choices": [{"delta": {"content": "half"}}]}\n\n', "broke off within its answer"),
        ("data: " + "x" * 1_100_000, "a line of more than"),
    ],
)
async def test_what_cannot_be_read_is_a_failure(sent: str, match: str) -> None:
    async def broken(connection: Connection) -> None:
        await connection.begin()
        await connection.write(sent)

    async with asked(broken, llm_retries=0) as (client, _):
        with pytest.raises(EngineFailure, match=match):
            await answer(client)


async def test_closing_the_stream_closes_the_connection() -> None:
    async def endless(connection: Connection) -> None:
        await connection.begin()
        while True:
            await connection.event(text("and "))
            await asyncio.sleep(0.01)

    async with asked(endless) as (client, server):
        deltas = client.stream(HELLO)
        assert (await anext(deltas)).text == "and "
        await deltas.aclose()
        await asyncio.wait_for(server.requests[0].closed.wait(), 10)


async def test_a_connection_without_a_request_is_closed() -> None:
    """By the server of these tests: one that it left open would be reported as unclosed in a later test."""
    async with answering(fails_500) as server:
        port = urlsplit(server.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
        await writer.wait_closed()
