"""The calls of the public API that `clients.sdk` and `clients.sdk_async` make: their paths, parameters and types."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeAlias, TypeVar

import orjson

from clients.public import Target
from schemas.api.administration import ModelBody, ModelList
from schemas.api.speech import VoiceBody, VoiceList
from schemas.api.transcription import DeletedBody, SubmitResponse, TranscriptionBody, TranscriptionItem, TranscriptionList
from schemas.domain import JobStatus
from schemas.errors import FluxionsError, Unauthenticated, error_from_response

T = TypeVar("T")

Recording: TypeAlias = "str | Path | bytes | BinaryIO"
"""A path, the bytes, or a file that is open for reading."""
DEFAULT_URL = "http://127.0.0.1:8000"
PAGE_ROWS = 100
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """One request. ``parsed`` converts the decoded response; ``idempotent`` requests may be sent twice."""

    method: str
    path: str
    parsed: Callable[[Any], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    idempotent: bool = True


@dataclass(frozen=True, slots=True)
class Sending:
    """A recording to be sent: name, size if known, and bytes, which can be read once."""

    filename: str
    content_type: str
    size_bytes: int | None
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event of a job: `status`, `progress`, `block` or `segment`, with its data."""

    name: str
    data: dict[str, Any]


def target(url: str | None, api_key: str | None) -> Target:
    """The server: the arguments, else FLUXIONS_URL and FLUXIONS_API_KEY, else this machine's server."""
    key = os.environ.get("FLUXIONS_API_KEY", "") if api_key is None else api_key
    return Target((url or os.environ.get("FLUXIONS_URL") or DEFAULT_URL).rstrip("/"), key)


def sending(recording: Recording, filename: str | None) -> Sending:
    """Raises OSError for a path that cannot be read."""
    if isinstance(recording, bytes):
        name = filename or "audio"
        return Sending(name, _media_type(name), len(recording), iter([recording]))
    if isinstance(recording, (str, Path)):
        path = Path(recording)
        name = filename or path.name
        return Sending(name, _media_type(name), path.stat().st_size, _pieces_of_path(path))
    name = filename or Path(str(getattr(recording, "name", "audio"))).name
    return Sending(name, _media_type(name), None, _pieces(recording))


def submit_params(filename: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters of `/submit`; options that are None are left to the server."""
    return {"filename": filename, **{name: _text(value) for name, value in options.items() if value is not None}}


def submitted(answer: Any) -> SubmitResponse:
    """The created job."""
    return SubmitResponse.model_validate(answer)


def transcription(job_id: int, *, words: bool) -> ApiCall[TranscriptionBody]:
    """One job and its transcript."""
    params = {"word_level_timestamps": _text(words)}
    return ApiCall("GET", f"/transcriptions/{job_id}", TranscriptionBody.model_validate, params)


class Pages:
    """The pages of the account's jobs, newest first. A job that arrives between two requests moves all others by one."""

    def __init__(self) -> None:
        self._offset = 0
        self._seen: set[int] = set()

    def next_call(self) -> ApiCall[TranscriptionList]:
        """The request of the next page."""
        params = {"offset": self._offset, "limit": PAGE_ROWS}
        return ApiCall("GET", "/transcriptions", TranscriptionList.model_validate, params)

    def new(self, items: Sequence[TranscriptionItem]) -> list[TranscriptionItem]:
        """The items of a page that were on no earlier page."""
        self._offset += len(items)
        found = [item for item in items if item.id not in self._seen]
        self._seen.update(item.id for item in found)
        return found


def cancel(job_id: int) -> ApiCall[JobStatus]:
    """Stop a job; the result is its status afterwards."""
    return ApiCall("POST", f"/transcriptions/{job_id}/cancel", lambda answer: JobStatus(answer["status"]))


def delete(job_id: int) -> ApiCall[DeletedBody]:
    """Delete a job permanently."""
    return ApiCall("DELETE", f"/transcriptions/{job_id}", DeletedBody.model_validate, idempotent=False)


def voices() -> ApiCall[list[VoiceBody]]:
    """The built-in voices."""
    return ApiCall("GET", "/vui/voices", lambda answer: VoiceList.model_validate(answer).voices)


def models() -> ApiCall[list[ModelBody]]:
    """The engine and model of each slot."""
    return ApiCall("GET", "/v1/models", lambda answer: ModelList.model_validate(answer).data)


def speech(text: str, voice: str, response_format: str, speed: float, *, stream: bool) -> dict[str, Any]:
    """The request body of speech synthesis."""
    return {"input": text, "voice": voice, "response_format": response_format, "speed": speed, "stream": stream}


def completed(body: TranscriptionBody) -> TranscriptionBody:
    """The transcription, if it is completed. Raises FluxionsError(code="transcription_failed") if it is not."""
    if body.status is JobStatus.COMPLETED:
        return body
    why = body.error_message or f"the job ended as {body.status.value}"
    raise FluxionsError(f"{why} (transcription {body.id})", code="transcription_failed")


class EventLines:
    """Parses server-sent events line by line (WHATWG HTML)."""

    def __init__(self) -> None:
        self._name = "message"
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """The event that this line completes, if any. Raises Unauthenticated for `error`: the key is no longer valid."""
        if line.startswith("event:"):
            self._name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            self._data.append(line.removeprefix("data:").strip())
        elif not line and self._data:
            event = Event(self._name, orjson.loads("\n".join(self._data)))
            self._name, self._data = "message", []
            if event.name == "error":
                raise error_from_response(Unauthenticated.status, event.data)
            return event
        return None


def _pieces_of_path(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _pieces(file)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_CHUNK_BYTES):
        yield piece


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
