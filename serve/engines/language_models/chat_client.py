"""Streams answers from an endpoint of OpenAI's chat completions over HTTP.

A request is retried only for transient errors, and only before the first piece of the answer. Closing the stream closes the
connection, which makes servers stop generating.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx
import orjson

from schemas.domain import Seconds
from schemas.engines import EngineInfo
from schemas.errors import EngineFailure, FluxionsError, InvalidRequest, RateLimited, Unavailable
from schemas.language_model import ChatDelta, ChatRequest
from serve.engines.language_models import chat_body
from serve.engines.language_models.chat_chunks import ChunkReader
from serve.engines.language_models.event_stream import Events
from serve.engines.language_models.pieces import Pacing, next_piece

_CONNECT_SECS: Final = 5.0
_PAUSE_SECS: Final = 0.2
_MOST_PAUSE_SECS: Final = 5.0
_ERROR_BYTES: Final = 16 * 1024
_PASSING: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TOO_LONG: Final = re.compile(r"context.?(length|size|window)|maximum context|too many tokens", re.IGNORECASE)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """URL, model and timeouts of an endpoint; ``key`` is empty if none is needed."""

    url: str
    model: str
    key: str
    first_token_secs: Seconds
    token_secs: Seconds
    answer_secs: Seconds
    retries: int

    @property
    def who(self) -> str:
        """The model's name in error messages."""
        return f"the language model at {urlsplit(self.url).netloc}"

    @property
    def limit_name(self) -> str:
        """The token limit's name: OpenAI's newer models refuse the one that all other servers accept."""
        is_openai = (urlsplit(self.url).hostname or "").endswith("openai.com")
        return "max_completion_tokens" if is_openai else "max_tokens"


class ChatClient:
    """A `schemas.language_model.LanguageModel` behind an endpoint. For one event loop only."""

    def __init__(self, endpoint: Endpoint, info: EngineInfo) -> None:
        self.info = info
        self._endpoint = endpoint
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        # `Pacing` bounds the wait for bytes, because keep-alive comments would reset a read timeout.
        timeout = httpx.Timeout(None, connect=_CONNECT_SECS)
        self._http = httpx.AsyncClient(headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=None))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """See `LanguageModel.stream`. Also raises RateLimited, if the endpoint still responds so to the last retry."""
        if not request.messages:
            raise InvalidRequest("a language model needs at least one message", param="messages")
        endpoint = self._endpoint
        body = {"model": endpoint.model, **chat_body.body(request, endpoint.limit_name)}
        pacing = Pacing(endpoint.who, endpoint.first_token_secs, endpoint.token_secs, endpoint.answer_secs)
        for attempt in range(endpoint.retries + 1):
            try:
                async with aclosing(self._attempt(body, pacing)) as deltas:
                    async for delta in deltas:
                        pacing.has_begun = True
                        yield delta
            except _MayPassError as fault:
                if pacing.has_begun or attempt == endpoint.retries:
                    raise fault.error from fault.__cause__
                pause_secs = fault.pause_secs or _PAUSE_SECS * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
                logger.warning("%s: asking again in %.1f s", fault.error.message, pause_secs)
                await next_piece(asyncio.sleep(min(pause_secs, _MOST_PAUSE_SECS)), pacing)
            else:
                return

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def _attempt(self, body: dict[str, Any], pacing: Pacing) -> AsyncGenerator[ChatDelta, None]:
        """One request. Raises _MayPassError for transient errors."""
        reader, events = ChunkReader(pacing.who), Events(pacing.who)
        async with _faults_named(pacing.who), self._opened(body, pacing) as answer:
            async with aclosing(cast("AsyncGenerator[bytes, None]", answer.aiter_bytes())) as pieces:
                while (piece := await _next(pieces, pacing)) is not None:
                    for chunk in events.feed(piece):
                        if chunk.get("error"):
                            raise _MayPassError(EngineFailure(f"{pacing.who} failed{_named(chunk['error'])}"))
                        for delta in reader.read(chunk):
                            pacing.has_ended = reader.has_ended
                            yield delta
                    if events.is_over:
                        break
            if events.is_over:
                for delta in reader.finish():
                    yield delta
            if not reader.has_ended:
                raise _MayPassError(EngineFailure(f"{pacing.who} broke off within its answer"))

    @asynccontextmanager
    async def _opened(self, body: dict[str, Any], pacing: Pacing) -> AsyncIterator[httpx.Response]:
        """The response, after a check of its status."""
        request = self._http.build_request("POST", self._endpoint.url, json=body)
        answer = await next_piece(self._http.send(request, stream=True), pacing)
        try:
            if answer.status_code != httpx.codes.OK:
                raise await _refused(answer, pacing)
            yield answer
        finally:
            await answer.aclose()


