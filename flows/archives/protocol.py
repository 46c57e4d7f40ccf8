"""What the program of an archive run and its launcher exchange: one request, then events until the program ends.

Both are frames (`runtime.frames`) without a body. An event's head names it as ``event``:

- ``estimate``, with the fields of `flows.archives.estimate.Estimate.to_json`;
- ``opened``, with the run's number as ``archive``;
- ``error``, with ``message``, ``type``, ``code``, ``param`` and the HTTP ``status`` of a FluxionsError: the last event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Literal

from pydantic import BaseModel, Field

from runtime import frames
from schemas.api.options import MAX_KEYTERMS, PROMPT_MAX_CHARS, AudioTrack, Keyterm, Language
from schemas.domain import JobOptions, RecognizeOptions, SpeakerHint, Task
from schemas.errors import FluxionsError, error_from_response

Mode = Literal["estimate", "dry-run", "run"]
"""What the program does: an estimate, one that also looks for cached results, or the run itself."""


class ArchiveRequest(BaseModel):
    """The parameters of the archive flow (`flows.archives.flow`), which documents them."""

    source: str
    account: str = "default"
    name: str = ""
    reprocess: bool = False
    include_current: bool = False
    non_speech: bool = False
    min_speakers: int = Field(1, ge=1)
    max_speakers: int | None = Field(None, ge=1)
    language: Language | None = None
    prompt: str = Field("", max_length=PROMPT_MAX_CHARS)
    keyterms: list[Keyterm] = Field(default_factory=list, max_length=MAX_KEYTERMS)
    task: Task = "transcribe"
    strict: bool = False
    audio_track: AudioTrack | None = None
    retry_failed: bool = False

    @property
    def options(self) -> JobOptions:
        """Options of the run's jobs."""
        recognize = RecognizeOptions(self.language, self.prompt, tuple(self.keyterms), self.task)
        speakers = SpeakerHint(self.min_speakers, self.max_speakers)
        return JobOptions(self.non_speech, speakers, recognize, self.strict, self.audio_track)


def write_request(stream: IO[bytes], request: ArchiveRequest) -> None:
    """Send the request, as the launcher does once. Raises OSError."""
    frames.write(stream, request.model_dump(mode="json"))


def read_request(stream: IO[bytes]) -> ArchiveRequest:
    """The request, as the program reads it once. Raises EOFError, ValueError."""
    frame = frames.read(stream)
    if frame is None:
        raise EOFError("no request was sent")
    return ArchiveRequest.model_validate(frame.head)


def write_event(stream: IO[bytes], event: str, **fields: Any) -> None:
    """Send an event. Raises OSError."""
    frames.write(stream, {"event": event, **fields})


def write_error(stream: IO[bytes], error: FluxionsError) -> None:
    """Send the event that ends the program with ``error``. Raises OSError."""
    fields = {name: getattr(error, name) for name in ("message", "type", "code", "param", "status")}
    write_event(stream, "error", **fields)


def read_events(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Heads of the events until the stream ends. Raises the error that an ``error`` event stands for."""
    while (frame := frames.read(stream)) is not None:
        if frame.head["event"] == "error":
            raise error_from_response(frame.head["status"], {"error": frame.head})
        yield frame.head
