"""`fluxions.client.Client`: the public API for Python programs, with one method for each route and typed responses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from clients import public, sdk_calls
from clients.sdk_calls import ApiCall, Event, EventLines, Recording
from schemas.api.administration import ModelBody
from schemas.api.speech import VoiceBody
from schemas.api.transcription import DeletedBody, SubmitResponse, TranscriptionBody, TranscriptionItem
from schemas.domain import JobStatus

T = TypeVar("T")


class Client:
    """A connection to one server, thread-safe. Use it as a context manager, or `close` it.

    Raises the server's errors as those of `schemas.errors`, and ServerUnreachable without a response. Idempotent requests
    are retried for ``patience_secs``.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, patience_secs: float = 30.0) -> None:
        """``url`` and ``api_key`` default to FLUXIONS_URL and FLUXIONS_API_KEY."""
        self._connection = public.Client(sdk_calls.target(url, api_key), patience_secs=patience_secs)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def submit(self, recording: Recording, *, filename: str | None = None, **options: Any) -> SubmitResponse:
        """Send a recording; returns at once. ``options`` are those of `/submit`: docs/transcription.md."""
        sent = sdk_calls.sending(recording, filename)

        @contextmanager
        def opened() -> Iterator[public.Upload]:
            # A path or bytes are read from their beginning for each attempt, an open file once.
            again = sdk_calls.sending(recording, filename)
            yield public.Upload(again.content_type, again.size_bytes, again.chunks)

        return sdk_calls.submitted(self._connection.submit(opened, **sdk_calls.submit_params(sent.filename, options)))

    def transcribe(
        self, recording: Recording, *, words: bool = False, filename: str | None = None, **options: Any
    ) -> TranscriptionBody:
        """Send a recording and wait for its transcript. Raises FluxionsError(code="transcription_failed")."""
        return self.wait(self.submit(recording, filename=filename, **options).id, words=words)

    def wait(self, job_id: int, *, words: bool = False) -> TranscriptionBody:
        """The transcript of a job once it is completed. Raises FluxionsError(code="transcription_failed")."""
        self._connection.until_final(job_id)
        return sdk_calls.completed(self.transcription(job_id, words=words))

    def transcription(self, job_id: int, *, words: bool = False) -> TranscriptionBody:
        """One job as it is now. Raises NotFound."""
        return self._do(sdk_calls.transcription(job_id, words=words))

    def transcriptions(self) -> Iterator[TranscriptionItem]:
        """All jobs of the account, newest first; pages are fetched as they are needed.

        Jobs that arrive meanwhile are left out, and no job is returned twice.
        """
        pages = sdk_calls.Pages()
        while items := self._do(pages.next_call()).transcriptions:
            yield from pages.new(items)

    def file(self, job_id: int, file_format: str, **layout: Any) -> bytes:
        """The transcript as a file; docs/transcription.md has formats and layouts. Raises Conflict before completion."""
        return self._connection.download(f"/transcriptions/{job_id}", {"format": file_format, **layout})

    def events(self, job_id: int) -> Iterator[Event]:
        """The events of a job until it is final."""
        lines = EventLines()
        for line in self._connection.lines(f"/transcriptions/{job_id}/events"):
            if (event := lines.feed(line)) is not None:
                yield event

    def cancel(self, job_id: int) -> JobStatus:
        """Stop a job. Raises Conflict for one that is completed or failed."""
        return self._do(sdk_calls.cancel(job_id))

    def delete(self, job_id: int) -> DeletedBody:
        """Delete a job with its recording and transcript, permanently."""
        return self._do(sdk_calls.delete(job_id))

    def speak(self, text: str, *, voice: str = "maeve", response_format: str = "wav", speed: float = 1.0) -> bytes:
        """The speech of a text as a complete audio file."""
        return b"".join(self._connection.speak(sdk_calls.speech(text, voice, response_format, speed, stream=False)))

    def stream_speech(
        self, text: str, *, voice: str = "maeve", response_format: str = "wav", speed: float = 1.0
    ) -> Iterator[bytes]:
        """The speech of a text in chunks, while it is synthesised."""
        return self._connection.speak(sdk_calls.speech(text, voice, response_format, speed, stream=True))

    def voices(self) -> list[VoiceBody]:
        """The built-in voices."""
        return self._do(sdk_calls.voices())

    def models(self) -> list[ModelBody]:
        """The engine and model of every slot."""
        return self._do(sdk_calls.models())

    def _do(self, call: ApiCall[T]) -> T:
        answer = self._connection.request(
            call.method, call.path, params=call.params, json=call.json, idempotent=call.idempotent
        )
        return call.parsed(answer)
