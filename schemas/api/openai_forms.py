"""The forms of `/v1/audio/transcriptions` and `/v1/audio/translations`, as OpenAI's clients send them.

A list is sent as fields ``x`` or ``x[]``, an object as fields ``x[key]`` or as JSON; all values are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.api.options import MAX_KEYTERMS, AudioTrack, Keyterm
from schemas.errors import InvalidRequest
from schemas.language_names import language_code

TextFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
MAX_KNOWN_SPEAKERS: Final = 4
MAX_PROMPT_CHARS: Final = 100_000

_FIELD: Final = re.compile(r"([a-z_]+)(?:\[([a-z_]*)\])?")
_LISTS: Final = frozenset(
    {"languages", "keywords", "timestamp_granularities", "include", "known_speaker_names", "known_speaker_references"}
)


class _Form(BaseModel):
    """Common fields. ``audio_track`` is not a field of OpenAI; it has the meaning of `audio_track` of submit."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str = Field(min_length=1, max_length=200)
    prompt: str = Field("", max_length=MAX_PROMPT_CHARS)
    temperature: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    audio_track: AudioTrack | None = None


class ServerVad(BaseModel):
    """OpenAI's options for splitting the audio.

    They are checked but have no effect, because recordings are split at their pauses.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["server_vad"]
    threshold: float = Field(0.5, ge=0, le=1, allow_inf_nan=False)
    prefix_padding_ms: int = Field(300, ge=0, le=60_000)
    silence_duration_ms: int = Field(200, ge=0, le=60_000)


class TranscriptionForm(_Form):
    """The fields of a transcription except its file."""

    language: str | None = Field(None, max_length=40)
    languages: tuple[str, ...] = Field((), max_length=20)
    keywords: tuple[Keyterm, ...] = Field((), max_length=MAX_KEYTERMS)
    response_format: Literal[TextFormat, "diarized_json"] = "json"
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = ()
    include: tuple[Literal["logprobs"], ...] = ()
    stream: bool = False
    chunking_strategy: Literal["auto"] | ServerVad | None = None
    known_speaker_names: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        (), max_length=MAX_KNOWN_SPEAKERS
    )
    known_speaker_references: tuple[str, ...] = Field((), max_length=MAX_KNOWN_SPEAKERS)

    @field_validator("chunking_strategy", mode="before")
    @classmethod
    def _from_json(cls, given: Any) -> Any:
        if isinstance(given, str) and given.lstrip().startswith("{"):
            try:
                return orjson.loads(given)
            except orjson.JSONDecodeError:
                raise ValueError("it is neither auto nor an object in JSON") from None
        return given

    @model_validator(mode="after")
    def _belongs_together(self) -> TranscriptionForm:
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise InvalidRequest(
                "timestamp_granularities[] go with response_format verbose_json only", param="timestamp_granularities"
            )
        if self.include and self.response_format != "json":
            raise InvalidRequest("include[] logprobs go with response_format json only", param="include")
        if self.stream and self.response_format in ("srt", "vtt", "verbose_json"):
            raise InvalidRequest(
                f"stream gives text as it is found, so response_format cannot be {self.response_format}", param="stream"
            )
        if self.known_speaker_references and len(self.known_speaker_names) != len(self.known_speaker_references):
            raise InvalidRequest(
                f"known_speaker_names[] are {len(self.known_speaker_names)} and known_speaker_references[] "
                f"{len(self.known_speaker_references)}; send one reference for each name, in the same order",
                param="known_speaker_references",
            )
        return self

    @property
    def spoken_language(self) -> str | None:
        """Code of the language, if exactly one is named; among several the recogniser detects the language."""
        named = self.language or (self.languages[0] if len(self.languages) == 1 else None)
        return language_code(named) if named else None


class TranslationForm(_Form):
    """The fields of a translation except its file."""

    response_format: TextFormat = "json"


def form_values(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The text fields of a form by name, with lists and objects assembled; empty ones count as not sent.

    Raises InvalidRequest for an object that is also sent as text.
    """
    found: dict[str, Any] = {}
    for written, text in fields:
        match = _FIELD.fullmatch(written)
        if match is None or not text.strip():
            continue
        name, key = match.groups()
        if name in _LISTS:
            found.setdefault(name, []).append(text)
        elif key:
            values = found.setdefault(name, {})
            if not isinstance(values, dict):
                raise InvalidRequest(f"{name} is sent as text and as an object; send one of them", param=name)
            values[key] = text
        else:
            found[name] = text
    return found
