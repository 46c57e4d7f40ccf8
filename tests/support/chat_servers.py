"""A chat completions server on loopback with scripted responses, also late, broken or missing ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass
class Connection:
    """One received request, and its connection for the response."""

    body: dict[str, Any]
    headers: dict[str, str]
    writer: asyncio.StreamWriter
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client has disconnected."""

    async def status(self, code: int, body: Any = None, **headers: str) -> None:
        """Send a complete response with a status."""
        text = json.dumps(body or {})
        lines = [
            f"HTTP/1.1 {code} Status",
            f"Content-Length: {len(text)}",
            *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
        ]
        await self.write("\r\n".join([*lines, "Connection: close", "", text]))

    async def begin(self) -> None:
        """Send the head of an event stream that ends with the connection."""
        await self.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")

    async def write(self, text: str) -> None:
        self.writer.write(text.encode())
        await self.writer.drain()

    async def event(self, data: Any) -> None:
        """Send one event; anything except a string is sent as JSON."""
        await self.write(f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n")


Answer: TypeAlias = Callable[[Connection], Awaitable[None]]


@dataclass
class ChatServer:
    """``requests`` are the received requests in order; each gets the next scripted response."""

    url: str
    requests: list[Connection]


@asynccontextmanager
async def answering(*answers: Answer, port: int = 0) -> AsyncIterator[ChatServer]:
    """A server for the duration of the block, on a free port without ``port``. Further requests get the last response
    again."""
    server = ChatServer("", [])
    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await respond(reader, writer)
        except asyncio.IncompleteReadError:
            pass  # The client left before it had sent its request.
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = [line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line]
        headers = {name.lower(): value for name, value in lines}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        connection = Connection(body, headers, writer)
        server.requests.append(connection)
        answer = asyncio.ensure_future(answers[min(len(server.requests), len(answers)) - 1](connection))
        gone = asyncio.ensure_future(reader.read())
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        # A client that leaves by a reset also fails what is being written to it.
        is_cut = answer.done() and isinstance(answer.exception(), ConnectionError)
        if is_cut or (gone.done() and not answer.done()):
            connection.closed.set()
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        open_ones.add(task)
        task.add_done_callback(open_ones.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        yield server
    finally:
        listener.close()
        for connection in server.requests:
            connection.writer.transport.abort()
        await asyncio.gather(*open_ones, return_exceptions=True)
        await listener.wait_closed()


def text(piece: str) -> dict[str, Any]:
    """A chunk with a piece of text."""
    return chunk({"content": piece})


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """A chunk with one choice."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """The chunk without choices that ends a stream."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"choices": [], "usage": {**counts, "prompt_tokens_details": {"cached_tokens": cached}}}


def saying(*pieces: str, chunks: Sequence[Any] = ()) -> Answer:
    """A successful answer: its text in pieces, further chunks, finish reason, usage, and [DONE]."""

    async def answer(connection: Connection) -> None:
        await connection.begin()
        await connection.event(chunk({"role": "assistant", "content": ""}))
        for piece in pieces:
            await connection.event(text(piece))
        for one in chunks:
            await connection.event(one)
        await connection.event(chunk({}, "stop"))
        await connection.event(usage(12, len(pieces), 4))
        await connection.event("[DONE]")

    return answer
