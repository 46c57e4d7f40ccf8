"""The platform's own protocol of `/v1/listen`: `start`, binary audio, `finalize`, `keepalive`, `close`; docs/live.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.api.options import MAX_KEYTERMS, PROMPT_MAX_CHARS, Keyterm, Language
from schemas.api.parsing import validation_error
from schemas.domain import RecognizeOptions, Word
from schemas.errors import FluxionsError, InvalidParameter, InvalidRequest
from schemas.spacing import join_words
from serve.live.live_events import FinalResult, InterimResult, LiveEvent, LiveOptions, SpeechStarted
from serve.live.live_protocol import Command, LiveRequest, Message

_BAD_INPUT = 1008
_BROKEN = 1011


class Start(BaseModel):
    """The first message. ``token`` is the value of an Authorization header."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["start"]
    token: str | None = Field(None, max_length=8192)
    encoding: Literal["linear16", "mulaw", "alaw", "opus"] = "linear16"
    sample_rate: int = 16_000
    language: Language | None = None
    prompt: str = Field("", max_length=PROMPT_MAX_CHARS)
    keyterms: Annotated[tuple[Keyterm, ...], Field(max_length=MAX_KEYTERMS)] = ()
    interim: bool = True
    endpoint_ms: int = Field(500, ge=100, le=5000)
    smart_turn: bool = False
    unfinished_ms: int = Field(2000, ge=100, le=10_000)
    speakers: bool = False
    store: bool = False
    filename: str = Field("live", min_length=1, max_length=255)

    def request(self) -> LiveRequest:
        """The message as a `LiveRequest`."""
        recognize = RecognizeOptions(self.language, self.prompt.strip(), self.keyterms)
        options = LiveOptions(
            recognize,
            self.interim,
            self.endpoint_ms / 1000,
            max(self.unfinished_ms, self.endpoint_ms) / 1000 if self.smart_turn else None,
            self.speakers,
        )
        return LiveRequest(options, self.encoding, self.sample_rate, self.store, self.filename)


def parse_start(text: str) -> Start | None:
    """The message as a `start`; None for another message. Raises InvalidParameter for a `start` with bad fields."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict) or body.get("type") != "start":
        return None
    try:
        return Start.model_validate(body)
    except ValidationError as error:
        raise validation_error(error.errors()) from None


class OwnProtocol:
    """See `serve.live.live_protocol.LiveProtocol`."""

    def command(self, text: str) -> Command:
        """See `LiveProtocol.command`."""
        try:
            body: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise InvalidRequest("the message is not JSON; send audio as binary messages", code="invalid_json") from None
        match body.get("type") if isinstance(body, dict) else None:
            case "finalize":
                return Command("finalize")
            case "keepalive":
                return Command("keep_alive")
            case "close":
                return Command("close")
        raise InvalidParameter("type: must be finalize, keepalive or close", param="type")

    def opened(self, request_id: str) -> list[Message]:
        """See `LiveProtocol.opened`."""
        return [{"type": "started", "session": request_id}]

    def recognized(self, event: LiveEvent) -> list[Message]:
        """See `LiveProtocol.recognized`."""
        match event:
            case SpeechStarted(at):
                return [{"type": "speech_started", "at": round(at, 2)}]
            case InterimResult():
                return [{"type": "partial", **_spoken(event), "stable_words": event.stable}]
            case FinalResult():
                return [{"type": "final", **_spoken(event), "speaker": str(event.speaker), "ended": event.speech_final}]
        return []

    def finalized(self, *, spoken: bool) -> list[Message]:
        """See `LiveProtocol.finalized`."""
        return [{"type": "finalized"}]

    def closed(self, audio_secs: float, transcription_id: int | None) -> list[Message]:
        """See `LiveProtocol.closed`."""
        return [{"type": "closed", "audio_secs": round(audio_secs, 3), "transcription_id": transcription_id}]

    def failed(self, error: FluxionsError) -> tuple[list[Message], int, str]:
        """See `LiveProtocol.failed`."""
        body = {"type": "error", "message": error.message, "code": error.code, "param": error.param}
        return [body], _BAD_INPUT if error.status < 500 else _BROKEN, error.code


def _spoken(event: InterimResult | FinalResult) -> Message:
    return {
        "text": join_words(word.text for word in event.words),
        "start": round(event.start_secs, 2),
        "end": round(event.end_secs, 2),
        "words": [_word(word) for word in event.words],
    }


def _word(word: Word) -> Message:
    return {
        "word": word.text,
        "start": round(word.start_secs, 2),
        "end": round(word.end_secs, 2),
        "confidence": round(word.confidence, 3),
    }
