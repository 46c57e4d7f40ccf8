"""Log lines: their two forms, and the id of the request or job that they belong to."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import httpx
import pytest

from clients.operator import OperatorClient
from telemetry.log_lines import LogForm, configure, request_id, within_request

pytestmark = pytest.mark.unit

logger = logging.getLogger("serve.services.something")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream for lines; afterwards logging is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("serve")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    # pytest's own handlers must survive `force`, which closes those it removes.
    root.handlers[:] = []
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_json_has_one_object_a_line_also_with_a_traceback(stream: io.StringIO) -> None:
    configure("json", stream)
    with within_request("req_1"):
        logger.info("took %d", 3)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("info", "serve.services.something", "took 3")
    assert first["request_id"] == "req_1"
    assert first["time"].endswith("Z")
    assert "request_id" not in second
    assert "ValueError: two\nlines" in second["exception"]


def test_text_names_the_request_only_inside_of_one(stream: io.StringIO) -> None:
    configure("text", stream)
    with within_request("job_7_1"):
        logger.warning("slow")
    logger.warning("idle")
    inside, outside = stream.getvalue().splitlines()
    assert inside.endswith(" serve.services.something [job_7_1] slow")
    assert outside.endswith(" serve.services.something idle")


@pytest.mark.parametrize("form", ["text", "json"])
def test_others_write_warnings_only(stream: io.StringIO, form: LogForm) -> None:
    configure(form, stream)
    logging.getLogger("httpx").info("HTTP Request: GET https://example.org/private.mp3")
    assert stream.getvalue() == ""


async def test_each_task_has_its_own_request(stream: io.StringIO) -> None:
    configure("json", stream)
    both = asyncio.Barrier(2)

    async def answer(name: str) -> None:
        with within_request(name):
            await both.wait()
            logger.info("answered %s", name)

    await asyncio.gather(answer("req_a"), answer("req_b"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["message"] for line in lines} == {"answered req_a", "answered req_b"}
    assert all(line["message"] == f"answered {line['request_id']}" for line in lines)
    assert request_id.get() == ""


async def test_a_worker_names_its_job_to_the_gateway() -> None:
    sent: list[httpx.Headers] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        sent.append(httpx.Headers([line.split(": ", 1) for line in head.splitlines()[1:] if line]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        client = OperatorClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "fx_key", patience_secs=1.0)
        with within_request("job_7_2"):
            await client._json("GET", "/operator/status")
        await client._json("GET", "/operator/status")
        await client.close()
    assert [headers.get("x-request-id") for headers in sent] == ["job_7_2", None]
