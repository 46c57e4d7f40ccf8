"""Options of a transcription as JSON, with their bounds; the same for archives and for workers."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.domain import JobOptions, RecognizeOptions, SpeakerHint, Task
from schemas.redaction import PiiKind, Redaction

LANGUAGE_PATTERN: Final = r"^[a-z]{2,3}$"
PROMPT_MAX_CHARS: Final = 2000
KEYTERM_MAX_CHARS: Final = 100
MAX_KEYTERMS: Final = 100
LAST_AUDIO_TRACK: Final = 1000

Language = Annotated[str, StringConstraints(pattern=LANGUAGE_PATTERN)]
"""A language code, ISO 639-1 where there is one (``en``), else ISO 639-3 (``yue``)."""
Keyterm = Annotated[str, StringConstraints(min_length=1, max_length=KEYTERM_MAX_CHARS, pattern=r"\S")]
AudioTrack = Annotated[int, Field(ge=0, le=LAST_AUDIO_TRACK)]
"""The number of an audio track, from 0."""
_Speakers = Annotated[int, Field(ge=1, le=100)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SpeakersBody(_Body):
    """The number of speakers: ``least`` to ``most``; without ``most`` there is no upper bound."""

    least: _Speakers = 1
    most: _Speakers | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> SpeakersBody:
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least is {self.least} and most {self.most}: no number is both")
        return self


class RecognizeBody(_Body):
    """Hints to the recogniser; the fields of `schemas.domain.RecognizeOptions`."""

    language: Language | None = None
    prompt: str = Field("", max_length=PROMPT_MAX_CHARS)
    keyterms: tuple[Keyterm, ...] = Field((), max_length=MAX_KEYTERMS)
    task: Task = "transcribe"

    def value(self) -> RecognizeOptions:
        """The same as a domain value."""
        return RecognizeOptions(self.language, self.prompt, self.keyterms, self.task)


class RedactionBody(_Body):
    """The fields of `schemas.redaction.Redaction`."""

    kinds: tuple[PiiKind, ...] = ()
    audio: bool = False
    keep_original: bool = False

    def value(self) -> Redaction:
        """The same as a domain value."""
        return Redaction.of(self.kinds, audio=self.audio, keep_original=self.keep_original)


class OptionsBody(_Body):
    """The fields of `schemas.domain.JobOptions`."""

    non_speech: bool = False
    speakers: SpeakersBody = Field(default_factory=SpeakersBody)
    recognize: RecognizeBody = Field(default_factory=RecognizeBody)
    strict: bool = False
    audio_track: AudioTrack | None = None
    redaction: RedactionBody = Field(default_factory=RedactionBody)

    def value(self) -> JobOptions:
        """The same as a domain value."""
        hint = SpeakerHint(self.speakers.least, self.speakers.most)
        return JobOptions(
            self.non_speech, hint, self.recognize.value(), self.strict, self.audio_track, self.redaction.value()
        )
