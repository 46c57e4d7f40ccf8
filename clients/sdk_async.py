"""`fluxions.client.AsyncClient`: as `clients.sdk.Client`, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from clients import public, retry, sdk_calls
from clients.retry import Patience
from clients.sdk_calls import ApiCall, Event, EventLines, Recording
from schemas.api.administration import ModelBody
from schemas.api.speech import VoiceBody
from schemas.api.transcription import DeletedBody, SubmitResponse, TranscriptionBody, TranscriptionItem
from schemas.domain import JobStatus

T = TypeVar("T")


class AsyncClient:
    """A connection to one server, for one event loop. Errors and retries are those of `clients.sdk.Client`."""

    def __init__(self, url: str | None = None, api_key: str | None = None, *, patience_secs: float = 30.0) -> None:
        """``url`` and ``api_key`` default to FLUXIONS_URL and FLUXIONS_API_KEY."""
        found = sdk_calls.target(url, api_key)
        self._url = found.url
        self._patience = Patience(patience_secs)
        headers = {"Authorization": found.key} if found.key else {}
        self._http = httpx.AsyncClient(base_url=found.url, headers=headers, timeout=public.TIMEOUT)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(self, recording: Recording, *, filename: str | None = None, **options: Any) -> SubmitResponse:
        """See `clients.sdk.Client.submit`."""

        async def once() -> Any:
            sent = sdk_calls.sending(recording, filename)
            headers = {"Content-Type": sent.content_type}
            if sent.size_bytes is not None:
                headers["Content-Length"] = str(sent.size_bytes)
            params = sdk_calls.submit_params(sent.filename, options)
            return public.answered(await self._http.post("/submit", params=params, content=_read(sent), headers=headers))

        return sdk_calls.submitted(await self._patiently(once, idempotent=False))

    async def transcribe(
        self, recording: Recording, *, words: bool = False, filename: str | None = None, **options: Any
    ) -> TranscriptionBody:
        """See `clients.sdk.Client.transcribe`."""
        return await self.wait((await self.submit(recording, filename=filename, **options)).id, words=words)

    async def wait(self, job_id: int, *, words: bool = False) -> TranscriptionBody:
        """See `clients.sdk.Client.wait`."""
        async for _ in self.events(job_id):
            pass
        return sdk_calls.completed(await self.transcription(job_id, words=words))

    async def transcription(self, job_id: int, *, words: bool = False) -> TranscriptionBody:
        """See `clients.sdk.Client.transcription`."""
        return await self._do(sdk_calls.transcription(job_id, words=words))

    async def transcriptions(self) -> AsyncIterator[TranscriptionItem]:
        """See `clients.sdk.Client.transcriptions`."""
        pages = sdk_calls.Pages()
        while items := (await self._do(pages.next_call())).transcriptions:
            for item in pages.new(items):
                yield item

    async def file(self, job_id: int, file_format: str, **layout: Any) -> bytes:
        """See `clients.sdk.Client.file`."""

        async def once() -> bytes:
            params = {"format": file_format, **layout}
            return public.content(await self._http.get(f"/transcriptions/{job_id}", params=params))

        return await self._patiently(once, idempotent=True)

    async def events(self, job_id: int) -> AsyncGenerator[Event, None]:
        """See `clients.sdk.Client.events`."""
        lines = EventLines()
        async with self._opened("GET", f"/transcriptions/{job_id}/events") as answer:
            async for line in answer.aiter_lines():
                if (event := lines.feed(line)) is not None:
                    yield event

    async def cancel(self, job_id: int) -> JobStatus:
        """See `clients.sdk.Client.cancel`."""
        return await self._do(sdk_calls.cancel(job_id))

    async def delete(self, job_id: int) -> DeletedBody:
        """See `clients.sdk.Client.delete`."""
        return await self._do(sdk_calls.delete(job_id))

    async def speak(self, text: str, *, voice: str = "maeve", response_format: str = "wav", speed: float = 1.0) -> bytes:
        """See `clients.sdk.Client.speak`."""
        ask = sdk_calls.speech(text, voice, response_format, speed, stream=False)
        async with self._opened("POST", "/vui/v1/tts", ask) as answer:
            return await answer.aread()

    async def stream_speech(
        self, text: str, *, voice: str = "maeve", response_format: str = "wav", speed: float = 1.0
    ) -> AsyncGenerator[bytes, None]:
        """See `clients.sdk.Client.stream_speech`."""
        ask = sdk_calls.speech(text, voice, response_format, speed, stream=True)
        async with self._opened("POST", "/vui/v1/tts", ask) as answer:
            async for piece in answer.aiter_bytes():
                yield piece

    async def voices(self) -> list[VoiceBody]:
        """See `clients.sdk.Client.voices`."""
        return await self._do(sdk_calls.voices())

    async def models(self) -> list[ModelBody]:
        """See `clients.sdk.Client.models`."""
        return await self._do(sdk_calls.models())

    async def _do(self, call: ApiCall[T]) -> T:
        async def once() -> Any:
            request = self._http.build_request(call.method, call.path, params=dict(call.params), json=call.json)
            return public.answered(await self._http.send(request))

        return call.parsed(await self._patiently(once, idempotent=call.idempotent))

    async def _patiently(self, once: Callable[[], Awaitable[T]], *, idempotent: bool) -> T:
        return await retry.call_async(once, self._patience, idempotent=idempotent, server=self._url)

    @asynccontextmanager
    async def _opened(self, method: str, path: str, body: Any = None) -> AsyncIterator[httpx.Response]:
        try:
            async with self._http.stream(method, path, json=body) as answer:
                if not answer.is_success:
                    await answer.aread()
                    public.answered(answer)
                yield answer
        except httpx.TransportError as error:
            raise retry.unreachable(self._url, error) from error


async def _read(sent: sdk_calls.Sending) -> AsyncIterator[bytes]:
    """The bytes of a recording, read in threads."""
    done = object()
    while (piece := await asyncio.to_thread(next, sent.chunks, done)) is not done:
        assert isinstance(piece, bytes)  # noqa: S101 - all but the mark of the end
        yield piece