class _MayPassError(Exception):
    """A transient error; ``error`` is raised if it is not retried."""

    def __init__(self, error: FluxionsError, pause_secs: Seconds | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause_secs = pause_secs


@asynccontextmanager
async def _faults_named(who: str) -> AsyncIterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise _MayPassError(Unavailable(f"{who} cannot be reached", code="llm_unreachable", retry_after_secs=2)) from error
    except httpx.TimeoutException as error:
        raise _MayPassError(Unavailable(f"{who} does not answer", code="llm_unreachable", retry_after_secs=2)) from error
    except httpx.HTTPError as error:
        raise _MayPassError(EngineFailure(f"{who} broke off the connection ({type(error).__name__})")) from error


async def _next(pieces: AsyncGenerator[bytes, None], pacing: Pacing) -> bytes | None:
    """The next bytes; None at the end of the answer, even if the server keeps the connection open."""
    try:
        return await next_piece(anext(pieces, None), pacing)
    except FluxionsError:
        if pacing.has_ended:
            return None
        raise


async def _refused(answer: httpx.Response, pacing: Pacing) -> Exception:
    """The error for an error status. The server's text may repeat the conversation, so only codes are used."""
    found = await next_piece(_error_body(answer), pacing)
    status, who = answer.status_code, pacing.who
    named = f"HTTP {status}{_named(found)}"
    if status in _PASSING:
        error: FluxionsError = Unavailable(f"{who} is away ({named})", code="llm_unavailable", retry_after_secs=2)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            error = RateLimited(f"{who} takes no more requests now ({named})", retry_after_secs=_pause_secs(answer) or 2)
        return _MayPassError(error, _pause_secs(answer))
    if status in (401, 403):
        return Unavailable(f"{who} refuses the key in FLUXIONS_LLM_API_KEY ({named})", code="llm_key_refused")
    if status == httpx.codes.NOT_FOUND:
        return Unavailable(
            f"{who} has no such model or path: check FLUXIONS_LLM_URL and _MODEL ({named})", code="llm_absent"
        )
    if _TOO_LONG.search(str(found)):
        return InvalidRequest(f"the messages are longer than {who} reads", code="context_length_exceeded", param="messages")
    if status in (400, 413, 422):
        return InvalidRequest(f"{who} refuses the request ({named})", code="llm_rejected")
    return EngineFailure(f"{who} answered {named}")


async def _error_body(answer: httpx.Response) -> Any:
    """The field ``error`` of an error's body, or its text; at most 16 KiB are read."""
    read = b""
    async with aclosing(cast("AsyncGenerator[bytes, None]", answer.aiter_bytes())) as pieces:
        while len(read) < _ERROR_BYTES and (piece := await anext(pieces, None)) is not None:
            read += piece
    text = read[:_ERROR_BYTES].decode(errors="replace")
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return parsed.get("error", parsed) if isinstance(parsed, dict) else text


def _named(error: Any) -> str:
    """The server's code or type of an error, if it is one word."""
    code = (error.get("code") or error.get("type")) if isinstance(error, dict) else None
    return f", {code}" if isinstance(code, str) and re.fullmatch(r"[\w.-]{1,64}", code) else ""


def _pause_secs(answer: httpx.Response) -> Seconds | None:
    """The seconds of Retry-After, if any."""
    try:
        return max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        return None
